/** traceroute(8) shows each router once: TTL falls by one per router, and each answers when it reaches zero. */
import { parseIp } from '@weft/topology';
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { defineKind } from './kind.ts';

export const trace = defineKind({
  kind: 'trace',
  summary: 'traceroute from one VM to another shows exactly the `hops`',
  fields: ['from', 'to', 'family', 'hops'],
  read: (fields) => ({
    from: fields.place('from'),
    to: fields.place('to'),
    family: fields.family('family'),
    /** Addresses of the routers on the way; the destination is added. */
    hops: fields.ips('hops'),
  }),

  async run(context, { from, to, family, hops }) {
    const address = context.address(context.place(to), family);
    const argv = [
      'traceroute',
      `-${family}`,
      '-n',
      '-q',
      '1',
      '-N',
      '1',
      '-w',
      '2',
      '-m',
      String(hops.length + 3),
      address,
    ];
    const { stdout } = await tryRun(inNetns(context.place(from).namespace, argv));
    const seen = [...stdout.matchAll(/^\s*\d+\s+(\S+)/gm)].map((line) => line[1]!).join(' ');
    const expected = [...hops, address].join(' ');
    return { ok: seen === expected, expected, seen };
  },

  sabotage(context, { from, to, family, hops }) {
    // Only of packets to that destination: it stands in the header that the error quotes, 16 or 24 bytes into it.
    const address = Buffer.from(parseIp(context.address(context.place(to), family))!).toString('hex');
    const match =
      family === 4
        ? `icmp type time-exceeded @th,${8 * (8 + 16)},32 0x${address}`
        : `icmpv6 type time-exceeded @th,${8 * (8 + 24)},128 0x${address}`;
    return nftFault(
      `${from} does not hear ${hops[0]} say that the TTL has run out`,
      context.place(from).namespace,
      `chain in { type filter hook input priority 0; ${family === 4 ? 'ip' : 'ip6'} saddr ${hops[0]} ${match} drop; }`,
    );
  },
});
