/** Real programs across two drivers: what one encapsulates, the other must understand, offloads included. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { runIn } from '@weft/sys';
import { guard } from './suite.ts';
import type { DriverFactory } from './testbed.ts';
import { type Finished, TwoHosts } from './two-hosts.ts';

const BYTES = 4_000_000;

/** Takes one connection, writes the digest of what came. */
const RECEIVER = `
  const hash = require('node:crypto').createHash('sha256');
  const server = require('node:net').createServer((s) => {
    s.on('data', (d) => hash.update(d));
    s.on('end', () => { console.log(hash.digest('hex')); s.end(); server.close(); });
  });
  server.listen(5201, '::', () => console.log('ready'));`;

/** Sends bytes that do not repeat within a super-packet, writes their digest. */
const SENDER = `
  const [address, length] = process.argv.slice(1);
  const data = Buffer.alloc(Number(length));
  for (let i = 0; i + 4 <= data.length; i += 4) data.writeUInt32LE(Math.imul(i, 0x9e3779b1) >>> 0, i);
  const s = require('node:net').connect(5201, address, () => s.end(data));
  s.on('close', () => console.log(require('node:crypto').createHash('sha256').update(data).digest('hex')));
  s.on('error', (e) => { console.error(e.message); process.exit(1); });
  s.resume();`;

const missing = (tool: string) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0;

/** Counter of /proc/net/snmp in a namespace: `counter(ns, 'Tcp', 'InCsumErrors')`. */
function counter(ns: string, protocol: string, name: string): number {
  const lines = runIn(ns, () => readFileSync('/proc/thread-self/net/snmp', 'latin1')).split('\n');
  const [names, values] = lines.filter((l) => l.startsWith(`${protocol}:`)).map((l) => l.split(' '));
  return Number(values[names.indexOf(name)]);
}

export function describeInterop(a: DriverFactory, b: DriverFactory, encap: 'gre' | 'vxlan', ipv6: boolean): void {
  const skip = a.skip() || b.skip() || (missing('ping') && 'needs ping');
  guard();
  describe(`${a.kind} to ${b.kind}, ${encap} over IPv${ipv6 ? 6 : 4}`, { skip }, () => {
    let hosts: TwoHosts;
    before(() => {
      hosts = new TwoHosts([a, b], encap, ipv6);
    });
    after(() => hosts?.close());

    for (const address of ['10.9.0.2', 'fd00:9::2']) {
      test(`ping ${address}`, async () => {
        const first = await hosts.run(0, ['ping', '-c', '2', '-i', '0.2', '-W', '2', address], 8);
        assert.equal(first.code, 0, first.output);
        // The largest packet that the VM's MTU allows, and what follows it in fragments.
        for (const size of ['1402', '4000']) {
          const big = await hosts.run(0, ['ping', '-c', '3', '-i', '0.2', '-W', '2', '-s', size, address], 8);
          assert.match(big.output, / 0% packet loss/);
        }
      });
    }

    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ]) {
      for (const address of [`10.9.0.${to + 1}`, `fd00:9::${to + 1}`]) {
        test(`TCP to ${address}`, async () => {
          const server = hosts.start(to, [process.execPath, '-e', RECEIVER]);
          try {
            assert.ok(await hosts.until(() => server.output().includes('ready'), 10), 'the receiver does not listen');
            const sent = await hosts.run(from, [process.execPath, '-e', SENDER, address, `${BYTES}`], 30);
            assert.equal(sent.code, 0, sent.output);
            let received: Finished | undefined;
            void server.done.then((r) => {
              received = r;
            });
            assert.ok(await hosts.until(() => received !== undefined, 10), 'the receiver does not end');
            assert.equal(received?.output.split('\n')[1], sent.output.trim(), 'digests of what was received and sent');
          } finally {
            server.stop();
          }
          for (const { vm } of hosts.hosts) {
            assert.equal(counter(vm, 'Tcp', 'InCsumErrors'), 0);
            assert.equal(counter(vm, 'Ip', 'InHdrErrors'), 0);
          }
        });
      }
    }
  });
}
