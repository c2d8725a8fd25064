/** The topology language against a real API on a real store. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Api, createApi } from '@weft/api';
import { type Nsdb, openEmbedded, registerHost } from '@weft/nsdb';
import fc from 'fast-check';
import { ApiClient } from '../api/client.ts';
import { CliError } from '../errors.ts';
import { evaluate } from './evaluate.ts';
import { splitWords } from './lexer.ts';
import { parseCommand } from './parse.ts';
import { ROOT_TYPES } from './types.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const HOST = '11111111-1111-4111-8111-111111111111';

describe('words', () => {
  const cases: [line: string, words: string[]][] = [
    ['list bridge', ['list', 'bridge']],
    ['  bridge   create\tname  "my net" ', ['bridge', 'create', 'name', 'my net']],
    [`a 'b "c" d' e\\ f "g\\"h"`, ['a', 'b "c" d', 'e f', 'g"h']],
    [`name ''`, ['name', '']],
  ];
  for (const [line, words] of cases) test(line, () => assert.deepEqual(splitWords(line), words));

  test('an open quote is an error', () => assert.throws(() => splitWords('a "b'), { code: 'WEFT_CLI_SYNTAX' }));
});

describe('parser', () => {
  const refused: [line: string, code: string][] = [
    ['', 'WEFT_CLI_INCOMPLETE'],
    ['list', 'WEFT_CLI_INCOMPLETE'],
    ['frobnicate', 'WEFT_CLI_SYNTAX'],
    ['list unicorn', 'WEFT_CLI_SYNTAX'],
    ['bridge create colour red', 'WEFT_CLI_SYNTAX'],
    ['bridge create name', 'WEFT_CLI_INCOMPLETE'],
    ['bridge create tunnel-key 5', 'WEFT_CLI_SYNTAX'],
    ['delete bridge', 'WEFT_CLI_INCOMPLETE'],
    [`bridge ${HOST} set`, 'WEFT_CLI_INCOMPLETE'],
    [`bridge ${HOST} set state sideways`, 'WEFT_CLI_SYNTAX'],
    ['host create name x', 'WEFT_CLI_SYNTAX'],
  ];
  for (const [line, code] of refused) {
    test(`refuses "${line}"`, () => assert.throws(() => parseCommand(splitWords(line)), { code }));
  }

  test('the verb may stand anywhere', () => {
    for (const line of [`list bridge ${HOST} port`, `bridge ${HOST} list port`, `bridge ${HOST} port list`]) {
      const { verb, path, target } = parseCommand(splitWords(line));
      assert.deepEqual([verb, path.length, target?.name], ['list', 1, 'port'], line);
    }
  });

  test('whatever the words, the outcome is a command or a coded error', () => {
    const known = ROOT_TYPES.flatMap((type) => [type, ...type.children]).flatMap((type) => [
      type.name,
      ...type.fields.map((field) => field.name),
    ]);
    const word = fc.oneof(
      fc.constantFrom(...known, 'list', 'show', 'create', 'add', 'set', 'clear', 'delete', 'describe', HOST, '!22'),
      fc.string({ maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), (words) => {
        try {
          parseCommand(words);
        } catch (error) {
          assert.ok(error instanceof CliError, String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('commands', () => {
  let directory: string;
  let nsdb: Nsdb;
  let api: Api;
  let client: ApiClient;
  let run: (line: string) => Promise<string>;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weft-grammar-'));
    nsdb = await openEmbedded({ dir: join(directory, 'store') });
    await registerHost(nsdb, { id: HOST, name: 'monk' });
    api = await createApi({ nsdb });
    const socketPath = join(directory, 'api.sock');
    await api.listen({ unixSocket: socketPath });
    client = new ApiClient({ socketPath });
    run = (line) => evaluate(line, { api: client });
  });
  after(async () => {
    client.close();
    await api.close();
    await nsdb.close();
    await rm(directory, { recursive: true });
  });

  test('a bridge is created, shown, changed, listed and deleted', async () => {
    const id = await run('bridge create name demo');
    assert.match(id, UUID);
    assert.equal(await run(`bridge ${id} show name`), 'demo');
    assert.equal(await run(`bridge name demo show id`), id);
    assert.match(await run('list bridge name demo'), new RegExp(`^bridge ${id} name demo state up tunnel-key \\d+$`));
    assert.equal(await run(`bridge ${id} set state down name 'new name'`), '');
    assert.match(await run('bridge list'), new RegExp(`^bridge ${id} name "new name" state down`));
    assert.equal(await run(`bridge ${id} delete`), '');
    assert.equal(await run('list bridge'), '');
  });

  test('router, port, link, route', async () => {
    const bridge = await run('bridge create name left');
    const router = await run('router create name edge');
    const up = await run(`bridge ${bridge} add port`);
    const port = await run(`router ${router} add port addresses 10.0.0.1/24,fd00::1/64`);
    assert.equal(await run(`router ${router} port ${port} show addresses`), '10.0.0.1/24,fd00::1/64');
    await run(`router ${router} port ${port} set peer ${up}`);
    assert.equal(await run(`bridge ${bridge} port ${up} show peer`), port);
    const route = await run(`router ${router} add route type normal src 0.0.0.0/0 dst 10.0.0.0/24 port ${port}`);
    assert.match(
      await run(`router ${router} list route type normal`),
      new RegExp(`^route ${route} type normal src 0.0.0.0/0 dst 10.0.0.0/24 port ${port} weight 0 learned false$`),
    );
    assert.equal((await run(`router ${router} list route type local`)).split('\n').length, 2);
    await run(`router ${router} port ${port} clear peer`);
    assert.equal(await run(`bridge ${bridge} port ${up} show peer`), '');
    await run(`router ${router} delete`);
    await run(`delete bridge ${bridge}`);
  });

  test('chain, rules in order, inverted match, filter on a port', async () => {
    const chain = await run('chain create name in1');
    const last = await run(`chain ${chain} add rule dst 10.0.0.5 proto tcp dst-port !22 type drop`);
    const first = await run(`chain ${chain} rule add type accept src 10.0.0.0/8 src-port 1000-2000 proto udp pos 1`);
    const lines = (await run(`chain ${chain} list rule`)).split('\n');
    assert.match(lines[0]!, new RegExp(`^rule ${first} pos 1 type accept src 10.0.0.0/8 proto udp src-port 1000-2000`));
    assert.match(lines[1]!, new RegExp(`^rule ${last} pos 2 type drop dst 10.0.0.5/32 proto tcp dst-port !22`));
    const bridge = await run('bridge create');
    const port = await run(`bridge ${bridge} add port`);
    await run(`bridge ${bridge} port ${port} set infilter ${chain}`);
    assert.equal(await run(`bridge ${bridge} port ${port} show infilter`), chain);
    await run(`bridge ${bridge} port ${port} clear infilter`);
    assert.equal(await run(`bridge ${bridge} port ${port} show infilter`), '');
    await run(`chain ${chain} rule ${last} delete`);
    assert.equal((await run(`chain ${chain} list rule`)).split('\n').length, 1);
  });

  test('rules with state', async () => {
    const chain = await run('chain create name nat');
    const add = (rule: string) => run(`chain ${chain} add rule ${rule}`);
    const show = (id: string) => run(`chain ${chain} rule ${id} show`);
    assert.match(
      await show(await add('flow return-flow type accept')),
      / type accept flow return-flow fragment-policy/,
    );
    const forward = await add('type accept flow FWD-FLOW on-change finish');
    assert.match(await show(forward), / type accept on-change finish flow fwd-flow /);
    assert.equal(await run(`chain ${chain} rule ${forward} show flow`), 'fwd-flow');
    assert.match(await run(`chain ${chain} list rule flow fwd-flow`), new RegExp(`^rule ${forward} [^\\n]*$`));

    const targets: [given: string, shown: string][] = [
      ['192.0.2.1', '192.0.2.1'],
      ['192.0.2.1:80', '192.0.2.1:80'],
      ['192.0.2.1-192.0.2.9:80-90', '192.0.2.1-192.0.2.9:80-90'],
      ['192.0.2.1-192.0.2.9,192.0.2.20:7', '192.0.2.1-192.0.2.9,192.0.2.20:7'],
      ['FD00::1', 'fd00::1'],
      ['fd00::1-fd00::9', 'fd00::1-fd00::9'],
      ['[fd00::1]:80,[fd00::2-fd00::5]:7-9,[fd00::9]', '[fd00::1]:80,[fd00::2-fd00::5]:7-9,fd00::9'],
    ];
    for (const [given, shown] of targets) {
      const id = await add(`type dnat target ${given}`);
      assert.equal(await run(`chain ${chain} rule ${id} show target`), shown);
      const again = await add(`type dnat target ${shown} action continue`);
      assert.match(
        await show(again),
        new RegExp(` type dnat target ${shown.replace(/[[\]]/g, '\\$&')} action continue `),
      );
    }
    assert.match(
      await show(await add('type snat target 192.0.2.1-192.0.2.2')),
      / target 192.0.2.1-192.0.2.2:1024-65535 /,
    );
    for (const type of ['rev_snat', 'rev-dnat', 'masquerade']) {
      assert.match(
        await show(await add(`type ${type} action return`)),
        new RegExp(` type ${type.replace('-', '_')} action`),
      );
    }
    for (const wrong of [
      'flow both',
      'target web',
      'target 192.0.2.1:',
      'target 192.0.2.1,',
      'action drop',
      'on-change x',
    ]) {
      await assert.rejects(async () => add(`type dnat ${wrong}`), { code: 'WEFT_CLI_SYNTAX' }, wrong);
    }
    await assert.rejects(add('type snat'), /natTargets/);
  });

  test('security groups, and ports in them', async () => {
    const admin = await run('security-group create name admin rules "ingress tcp 22"');
    const rules: [given: string, shown: string][] = [
      ['ingress tcp 80-443 from 10.0.0.7/8', 'ingress tcp 80-443 from 10.0.0.0/8'],
      ['egress ipv6,ingress udp 53 from fd00::/8', 'egress ipv6, ingress udp 53 from fd00::/8'],
      [
        'ingress icmp 8-0, ingress ipv6 icmp, egress to 10.0.0.1',
        'ingress icmp 8-0, ingress ipv6 icmpv6, egress to 10.0.0.1/32',
      ],
      [`ingress 47 from ${admin}`, `ingress gre from ${admin}`],
      ['ingress icmp 3-3', 'ingress icmp 3-3'],
    ];
    const web = await run('sgroup create name web');
    assert.equal(await run(`sgroup ${web} show rules`), '"egress, egress ipv6"');
    for (const [given, shown] of rules) {
      await run(`security-group ${web} set rules "${given}"`);
      assert.equal(await run(`sgroup name web show rules`), `"${shown}"`);
      await run(`security-group ${web} set rules "${shown}"`);
      assert.equal(await run(`sgroup name web show rules`), `"${shown}"`);
    }
    await run(`sgroup ${web} set rules ""`);
    assert.equal(await run(`sgroup ${web} show`), `security-group ${web} name web`);
    for (const wrong of ['in tcp', 'ingress tcp ssh', 'ingress foo', 'ingress tcp 1 2', 'ingress from']) {
      await assert.rejects(async () => run(`sgroup ${web} set rules "${wrong}"`), { code: 'WEFT_CLI_SYNTAX' }, wrong);
    }

    const bridge = await run('bridge create');
    const fields =
      'mac 02:00:00:00:00:05 ips 10.0.0.5,fd00::5 allowed-pairs 10.9.0.0/24,10.0.0.9@00:00:5e:00:01:07 port-security true';
    const port = await run(`bridge ${bridge} add port ${fields} security-groups ${web},${admin}`);
    assert.ok((await run(`bridge ${bridge} port ${port} show`)).includes(`${fields} security-groups ${web},${admin}`));
    assert.match(await run(`chain list security-group ${web}`), /^chain .* name "security group web: (in|e)gress"/);
    await run(`bridge ${bridge} port ${port} clear allowed-pairs security-groups`);
    assert.equal(await run(`bridge ${bridge} port ${port} show allowed-pairs`), '');
    assert.equal(await run(`bridge ${bridge} port ${port} show security-groups`), '');
    await assert.rejects(run(`bridge ${bridge} port ${port} clear mac`), /macAddress: is required/);
    await run(`bridge ${bridge} port ${port} clear port-security`);
    await run(`bridge ${bridge} port ${port} clear mac`);
    await run(`sgroup ${web} delete`);
  });

  test('tunnel zone, member, binding', async () => {
    const zone = await run('tunnel-zone create name tz type vxlan');
    assert.equal(
      await run(`tzone ${zone} add member host ${HOST} address 10.9.0.1`),
      `zone ${zone} host ${HOST} address 10.9.0.1`,
    );
    const bridge = await run('bridge create');
    const port = await run(`bridge ${bridge} add port`);
    const binding = `host ${HOST} interface tap0 port ${port}`;
    assert.equal(await run(`host ${HOST} add binding interface tap0 port ${port}`), binding);
    assert.equal(await run(`host name monk list binding`), binding);
    assert.equal(await run(`host ${HOST} binding interface tap0 delete`), '');
    assert.equal(await run(`host ${HOST} list binding`), '');
    assert.match(await run('list host'), new RegExp(`^host ${HOST} name monk alive false`));
  });

  test('what is part of one object is not reached through another', async () => {
    const [one, other] = [await run('bridge create'), await run('bridge create')];
    const port = await run(`bridge ${one} add port`);
    const chain = await run('chain create name a');
    const rule = await run(`chain ${chain} add rule type drop`);
    const elsewhere = await run('chain create name b');
    assert.match(await run(`bridge ${one} port ${port} show`), /^port /);
    assert.match(await run(`chain ${chain} rule ${rule} show`), /^rule /);
    for (const line of [
      `bridge ${other} port ${port} set state down`,
      `bridge ${other} port ${port} delete`,
      `chain ${elsewhere} rule ${rule} delete`,
    ]) {
      await assert.rejects(run(line), { code: 'WEFT_CLI_NOT_FOUND' }, line);
    }
    assert.equal(await run(`bridge ${one} port ${port} show state`), 'up');
    await assert.rejects(
      async () => run('list port'),
      /a port is named with what it is part of: bridge … port, router … port/,
    );
  });

  test('what the API refuses is said with its reasons', async () => {
    await assert.rejects(run(`bridge ${HOST} show name`), { code: 'WEFT_CLI_API' });
    await assert.rejects(run('tunnel-zone create name tz'), /409|WEFT_DUPLICATE/);
    await assert.rejects(run('bridge name nobody delete'), { code: 'WEFT_CLI_NOT_FOUND' });
  });
});
