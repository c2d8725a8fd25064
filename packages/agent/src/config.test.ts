import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './config.ts';

test('an empty configuration has every default', () => {
  const config = parseConfig({});
  assert.equal(config.encap, 'vxlan');
  assert.equal(config.vxlanPort, 4789);
  assert.equal(config.hostId, null);
  assert.equal(config.limits.flowIdleMs, 60_000);
  assert.equal(config.controlSocket, '/run/weft/agent.sock');
});

for (const [what, raw, field] of [
  ['an unknown field', { nmae: 'x' }, 'nmae'],
  ['an unknown limit', { limits: { maxFlow: 1 } }, 'maxFlow'],
  ['a relative path', { stateDir: 'var' }, 'stateDir'],
  ['a wrong choice', { encap: 'geneve' }, 'encap'],
  ['a number as text', { vxlanPort: '4789' }, 'vxlanPort'],
  ['a limit of zero', { limits: { maxFlows: 0 } }, 'maxFlows'],
  ['a long instance name', { instance: 'far-too-long' }, 'instance'],
  ['an id that is none', { hostId: 'me' }, 'hostId'],
  ['something that is no object', [], 'object'],
] as const) {
  test(`${what} is refused by name`, () => {
    assert.throws(
      () => parseConfig(raw),
      (error: Error & { code?: string }) => error.code === 'WEFT_AGENT_CONFIG' && error.message.includes(field),
    );
  });
}
