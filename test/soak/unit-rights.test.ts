/** The rights that the unit of systemd leaves to the agent are enough for it: it runs with no others, and forwards, follows changes, and restarts. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  agentRequest,
  awaitSettled,
  awaitValue,
  DEFAULT_SCENARIO,
  inNetns,
  killAgent,
  type Lab,
  labDown,
  labUp,
  runChecks,
} from '@weft/lab';
import { skip } from './soak.ts';

const NAME = 'soak-rights';
const root = resolve(import.meta.dirname, '../..');
const PATIENCE_MS = 60_000;

const unit = readFileSync(resolve(root, 'packaging/systemd/weft-agent.service'), 'utf8');
const capabilities = /^CapabilityBoundingSet=(.*)$/m.exec(unit)![1]!.split(' ');

describe('an agent with the rights of its unit', { skip }, () => {
  let lab: Lab;
  let agent: ChildProcess | undefined;

  before(async () => {
    await labDown(NAME);
    ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME, hosts: 2 }));
  });
  after(async () => {
    agent?.kill('SIGKILL');
    await labDown(NAME);
  });

  test('forwards, learns and follows changes', async () => {
    const [host] = lab.plan.hosts;
    await killAgent(lab, host!);
    const set = ['-all', ...capabilities.map((name) => `+${name.toLowerCase().replace(/^cap_/, '')}`)];
    const command = [
      process.execPath,
      'packages/cli/src/main.ts',
      'agent',
      '--config',
      lab.plan.paths.host(host!.name).config,
    ];
    const bounded = ['setpriv', `--bounding-set=${set.join(',')}`, '--no-new-privs', ...command];
    const [program, ...args] = inNetns(host!.namespace, bounded);
    agent = spawn(program!, args, { cwd: root, stdio: 'ignore' });
    const wanted = lab.plan.vms.filter((vm) => vm.host === host!.name).flatMap((vm) => vm.interfaces).length;
    await awaitValue('all ports bound', PATIENCE_MS, async () => {
      const path = '/status';
      const status = await agentRequest<{ pid: number; ports: { live: boolean }[] }>(
        lab.plan,
        host!,
        'GET',
        path,
      ).catch(() => undefined);
      return status?.pid === agent!.pid && status!.ports.filter(({ live }) => live).length === wanted
        ? true
        : undefined;
    });
    const effective = /^CapEff:\s+(\w+)$/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'utf8'))![1];
    assert.equal(BigInt(`0x${effective}`).toString(2).replaceAll('0', '').length, capabilities.length);
    await awaitSettled(lab);
    const names = [
      'ping-l2-remote',
      'ping-l3-remote',
      'ping-unknown',
      'upcalls-l3',
      'host-stack',
      'change-rule',
      'change-port',
    ];
    const { checks } = await runChecks(lab, names);
    assert.deepEqual(
      checks.filter(({ ok }) => !ok).map(({ name, seen }) => `${name}: ${seen}`),
      [],
    );
    const { findings } = await agentRequest<{ findings: { check: string; status: string; seen: string }[] }>(
      lab.plan,
      host!,
      'GET',
      '/doctor',
      PATIENCE_MS,
    );
    assert.deepEqual(
      findings.filter(({ seen, status }) => status === 'fail' || /could not be looked at/.test(seen)),
      [],
    );
  });
});
