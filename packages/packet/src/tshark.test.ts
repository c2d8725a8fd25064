import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as p from './index.ts';

/* An independent reader of what the builders and the pcap writer make. */

const eth = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };
const ports = { srcPort: 40001, dstPort: 40002, payload: p.fromHex('0102030405') };
const missing = spawnSync('tshark', ['--version']).error ? 'tshark is not installed (apt install tshark)' : false;

/** Frame, the protocols that tshark must see (after eth:ethertype), and one field with its value. */
const CASES: readonly [Uint8Array, string, string, string][] = [
  [p.arpRequest({ senderMac: 1, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }), 'arp', 'arp.dst.proto_ipv4', '10.0.0.2'],
  [p.arpReply({ senderMac: 1, senderIp: '10.0.0.1', targetMac: 2, targetIp: '10.0.0.2' }), 'arp', 'arp.opcode', '2'],
  [p.udpFrame({ ...v4, ...ports }), 'ip:udp:data', 'udp.dstport', '40002'],
  [p.udpFrame({ ...v6, ...ports, flowLabel: 0x12345 }), 'ipv6:udp:data', 'ipv6.flow', '0x012345'],
  [p.tcpFrame({ ...v4, ...ports, vlan: 0x6005 }), 'vlan:ethertype:ip:tcp:data', 'vlan.id', '5'],
  [
    p.tcpFrame({ ...v6, srcPort: 1, dstPort: 2, options: p.tcpMssOption(1400) }),
    'ipv6:tcp',
    'tcp.options.mss_val',
    '1400',
  ],
  [p.icmpEcho({ ...v4, id: 7, seq: 9, payload: new Uint8Array(56) }), 'ip:icmp:data', 'icmp.seq', '9'],
  [p.icmpEcho({ ...v6, id: 7, seq: 9 }), 'ipv6:icmpv6', 'icmpv6.echo.sequence_number', '9'],
  [
    p.ndNeighborSolicit({ mac: 1, src: 'fd00::1', target: 'fd00::2' }),
    'ipv6:icmpv6',
    'icmpv6.nd.ns.target_address',
    'fd00::2',
  ],
  [
    p.ndNeighborAdvert({ mac: 1, target: 'fd00::2', dst: 'fd00::1', ethDst: 2 }),
    'ipv6:icmpv6',
    'icmpv6.nd.na.flag.s',
    '1',
  ],
  [
    p.icmpError({
      ...eth,
      src: '10.0.0.9',
      type: 3,
      code: 4,
      rest: 1400,
      packet: p.tcpFrame({ ...v4, ...ports }),
      ip: 14,
    }),
    'ip:icmp:ip:tcp:data',
    'icmp.mtu',
    '1400',
  ],
  [
    p.icmpError({
      ...eth,
      src: 'fd00::9',
      type: 2,
      code: 0,
      rest: 1400,
      packet: p.udpFrame({ ...v6, ...ports }),
      ip: 14,
    }),
    'ipv6:icmpv6:ipv6:udp:data',
    'icmpv6.mtu',
    '1400',
  ],
  [p.greFrame({ ...v4, key: 4711 }, p.icmpEcho(v6)), 'ip:gre:eth:ethertype:ipv6:icmpv6', 'gre.key', '0x00001267'],
  [
    p.vxlanFrame({ ...v6, vni: 4711, srcPort: 9, checksum: true }, p.icmpEcho(v4)),
    'ipv6:udp:vxlan:eth:ethertype:ip:icmp',
    'vxlan.vni',
    '4711',
  ],
  [p.tcpRst(p.tcpFrame({ ...v4, ...ports })) as Uint8Array, 'ip:tcp', 'tcp.flags.reset', '1'],
];

test('tshark reads every frame as meant, with no bad checksum and nothing malformed', { skip: missing }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-packet-'));
  try {
    const file = join(folder, 'frames.pcap');
    const damaged = p.udpFrame({ ...v4, ...ports });
    damaged[damaged.length - 1] ^= 1;
    const frames = [...CASES.map(([frame]) => frame), damaged];
    writeFileSync(file, [p.pcapHeader(), ...frames.map((frame, i) => p.pcapRecord(i, 5, frame))].reduce(concat));
    const checks = ['ip', 'tcp', 'udp'].flatMap((name) => ['-o', `${name}.check_checksum:TRUE`]);
    const fields = ['frame.protocols', '_ws.malformed', '_ws.expert.message', ...CASES.map(([, , field]) => field)];
    const args = ['-r', file, ...checks, '-T', 'fields', '-E', 'occurrence=f', ...fields.flatMap((f) => ['-e', f])];
    const run = spawnSync('tshark', args, { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    const lines = run.stdout.replace(/\n$/, '').split('\n');
    assert.equal(lines.length, frames.length);
    assert.match(lines[CASES.length], /checksum/i, 'tshark would say so');
    CASES.forEach(([frame, protocols, field, value], i) => {
      const seen = lines[i].split('\t');
      const what = `${p.describe(frame)}\n${lines[i]}`;
      assert.equal(seen[0], `eth:ethertype:${protocols}`, what);
      assert.equal(seen[1], '', what);
      assert.doesNotMatch(seen[2], /checksum|length/i, what);
      // Booleans are 1 or True, by tshark's version.
      assert.equal(seen[3 + i].replace('True', '1'), value, `${field} in ${what}`);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
