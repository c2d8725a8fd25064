/**
 * 50 clients create 10,000 ports with rules, through one API process: no error, and afterwards every object is there, whole,
 * and linked as it was made. Then the same under `kill -9`: what was acknowledged is there after the restart, and what was
 * not is there wholly or not at all.
 */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiProcess } from './api-process.ts';

const CLIENTS = 50;
const PORTS = 10_000;
const RULES_PER_PORT = 2;

const api = new ApiProcess();
const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
before(() => api.start());
after(() => {
  agent.destroy();
  return api.end();
});

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly body: any;
}

function call(method: string, path: string, payload?: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const body = payload === undefined ? undefined : JSON.stringify(payload);
    const headers = {
      'X-Auth-Token': api.token,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
    };
    const outgoing = request(`${api.base}/midonet-api${path}`, { method, headers, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('error', reject);
      response.on('aborted', () => reject(new Error('cut off')));
      response.on('end', () => resolve({ status: response.statusCode!, body: text === '' ? null : JSON.parse(text) }));
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Of every creation, in ms. */
const latencies: number[] = [];

async function create(path: string, payload: object): Promise<{ id: string }> {
  const begun = performance.now();
  const { status, body } = await call('POST', path, payload);
  latencies.push(performance.now() - begun);
  assert.equal(status, 201, `POST ${path}: ${JSON.stringify(body)}`);
  return body;
}

/** All items of a list, page by page. */
async function* all(path: string): AsyncGenerator<Record<string, unknown> & { id: string }> {
  for (let marker = ''; ; ) {
    const { status, body } = await call('GET', `${path}?limit=2000&marker=${marker}`);
    assert.equal(status, 200);
    yield* body;
    if (body.length < 2_000) return;
    marker = body.at(-1).id;
  }
}

interface Made {
  readonly port: string;
  readonly chain: string;
  readonly rules: readonly string[];
}

/** One port with a filter of its own: a chain with rules, then the port that names it. */
async function makePort(bridge: string, n: number): Promise<Made> {
  const chain = await create('/chains', { name: `c${n}`, tenantId: 'load' });
  const rules: string[] = [];
  for (let i = 0; i < RULES_PER_PORT; i++) {
    const rule = { type: 'drop', nwProto: 6, tpDst: { start: n % 65_000, end: n % 65_000 }, position: i + 1 };
    rules.push((await create(`/chains/${chain.id}/rules`, rule)).id);
  }
  const port = await create(`/bridges/${bridge}/ports`, { vifId: `vm${n}`, inboundFilterId: chain.id });
  return { port: port.id, chain: chain.id, rules };
}

test(`${CLIENTS} clients create ${PORTS} ports with rules`, async (t) => {
  const bridges = await Promise.all(Array.from({ length: CLIENTS }, () => create('/bridges', { tenantId: 'load' })));
  const made = new Map<number, Made>();
  let next = 0;
  const start = performance.now();
  await Promise.all(
    bridges.map(async ({ id }) => {
      for (let n = next++; n < PORTS; n = next++) {
        made.set(n, await makePort(id, n));
      }
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  latencies.sort((a, b) => a - b);
  const requests = PORTS * (RULES_PER_PORT + 2);
  t.diagnostic(
    `${requests} requests in ${seconds.toFixed(1)} s: ${Math.round(requests / seconds)}/s, ` +
      `p50 ${latencies[latencies.length >> 1]!.toFixed(1)} ms, p99 ${latencies[Math.floor(latencies.length * 0.99)]!.toFixed(1)} ms`,
  );

  const chains = new Map<string, string[]>();
  for await (const chain of all('/chains')) chains.set(chain.id, chain.ruleIds as string[]);
  const ports = new Map<string, Record<string, unknown>>();
  const keys = new Set<unknown>();
  for await (const port of all('/ports')) {
    ports.set(port.id, port);
    keys.add(port.tunnelKey);
  }
  assert.equal(made.size, PORTS);
  assert.equal(ports.size, PORTS);
  assert.equal(keys.size, PORTS, 'every port has a tunnel key of its own');
  for (const [n, { port, chain, rules }] of made) {
    assert.deepEqual(chains.get(chain), rules);
    const found = ports.get(port)!;
    assert.deepEqual([found.vifId, found.inboundFilterId], [`vm${n}`, chain]);
  }
  const some = [...made.values()].filter((_, n) => n % 97 === 0);
  for (const { chain, rules } of some) {
    const { body } = await call('GET', `/chains/${chain}/rules`);
    assert.deepEqual(
      body.map(({ id, chainId, type }: Record<string, unknown>) => [id, chainId, type]),
      rules.map((id) => [id, chain, 'drop']),
    );
  }
  let listed = 0;
  for (const { id } of bridges) for await (const port of all(`/bridges/${id}/ports`)) if (ports.has(port.id)) listed++;
  assert.equal(listed, PORTS, 'every port is in the list of its bridge');
});

test('a restart under load loses no acknowledged write and leaves none in part', async (t) => {
  const acknowledged: { bridge: string; ids: string[] }[] = [];
  const uncertain: { bridge: string; ids: string[] }[] = [];
  let running = true;
  let down = false;
  // Each request is one transaction: a bridge with five ports.
  const client = async () => {
    while (running) {
      const bridge = crypto.randomUUID();
      const ids = Array.from({ length: 5 }, () => crypto.randomUUID());
      const ports = ids.map((id) => ({ path: `/bridges/${bridge}/ports`, body: { id } }));
      const operations = [{ path: '/bridges', body: { id: bridge, tenantId: 'torn' } }, ...ports];
      try {
        const { status } = await call('POST', '/bulk', { operations });
        assert.equal(status, 200);
        acknowledged.push({ bridge, ids });
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        assert.ok(down, `a request failed while the API ran: ${error}`);
        uncertain.push({ bridge, ids });
        await sleep(50);
      }
    }
  };
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  for (let round = 0; round < 3; round++) {
    await sleep(700 + 300 * round);
    down = true;
    await api.kill();
    await api.start();
    await sleep(200);
    down = false;
  }
  running = false;
  await clients;

  let came = 0;
  for (const [list, certain] of [
    [acknowledged, true],
    [uncertain, false],
  ] as const) {
    for (const { bridge, ids } of list) {
      const { status, body } = await call('GET', `/bridges/${bridge}/ports`);
      if (certain) assert.equal(status, 200, `acknowledged bridge ${bridge} is gone`);
      if (status === 404) continue;
      if (!certain) came++;
      assert.deepEqual(body.map(({ id }: { id: string }) => id).sort(), [...ids].sort());
    }
  }
  t.diagnostic(
    `${acknowledged.length} acknowledged, all there; of ${uncertain.length} cut off ${came} had happened, wholly`,
  );
  assert.ok(acknowledged.length > 100 && uncertain.length > 0);
});
