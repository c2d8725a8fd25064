/**
 * Every route with every role, over TCP. What is expected follows from a row per route below; a route without a row, or a row
 * without a route, fails.
 */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { issueToken } from '../auth/tokens.ts';
import { ROOT } from '../context.ts';
import { TestApi, uuidOf } from '../testing.ts';

const TOKEN = 'a-token-for-the-tests';
const t = await TestApi.start({ token: TOKEN, events: { lifetime: 1, keepAlive: 1000 } });
const door = new URL(await t.api.listen({ port: 0 }));

/** Who asks. blue owns what the rows are about; red is another tenant. */
const SENDERS = {
  nobody: undefined,
  admin: { role: 'admin' },
  viewer: { role: 'viewer' },
  blue: { role: 'tenant', tenantId: 'blue' },
  blueViewer: { role: 'viewer', tenantId: 'blue' },
  red: { role: 'tenant', tenantId: 'red' },
  redViewer: { role: 'viewer', tenantId: 'red' },
} as const;
type Sender = keyof typeof SENDERS;

/** An account as the API would make it, but for the time that hashing takes. */
function account(name: string, sender: object) {
  return t.nsdb.transact((tx) => tx.create<{ id: string }>('Account', { name, passwordHash: 'none', ...sender }));
}

const accounts = new Map<Sender, string>();
const tokens = new Map<Sender, string>();
for (const [name, sender] of Object.entries(SENDERS) as [Sender, object | undefined][]) {
  if (sender !== undefined) accounts.set(name, (await account(name, sender)).result.id);
}

async function logInAgain(): Promise<void> {
  for (const [name, id] of accounts) tokens.set(name, (await issueToken(t.nsdb, id, 3_600_000)).key);
}
await logInAgain();

interface Reply {
  readonly status: number;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly body: any;
}

function ask(sender: Sender, method: string, path: string, payload?: unknown): Promise<Reply> {
  const token = tokens.get(sender);
  const body = payload === undefined ? undefined : JSON.stringify(payload);
  const headers = {
    ...(token === undefined ? {} : { 'x-auth-token': token }),
    ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    const call = request({ host: door.hostname, port: door.port, method, path: ROOT + path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const json = /json/.test(response.headers['content-type'] ?? '') && text !== '';
        resolve({ status: response.statusCode!, text, body: json ? JSON.parse(text) : undefined });
      });
    });
    call.on('error', reject);
    call.end(body);
  });
}

/** What there is: blue's network, bound and linked by the operator, and the operator's own. Anew for every write. */
async function world() {
  const operations: { path: string; body: object }[] = [];
  const put = (path: string, body: object) => void operations.push({ path, body });
  const make = (path: string, body: object) => {
    const id = uuidOf(++made);
    put(path, { ...body, id });
    return id;
  };
  const of = { tenantId: 'blue' };
  const bridge = make('/bridges', of);
  const router = make('/routers', of);
  const port = make(`/bridges/${bridge}/ports`, {});
  const spare = make(`/bridges/${bridge}/ports`, {});
  const bound = make(`/bridges/${bridge}/ports`, {});
  const moving = make(`/bridges/${bridge}/ports`, {});
  const freeRouterPort = make(`/routers/${router}/ports`, { portSubnet: ['10.8.0.1/24'] });
  const routerPort = make(`/routers/${router}/ports`, { portSubnet: ['10.0.0.1/24'] });
  const uplink = make(`/routers/${router}/ports`, { portSubnet: ['10.9.0.1/24'] });
  const route = make(`/routers/${router}/routes`, { dstSubnet: '10.1.0.0/24', nextHopPort: routerPort });
  const chain = make('/chains', of);
  const rule = make(`/chains/${chain}/rules`, { type: 'accept' });
  const portGroup = make('/port_groups', of);
  const securityGroup = make('/security_groups', of);
  const addrGroup = make('/ip_addr_groups', { ...of, name: 'web' });
  put(`/ip_addr_groups/${addrGroup}/ip_addrs`, { addr: '10.0.0.9' });
  put(`/port_groups/${portGroup}/ports`, { portId: spare });
  put(`/bridges/${bridge}/mac_table`, { macAddr: '02:00:00:00:00:01', portId: port });
  put(`/bridges/${bridge}/vlans/7/mac_table`, { macAddr: '02:00:00:00:00:01', portId: port });
  put(`/bridges/${bridge}/arp_table`, { ip: '10.0.0.7', mac: '02:00:00:00:00:01' });
  put(`/routers/${router}/arp_table`, { ip: '10.0.0.7', mac: '02:00:00:00:00:01' });
  put(`/ports/${port}/link`, { peerId: routerPort });
  // The operator's: hosts and zones, where logs go, a provider router with the other end of the uplink.
  const host = uuidOf(++made);
  const emptyHost = uuidOf(++made);
  const nextHost = uuidOf(++made);
  const name = `user${++made}`;
  await t.nsdb.transact(async (tx) => {
    await tx.create('Host', { id: host, name: 'used' });
    await tx.create('Host', { id: emptyHost, name: 'empty' });
    await tx.create('Host', { id: nextHost, name: 'next' });
    await tx.create('Account', { name, passwordHash: 'none', role: 'viewer' });
  });
  const zone = make('/tunnel_zones', { name: `zone-${made}` });
  put(`/tunnel_zones/${zone}/hosts`, { hostId: host, ipAddress: '192.0.2.1' });
  put(`/hosts/${host}/ports`, { portId: bound, interfaceName: 'tap0' });
  put(`/tunnel_zones/${zone}/hosts`, { hostId: nextHost, ipAddress: '192.0.2.2' });
  put(`/hosts/${host}/ports`, { portId: moving, interfaceName: 'tap5' });
  put(`/ports/${moving}/migration`, { hostId: nextHost, interfaceName: 'tap6' });
  const emptyZone = make('/tunnel_zones', { name: `empty-${made}` });
  const log = make('/logging_resources', {});
  const logger = make(`/chains/${chain}/rule_loggers`, { loggingResourceId: log, event: 'all' });
  const provider = make('/routers', {});
  const providerPort = make(`/routers/${provider}/ports`, { portSubnet: ['10.9.0.2/24'] });
  put(`/ports/${uplink}/link`, { peerId: providerPort });
  const { status, body } = await t.call('POST', '/bulk', { operations });
  assert.equal(status, 200, JSON.stringify(body));
  const session = await t.nsdb.openSession(host);
  await Promise.all([
    session.put(`interfaces/${host}`, 'eth0', JSON.stringify({ mac: '02:00:00:00:00:99' })),
    session.put(`arp/${bridge}`, '10.0.0.8', '02:00:00:00:00:02'),
  ]);
  return {
    ...{
      bridge,
      router,
      port,
      spare,
      bound,
      moving,
      nextHost,
      routerPort,
      freeRouterPort,
      uplink,
      route,
      chain,
      rule,
      portGroup,
      addrGroup,
      securityGroup,
    },
    ...{ host, zone, emptyHost, emptyZone, log, logger, provider, providerPort, name },
    secrets: [host, emptyHost, zone, emptyZone, log, logger, provider, providerPort, 'tap0'],
  };
}
let made = 1000;
type World = Awaited<ReturnType<typeof world>>;

/**
 * `own`: something of blue's. `operator`: something of the operator's. `operatorBelow`: what only the operator makes, below
 * something of blue's. `list`: shows each sender its part. `make`: makes something of the sender's own. `everybody`: the same
 * to all. `accounts`: administrators alone. `login`, `logout`: no credentials needed.
 */
type Kind =
  | 'own'
  | 'operator'
  | 'operatorBelow'
  | 'list'
  | 'make'
  | 'makeOperator'
  | 'everybody'
  | 'accounts'
  | 'login'
  | 'logout';
type Row = readonly [kind: Kind, path: (w: World) => string, body?: (w: World) => object];

const id = (segment: string, key: keyof World) => (w: World) => `/${segment}/${String(w[key])}`;
const fresh = () => ({ name: `n${++made}` });
const seed = (w: World) => ({ macAddr: '02:00:00:00:00:03', portId: w.port });
const neighbour = () => ({ ip: '10.0.0.77', mac: '02:00:00:00:00:03' });

const ROWS: Readonly<Record<string, Row>> = {
  'GET ': ['everybody', () => ''],
  'GET /system_state': ['everybody', () => '/system_state'],
  'GET /convergence/{revision}': ['everybody', () => '/convergence/1'],
  'GET /events': ['everybody', () => '/events'],
  'GET /tenants': ['everybody', () => '/tenants'],
  'GET /tenants/{id}': ['own', () => '/tenants/blue'],
  'GET /bridges': ['list', () => '/bridges'],
  'POST /bridges': ['make', () => '/bridges', fresh],
  'GET /bridges/{id}': ['own', id('bridges', 'bridge')],
  'PUT /bridges/{id}': ['own', id('bridges', 'bridge'), fresh],
  'DELETE /bridges/{id}': ['own', id('bridges', 'bridge')],
  'GET /bridges/{id}/ports': ['own', (w) => `/bridges/${w.bridge}/ports`],
  'POST /bridges/{id}/ports': ['own', (w) => `/bridges/${w.bridge}/ports`, () => ({})],
  'GET /bridges/{id}/peer_ports': ['own', (w) => `/bridges/${w.bridge}/peer_ports`],
  'GET /bridges/{id}/mac_table': ['own', (w) => `/bridges/${w.bridge}/mac_table`],
  'POST /bridges/{id}/mac_table': ['own', (w) => `/bridges/${w.bridge}/mac_table`, seed],
  'GET /bridges/{id}/mac_table/{entry}': ['own', (w) => `/bridges/${w.bridge}/mac_table/02-00-00-00-00-01_${w.port}`],
  'DELETE /bridges/{id}/mac_table/{entry}': [
    'own',
    (w) => `/bridges/${w.bridge}/mac_table/02-00-00-00-00-01_${w.port}`,
  ],
  'GET /bridges/{id}/vlans/{vlan}/mac_table': ['own', (w) => `/bridges/${w.bridge}/vlans/7/mac_table`],
  'POST /bridges/{id}/vlans/{vlan}/mac_table': ['own', (w) => `/bridges/${w.bridge}/vlans/7/mac_table`, seed],
  'GET /bridges/{id}/vlans/{vlan}/mac_table/{entry}': [
    'own',
    (w) => `/bridges/${w.bridge}/vlans/7/mac_table/02-00-00-00-00-01_${w.port}`,
  ],
  'DELETE /bridges/{id}/vlans/{vlan}/mac_table/{entry}': [
    'own',
    (w) => `/bridges/${w.bridge}/vlans/7/mac_table/02-00-00-00-00-01_${w.port}`,
  ],
  'GET /bridges/{id}/arp_table': ['own', (w) => `/bridges/${w.bridge}/arp_table`],
  'POST /bridges/{id}/arp_table': ['own', (w) => `/bridges/${w.bridge}/arp_table`, neighbour],
  'GET /bridges/{id}/arp_table/{entry}': ['own', (w) => `/bridges/${w.bridge}/arp_table/10.0.0.7_02-00-00-00-00-01`],
  'DELETE /bridges/{id}/arp_table/{entry}': ['own', (w) => `/bridges/${w.bridge}/arp_table/10.0.0.7_02-00-00-00-00-01`],
  'GET /routers': ['list', () => '/routers'],
  'POST /routers': ['make', () => '/routers', fresh],
  'GET /routers/{id}': ['own', id('routers', 'router')],
  'PUT /routers/{id}': ['own', id('routers', 'router'), fresh],
  'DELETE /routers/{id}': ['own', id('routers', 'router')],
  'GET /routers/{id}/ports': ['own', (w) => `/routers/${w.router}/ports`],
  'POST /routers/{id}/ports': ['own', (w) => `/routers/${w.router}/ports`, () => ({ portSubnet: ['10.7.0.1/24'] })],
  'GET /routers/{id}/peer_ports': ['own', (w) => `/routers/${w.router}/peer_ports`],
  'GET /routers/{id}/routes': ['own', (w) => `/routers/${w.router}/routes`],
  'POST /routers/{id}/routes': [
    'own',
    (w) => `/routers/${w.router}/routes`,
    (w) => ({ dstSubnet: '10.3.0.0/24', nextHopPort: w.routerPort }),
  ],
  'GET /routers/{id}/arp_table': ['own', (w) => `/routers/${w.router}/arp_table`],
  'POST /routers/{id}/arp_table': ['own', (w) => `/routers/${w.router}/arp_table`, neighbour],
  'GET /routers/{id}/arp_table/{entry}': ['own', (w) => `/routers/${w.router}/arp_table/10.0.0.7_02-00-00-00-00-01`],
  'DELETE /routers/{id}/arp_table/{entry}': ['own', (w) => `/routers/${w.router}/arp_table/10.0.0.7_02-00-00-00-00-01`],
  'GET /ports': ['list', () => '/ports'],
  'GET /ports/{id}': ['own', id('ports', 'bound')],
  'PUT /ports/{id}': ['own', id('ports', 'bound'), () => ({ adminStateUp: false })],
  'DELETE /ports/{id}': ['own', id('ports', 'bound')],
  'GET /ports/{id}/link': ['own', (w) => `/ports/${w.port}/link`],
  'POST /ports/{id}/link': ['own', (w) => `/ports/${w.spare}/link`, (w) => ({ peerId: w.freeRouterPort })],
  'DELETE /ports/{id}/link': ['own', (w) => `/ports/${w.port}/link`],
  'GET /ports/{id}/port_groups': ['own', (w) => `/ports/${w.spare}/port_groups`],
  'GET /ports/{id}/security_chains': ['own', (w) => `/ports/${w.bound}/security_chains`],
  'GET /routes/{id}': ['own', id('routes', 'route')],
  'DELETE /routes/{id}': ['own', id('routes', 'route')],
  'GET /chains': ['list', () => '/chains'],
  'POST /chains': ['make', () => '/chains', fresh],
  'GET /chains/{id}': ['own', id('chains', 'chain')],
  'DELETE /chains/{id}': ['own', id('chains', 'chain')],
  'GET /chains/{id}/rules': ['own', (w) => `/chains/${w.chain}/rules`],
  'POST /chains/{id}/rules': ['own', (w) => `/chains/${w.chain}/rules`, () => ({ type: 'drop' })],
  'GET /rules/{id}': ['own', id('rules', 'rule')],
  'DELETE /rules/{id}': ['own', id('rules', 'rule')],
  'GET /port_groups': ['list', () => '/port_groups'],
  'POST /port_groups': ['make', () => '/port_groups', fresh],
  'GET /port_groups/{id}': ['own', id('port_groups', 'portGroup')],
  'PUT /port_groups/{id}': ['own', id('port_groups', 'portGroup'), fresh],
  'DELETE /port_groups/{id}': ['own', id('port_groups', 'portGroup')],
  'GET /port_groups/{id}/ports': ['own', (w) => `/port_groups/${w.portGroup}/ports`],
  'POST /port_groups/{id}/ports': ['own', (w) => `/port_groups/${w.portGroup}/ports`, (w) => ({ portId: w.bound })],
  'GET /port_groups/{id}/ports/{portId}': ['own', (w) => `/port_groups/${w.portGroup}/ports/${w.spare}`],
  'DELETE /port_groups/{id}/ports/{portId}': ['own', (w) => `/port_groups/${w.portGroup}/ports/${w.spare}`],
  'GET /security_groups': ['list', () => '/security_groups'],
  'POST /security_groups': ['make', () => '/security_groups', fresh],
  'GET /security_groups/{id}': ['own', id('security_groups', 'securityGroup')],
  'PUT /security_groups/{id}': ['own', id('security_groups', 'securityGroup'), () => ({ rules: [] })],
  'DELETE /security_groups/{id}': ['own', id('security_groups', 'securityGroup')],
  'GET /ip_addr_groups': ['list', () => '/ip_addr_groups'],
  'POST /ip_addr_groups': ['make', () => '/ip_addr_groups', fresh],
  'GET /ip_addr_groups/{id}': ['own', id('ip_addr_groups', 'addrGroup')],
  'PUT /ip_addr_groups/{id}': ['own', id('ip_addr_groups', 'addrGroup'), fresh],
  'DELETE /ip_addr_groups/{id}': ['own', id('ip_addr_groups', 'addrGroup')],
  'GET /ip_addr_groups/{id}/ip_addrs': ['own', (w) => `/ip_addr_groups/${w.addrGroup}/ip_addrs`],
  'POST /ip_addr_groups/{id}/ip_addrs': [
    'own',
    (w) => `/ip_addr_groups/${w.addrGroup}/ip_addrs`,
    () => ({ addr: '10.0.0.10' }),
  ],
  'GET /ip_addr_groups/{id}/versions/{version}/ip_addrs/{addr}': [
    'own',
    (w) => `/ip_addr_groups/${w.addrGroup}/versions/4/ip_addrs/10.0.0.9`,
  ],
  'DELETE /ip_addr_groups/{id}/versions/{version}/ip_addrs/{addr}': [
    'own',
    (w) => `/ip_addr_groups/${w.addrGroup}/versions/4/ip_addrs/10.0.0.9`,
  ],
  'GET /ports/{id}/migration': ['operator', (w) => `/ports/${w.moving}/migration`],
  'POST /ports/{id}/migration': [
    'operator',
    (w) => `/ports/${w.bound}/migration`,
    (w) => ({ hostId: w.nextHost, interfaceName: 'tap1' }),
  ],
  'PUT /ports/{id}/migration/switch': ['operator', (w) => `/ports/${w.moving}/migration/switch?force=true`],
  'DELETE /ports/{id}/migration': ['operator', (w) => `/ports/${w.moving}/migration`],
  'POST /bulk': ['own', () => '/bulk', (w) => ({ operations: [{ path: `/bridges/${w.bridge}/ports`, body: {} }] })],
  'GET /logging_resources': ['list', () => '/logging_resources'],
  'POST /logging_resources': ['makeOperator', () => '/logging_resources', () => ({})],
  'GET /logging_resources/{id}': ['operator', id('logging_resources', 'log')],
  'PUT /logging_resources/{id}': ['operator', id('logging_resources', 'log'), () => ({ enabled: false })],
  'DELETE /logging_resources/{id}': ['operator', id('logging_resources', 'log')],
  'GET /logging_resources/{id}/rule_loggers': ['operator', (w) => `/logging_resources/${w.log}/rule_loggers`],
  'GET /rule_loggers': ['list', () => '/rule_loggers'],
  'POST /rule_loggers': [
    'makeOperator',
    () => '/rule_loggers',
    (w) => ({ chainId: w.chain, loggingResourceId: w.log, event: 'drop' }),
  ],
  'GET /rule_loggers/{id}': ['operator', id('rule_loggers', 'logger')],
  'PUT /rule_loggers/{id}': [
    'operator',
    id('rule_loggers', 'logger'),
    (w) => ({ loggingResourceId: w.log, event: 'drop' }),
  ],
  'DELETE /rule_loggers/{id}': ['operator', id('rule_loggers', 'logger')],
  'GET /chains/{id}/rule_loggers': ['own', (w) => `/chains/${w.chain}/rule_loggers`],
  'POST /chains/{id}/rule_loggers': [
    'operatorBelow',
    (w) => `/chains/${w.chain}/rule_loggers`,
    (w) => ({ loggingResourceId: w.log, event: 'drop' }),
  ],
  'GET /hosts': ['list', () => '/hosts'],
  'GET /hosts/{id}': ['operator', id('hosts', 'host')],
  'PUT /hosts/{id}': ['operator', id('hosts', 'host'), () => ({ containerWeight: 2 })],
  'DELETE /hosts/{id}': ['operator', id('hosts', 'emptyHost')],
  'GET /hosts/{id}/ports': ['operator', (w) => `/hosts/${w.host}/ports`],
  'POST /hosts/{id}/ports': [
    'operator',
    (w) => `/hosts/${w.host}/ports`,
    (w) => ({ portId: w.spare, interfaceName: 'tap1' }),
  ],
  'GET /hosts/{id}/ports/{portId}': ['operator', (w) => `/hosts/${w.host}/ports/${w.bound}`],
  'DELETE /hosts/{id}/ports/{portId}': ['operator', (w) => `/hosts/${w.host}/ports/${w.bound}`],
  'GET /hosts/{id}/interfaces': ['operator', (w) => `/hosts/${w.host}/interfaces`],
  'GET /hosts/{id}/interfaces/{name}': ['operator', (w) => `/hosts/${w.host}/interfaces/eth0`],
  'GET /tunnel_zones': ['list', () => '/tunnel_zones'],
  'POST /tunnel_zones': ['makeOperator', () => '/tunnel_zones', fresh],
  'GET /tunnel_zones/{id}': ['operator', id('tunnel_zones', 'zone')],
  'PUT /tunnel_zones/{id}': ['operator', id('tunnel_zones', 'zone'), fresh],
  'DELETE /tunnel_zones/{id}': ['operator', id('tunnel_zones', 'emptyZone')],
  'GET /tunnel_zones/{id}/hosts': ['operator', (w) => `/tunnel_zones/${w.zone}/hosts`],
  'POST /tunnel_zones/{id}/hosts': [
    'operator',
    (w) => `/tunnel_zones/${w.emptyZone}/hosts`,
    (w) => ({ hostId: w.emptyHost, ipAddress: '192.0.2.251' }),
  ],
  'GET /tunnel_zones/{id}/hosts/{hostId}': ['operator', (w) => `/tunnel_zones/${w.zone}/hosts/${w.host}`],
  'DELETE /tunnel_zones/{id}/hosts/{hostId}': ['operator', (w) => `/tunnel_zones/${w.zone}/hosts/${w.host}`],
  'POST /login': ['login', () => '/login'],
  'DELETE /login': ['logout', () => '/login'],
  'GET /accounts': ['accounts', () => '/accounts'],
  'POST /accounts': ['accounts', () => '/accounts', () => ({ ...fresh(), role: 'viewer', password: 'correct horse' })],
  'GET /accounts/{name}': ['accounts', id('accounts', 'name')],
  'DELETE /accounts/{name}': ['accounts', id('accounts', 'name')],
  'PUT /accounts/{name}/password': [
    'accounts',
    (w) => `/accounts/${w.name}/password`,
    () => ({ password: 'battery staple' }),
  ],
};

/** Kinds whose writes change the world that they are made in; the next sender needs another. */
const INSIDE: readonly Kind[] = ['own', 'operator', 'operatorBelow', 'accounts', 'makeOperator'];

/** The status of each kind; `ok` stands for what the route answers when it does its work. */
function expected(kind: Kind, sender: Sender, write: boolean): 'ok' | number {
  if (kind === 'login') return 401;
  if (kind === 'logout') return 'ok';
  if (sender === 'nobody') return 401;
  if (sender === 'admin') return 'ok';
  if (kind === 'accounts') return 403;
  const mayWrite = sender === 'blue' || sender === 'red';
  if (write && !mayWrite) return 403;
  const unlimited = sender === 'viewer';
  const isBlue = sender === 'blue' || sender === 'blueViewer';
  switch (kind) {
    case 'own':
      return unlimited || isBlue ? 'ok' : 404;
    case 'operator':
      return unlimited ? 'ok' : 404;
    case 'operatorBelow':
      return isBlue ? 403 : 404;
    case 'makeOperator':
      return 403;
    default:
      return 'ok';
  }
}

const operations = Object.entries(t.openApi.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.slice(ROOT.length)}`),
);

const shared = await world();
const foreign = [...Object.values(shared).flat()].filter((one) => one.length === 36);

test('every route has an expectation, every expectation a route', () => {
  assert.deepEqual(Object.keys(ROWS).sort(), operations.sort());
});

for (const operation of operations) {
  const row = ROWS[operation];
  if (row === undefined) continue; // the test above says so
  test(operation, async () => {
    const [kind, path, body] = row;
    const [method = ''] = operation.split(' ', 1);
    const write = method !== 'GET';
    let w = shared;
    let used = false;
    for (const sender of Object.keys(SENDERS) as Sender[]) {
      // Who is refused changes nothing; who is not gets a world of its own.
      const wanted = expected(kind, sender, write);
      if (used || (w === shared && wanted === 'ok' && write && INSIDE.includes(kind))) w = await world();
      used = false;
      const before = write ? await t.nsdb.revision() : 0;
      const answer = await ask(sender, method, path(w), body?.(w));
      if (wanted === 'ok') used = write && INSIDE.includes(kind);
      if (kind === 'logout') await logInAgain();
      const label = `${sender}: ${answer.status} ${answer.text.slice(0, 300)}`;
      if (wanted === 'ok') assert.ok(answer.status >= 200 && answer.status < 300, label);
      else assert.equal(answer.status, wanted, label);
      if (write && wanted !== 'ok') assert.equal(await t.nsdb.revision(), before, `${label}: something was written`);
      if (sender !== 'admin' && sender !== 'viewer' && wanted === 'ok') {
        const path_ = path(w);
        for (const secret of w.secrets)
          assert.ok(path_.includes(secret) || !answer.text.includes(secret), `${label}: ${secret}`);
      }
      if (kind === 'list' && wanted === 'ok') {
        const count = answer.body.length;
        if (sender === 'admin' || sender === 'viewer') assert.ok(count > 0, label);
        if (sender === 'red' || sender === 'redViewer')
          for (const one of foreign) assert.ok(!answer.text.includes(one), label);
      }
      if (kind === 'make' && (sender === 'blue' || sender === 'red')) assert.equal(answer.body.tenantId, sender, label);
    }
  });
}
