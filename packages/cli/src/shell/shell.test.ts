/** The session at a real terminal and from a pipe, against a real API on a real store. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Api, createApi } from '@weft/api';
import { type Nsdb, openEmbedded, registerHost } from '@weft/nsdb';
import { noTerminal, Terminal } from '../testing/terminal.ts';

const weft = resolve(import.meta.dirname, '../../../../weft');
const HOST = '11111111-1111-4111-8111-111111111111';
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const PROMPT = /weft> $/;

const directory = mkdtempSync(join(tmpdir(), 'weft-shell-'));
let nsdb: Nsdb;
let api: Api;
let env: NodeJS.ProcessEnv;

before(async () => {
  nsdb = await openEmbedded({ dir: join(directory, 'store') });
  await registerHost(nsdb, { id: HOST, name: 'monk' });
  api = await createApi({ nsdb });
  const socket = join(directory, 'api.sock');
  await api.listen({ unixSocket: socket });
  env = {
    ...process.env,
    HOME: directory,
    WEFT_CONFIG: '',
    WEFT_API_SOCKET: socket,
    XDG_STATE_HOME: join(directory, 'state'),
  };
});
after(async () => {
  await api.close();
  await nsdb.close();
  rmSync(directory, { recursive: true });
});

/** Runs the body at a prompt; `say` types a line and gives what is printed. */
async function session(body: (say: (line: string) => Promise<string>, terminal: Terminal) => Promise<void>, rows = 24) {
  const terminal = new Terminal([weft], env, rows);
  try {
    await terminal.until(/weft> /);
    await body((line) => terminal.line(line, PROMPT), terminal);
  } finally {
    terminal.kill();
  }
}

async function piped(input: string, ...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const child = spawn(weft, args, { env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.end(input);
  const status = await new Promise<number>((done) => child.on('close', (code) => done(code ?? -1)));
  return { status, stdout, stderr };
}

describe('at a terminal', { skip: noTerminal ?? false }, () => {
  test('the examples that everybody knows', async () => {
    // The commands and outputs of MidoNet's manual; what is behind the expected text are fields of Weft's own.
    const examples: [command: string, prints: RegExp][] = [
      ['router create name edge', /^router0$/],
      ['router list', /^router router0 name edge state up/],
      ['bridge create name demo', /^bridge0$/],
      ['bridge bridge0 add port', /^bridge0:port0$/],
      ['bridge list', /^bridge bridge0 name demo state up/],
      ['bridge bridge0 list port', /^port port0 device bridge0 state up/],
      ['bridge bridge0 show id', new RegExp(`^${UUID}$`)],
      ['chain create name in1', /^chain0$/],
      ['bridge bridge0 port port0 set infilter chain0', /^$/],
      ['bridge bridge0 port port0 show infilter', /^chain0$/],
      ['bridge bridge0 port port0 clear infilter', /^$/],
      ['bridge bridge0 port port0 show infilter', /^$/],
      ['router create name r1', /^router1$/],
      ['router router0 add port addresses 10.0.0.1/24', /^router0:port0$/],
      ['bridge bridge0 add port', /^bridge0:port1$/],
      ['router router0 port port0 set peer bridge0:port1', /^$/],
      ['bridge bridge0 port port1 show peer', /^router0:port0$/],
      ['router router0 add route type normal src 0.0.0.0/0 dst 10.0.0.0/24 port router0:port0', /^router0:route0$/],
      [
        'router router0 list route type normal',
        /^route route0 type normal src 0\.0\.0\.0\/0 dst 10\.0\.0\.0\/24 port router0:port0 weight 0 learned false$/,
      ],
      ['router router0 set asn 65000', /^$/],
      ['router router0 show asn', /^65000$/],
      ['chain chain0 add rule dst 10.0.0.5 proto tcp dst-port !22 type drop', /^chain0:rule0$/],
      ['chain chain0 list rule', /^rule rule0 pos 1 type drop dst 10\.0\.0\.5\/32 proto tcp dst-port !22/],
      ['host list', /^host host0 name monk alive false/],
      ['host host0 list interface', /^$/],
      ['tunnel-zone create name tz type vxlan', /^tzone0$/],
      ['tunnel-zone tzone0 add member host host0 address 10.9.0.1', /^zone tzone0 host host0 address 10\.9\.0\.1$/],
      ['host host0 add binding interface tap0 port bridge0:port0', /^host host0 interface tap0 port bridge0:port0$/],
      ['list host host0 binding', /^host host0 interface tap0 port bridge0:port0$/],
      ['sett 0123456789abcdef0123456789abcdef', /^tenant_id: 0123456789abcdef0123456789abcdef$/],
      ['bridge list', /^$/],
      ['bridge create name theirs', /^bridge1$/],
      ['bridge list', /^bridge bridge1 tenant 0123456789abcdef0123456789abcdef name theirs/],
      ['cleart', /^$/],
      ['bridge list', /^bridge .*\nbridge /],
      ['sett blue', /^Warning: .*32 hexadecimal digits\ntenant_id: blue$/],
      ['cleart', /^$/],
      // What rules name together.
      ['port-group create name web', /^pgroup0$/],
      ['port-group pgroup0 add member port bridge0:port0', /^port-group pgroup0 port bridge0:port0$/],
      ['bridge bridge0 port port0 show port-groups', /^pgroup0$/],
      ['ipg create name office', /^ipg0$/],
      ['ipg ipg0 add ip address 192.0.2.0/24', /^ip-address-group ipg0 address 192\.0\.2\.0\/24 version 4$/],
      ['ipg ipg0 add ip address fd00::5', /^ip-address-group ipg0 address fd00::5 version 6$/],
      ['chain create name in2', /^chain1$/],
      [
        'chain chain0 add rule type accept ip-address-group-src !ipg0 in-port-group pgroup0 in-ports bridge0:port0',
        /^chain0:rule1$/,
      ],
      ['chain chain0 rule rule1 show ip-address-group-src in-ports', /^ipg0\nbridge0:port0$/],
      ['chain chain0 add rule type jump jump-to chain1 metadata why=test', /^chain0:rule2$/],
      ['chain chain0 rule rule2 show', /^rule rule2 pos 1 type jump jump-to chain1 .*metadata why=test$/],
      ['logging-resource create type file', /^lres0$/],
      ['chain chain0 add rule-logger event drop logging-resource lres0', /^chain0:logger0$/],
      ['chain chain0 logger logger0 set event all', /^$/],
      ['chain chain0 list rule-logger', /^rule-logger logger0 chain chain0 event all logging-resource lres0$/],
      // What goes away keeps its number.
      ['chain chain0 rule rule1 delete', /^$/],
      ['chain chain0 rule rule1 show', /nothing is known as rule1 below chain0 .*WEFT_CLI_ALIAS/],
      ['chain chain0 add rule type drop', /^chain0:rule3$/],
      ['ipg ipg0 ip address 192.0.2.0/24 delete', /^$/],
      ['ipg ipg0 list ip', /^ip-address-group ipg0 address fd00::5 version 6$/],
      ['port-group pgroup0 member port bridge0:port0 delete', /^$/],
      ['port-group pgroup0 list member', /^$/],
      [
        'bridge bridge0 add mac-table mac 02:00:00:00:00:05 port bridge0:port0',
        /^mac 02:00:00:00:00:05 port bridge0:port0 learned false$/,
      ],
      ['bridge bridge0 mac-table mac 02:00:00:00:00:05 delete', /^$/],
      [
        'bridge bridge0 add arp-table address 10.0.0.5 mac 02:00:00:00:00:05',
        /^address 10\.0\.0\.5 mac 02:00:00:00:00:05 learned false$/,
      ],
      ['system-state show state', /^ACTIVE$/],
      // Mistakes.
      ['bridge router0 show', /router0 is no bridge|nothing is known as router0/],
      ['bridge bridge0 set colour red', /Syntax error at: colour red .*WEFT_CLI_SYNTAX/],
      ['help', /verbs: +list, show/],
      ['help rule', /^rule: a condition[\s\S]*jump-to +the id of a chain/],
      ['describe dhcp', /Syntax error/],
    ];
    await session(async (say, terminal) => {
      for (const [command, prints] of examples) {
        const printed = await say(command);
        assert.match(printed, prints, `${command}\n${printed}`);
      }
      terminal.type('quit\r');
      assert.equal(await terminal.ended(), 0);
    }, 200);
  });

  test('TAB completes types, aliases, verbs, fields, words and names that there are', async () => {
    await piped('bridge create name "tab net"\n', 'shell');
    await session(async (say, terminal) => {
      const complete = async (typed: string, shown: RegExp) => {
        terminal.type(typed);
        terminal.type('\t');
        await terminal.until(shown);
        // The emptied line is drawn anew: that prompt is not the answer to what is typed next.
        terminal.type('\u0015');
        await terminal.until(PROMPT);
      };
      await complete('brid', /bridge $/);
      await complete('bridge name "ta', /"tab net" $/);
      await complete('bridge name "tab net" set sta', /state $/);
      await complete('bridge name "tab net" set state u', /up $/);
      await complete('chain name in1 add rule type acc', /accept $/);
      await complete('chain name in1 add rule type jump jump-to chai', /chain\d?/);
      await complete('chain name in1 add rule ethertype !a', /!arp $/);
      await complete('describe ip-a', /ip-address-group $/);
      await complete('help bind', /binding $/);
      assert.equal(await say('router list name edge'), await say('router list name edge'));
      await complete('router name edge port port0 set peer router0:po', /router0:port0 /);
      await complete('host name mo', /monk $/);
      await complete('xyzzy ', /xyzzy \t?$/);
      assert.match(await say('show system-state state'), /^ACTIVE$/);
    });
  });

  test('long lists stop at the end of the screen', async () => {
    const many = Array.from({ length: 15 }, (_, i) => `chain create name page${i}`).join('\n');
    assert.equal((await piped(many, 'shell')).status, 0);
    await session(async (say, terminal) => {
      terminal.type('chain list\r');
      await terminal.until(/-- 9 of \d+ lines; Enter: more, q: enough -- /);
      const rest = await say('q');
      assert.doesNotMatch(rest, /^chain /m);
    }, 10);
  });

  test('what was typed is there again, for its owner alone', async () => {
    await session(async (say) => {
      await say('bridge list name memorable');
    });
    const file = join(directory, 'state', 'weft', 'history');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.match(readFileSync(file, 'utf8'), /^bridge list name memorable$/m);
    await session(async (_say, terminal) => {
      terminal.type('\u001b[A');
      await terminal.until(/bridge list name memorable/);
    });
  });

  test('^C gives up the line, ^D the session', async () => {
    await session(async (say, terminal) => {
      terminal.type('bridge create name nev');
      await terminal.until(/nev/);
      terminal.type('\u0003');
      await terminal.until(/\^C\nweft> /);
      assert.equal(await say('bridge list name never'), '');
      terminal.type('\u0004');
      assert.equal(await terminal.ended(), 0);
    });
  });
});

describe('from a pipe', () => {
  test('ids are printed, comments passed over; without aliases', async () => {
    const { status, stdout, stderr } = await piped(
      '# a comment\n\n  bridge create name piped\nlist bridge name piped\n',
    );
    assert.equal(stderr, '');
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^(${UUID})\nbridge \\1 name piped state up`));
    assert.equal((await piped('bridge bridge0 show\n')).status, 2);
  });

  test('it stops at the first line that fails, or goes on', async () => {
    const lines = 'bridge create name one-of-two\nbridge name nobody delete\nlist bridge name one-of-two\n';
    const stopped = await piped(lines, 'shell');
    assert.equal(stopped.status, 1);
    assert.match(stopped.stderr, /^weft: line 2: WEFT_CLI_NOT_FOUND: /);
    assert.doesNotMatch(stopped.stdout, /^bridge /m);
    const wentOn = await piped(lines.split('\n').slice(1).join('\n'), 'shell', '--keep-going');
    assert.equal(wentOn.status, 1);
    assert.match(wentOn.stdout, /^bridge .* name one-of-two/m);
  });

  test('the tenant of an option is that of sett', async () => {
    await piped('bridge create name of-green\n', 'shell', '--tenant', 'green');
    assert.match((await piped('list bridge\n', '--tenant', 'green')).stdout, /^bridge \S+ tenant green name of-green/);
  });
});
