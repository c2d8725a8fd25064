/** Numbered packets, and every VM watched: each packet is where it belongs once, and nowhere else. */
import { awaitFrame, type Capture, startCapture } from '../capture.ts';
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { readCapture } from '../pcap.ts';
import type { VmPlan } from '../plan.ts';
import { type CheckContext, defineKind } from './kind.ts';

const NOBODY = '02:ee:00:00:00:02';
const ETHERTYPE = 0x88bc;
const ECHO_ID = 0x7745;

interface Fields {
  readonly from: string;
  readonly to: string | undefined;
  readonly family: 4 | 6;
  readonly count: number;
}

/** What is sent, how to recognize it, and where its number stands. */
interface Stream {
  readonly filter: string;
  readonly last: string;
  numberOf(frame: Buffer): number;
  send(): Promise<void>;
}

export const exactlyOnce = defineKind({
  kind: 'exactly-once',
  summary:
    'each of `count` numbered echo requests (without `to`: flooded frames) reaches its VM (each VM of the network) once, no other at all',
  fields: ['from', 'to', 'family', 'count'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.optionalVm('to'),
    family: fields.family('family'),
    count: fields.integer('count', 1, 10_000, 100),
  }),

  async run(context, fields) {
    const { from, to, count } = fields;
    const source = context.vm(from);
    const { network } = source.interfaces[0]!;
    const isMember = (vm: VmPlan, name: string) =>
      to === undefined ? vm.tenant === source.tenant && name === network : vm.name === to;
    const stream = to === undefined ? flooded(source, count) : echoes(context, fields, to);
    const places = context.plan.vms.flatMap((vm) =>
      vm.interfaces.map(({ device, network: name }) => ({
        name: vm.interfaces.length > 1 ? `${vm.name} ${device}` : vm.name,
        vm,
        device,
        // The sender sees its own, on their way out.
        once: vm === source ? device === 'eth0' : isMember(vm, name),
      })),
    );
    const captures: Capture[] = await Promise.all(
      places.map(({ vm, device }) => startCapture(context.plan.paths.captures, vm.namespace, device, stream.filter)),
    );
    const faults: string[] = [];
    let arrived = 0;
    try {
      await stream.send();
      await Promise.all(
        places.map(({ once }, i) => once && awaitFrame(captures[i]!, stream.last).catch(() => undefined)),
      );
      for (const [i, { name, once }] of places.entries()) {
        const numbers = (await readCapture(await captures[i]!.stop())).map(({ bytes }) => stream.numberOf(bytes));
        arrived += numbers.length;
        const seen = new Set(numbers);
        const wanted = once ? count : 0;
        const missing = wanted - seen.size;
        if (numbers.length > seen.size) faults.push(`${numbers.length - seen.size} twice at ${name}`);
        if (missing > 0) faults.push(`${missing} missing at ${name}`);
        if (missing < 0) faults.push(`${-missing} at ${name}, where none belongs`);
      }
    } finally {
      await Promise.all(captures.map((capture) => capture.stop()));
    }
    const members = places.filter(({ once }) => once).map(({ name }) => name);
    return {
      ok: faults.length === 0,
      expected: `${count} packets once each at ${members.join(', ')}, none at the ${places.length - members.length} other interfaces`,
      seen: faults.join('; ') || `${arrived} packets, each as expected`,
    };
  },

  sabotage(context, { from, to, family, count }) {
    const source = context.vm(from);
    const number = Math.ceil(count / 2);
    if (to === undefined) {
      return nftFault(
        `${from} loses number ${number} of what it sends to ${NOBODY}`,
        source.namespace,
        `chain out { type filter hook egress device "eth0" priority 0; ether daddr ${NOBODY} @ll,112,32 ${number} drop; }`,
        'netdev',
      );
    }
    const icmp = family === 4 ? 'icmp' : 'icmpv6';
    return nftFault(
      `${from} loses echo request ${number} with id ${ECHO_ID}`,
      source.namespace,
      `chain out { type filter hook output priority 0; ${icmp} type echo-request ${icmp} id ${ECHO_ID} ${icmp} sequence ${number} drop; }`,
    );
  },
});

function echoes(context: CheckContext, { from, family, count }: Fields, to: string): Stream {
  const source = context.vm(from);
  const address = context.address(context.vm(to), family);
  // Offset of the ICMP header in an IPv6 packet; tcpdump knows that of IPv4 by itself.
  const filter =
    family === 4
      ? `icmp[0] == 8 and icmp[4:2] == ${ECHO_ID}`
      : `ip6[6] == 58 and ip6[40] == 128 and ip6[44:2] == ${ECHO_ID}`;
  return {
    filter,
    last: `${filter} and ${family === 4 ? 'icmp[6:2]' : 'ip6[46:2]'} == ${count}`,
    numberOf: (frame) => frame.readUInt16BE(family === 4 ? 14 + (frame[14]! & 15) * 4 + 6 : 14 + 40 + 6),
    async send() {
      const argv = ['ping', `-${family}`, '-n', '-c', count, '-i', '0.002', '-W', '1', '-e', ECHO_ID, address];
      await tryRun(inNetns(source.namespace, argv.map(String)));
    },
  };
}

function flooded(source: VmPlan, count: number): Stream {
  const { mac } = source.interfaces[0]!;
  const frames = Array.from({ length: count }, (_, i) => {
    const payload = Buffer.alloc(64);
    payload.writeUInt32BE(i + 1);
    return ethernetFrame(NOBODY, mac, undefined, ETHERTYPE, payload);
  });
  const filter = `ether dst ${NOBODY} and ether proto ${ETHERTYPE}`;
  return {
    filter,
    last: `${filter} and ether[14:4] == ${count}`,
    numberOf: (frame) => frame.readUInt32BE(14),
    send: async () => sendFrames(source.namespace, 'eth0', frames),
  };
}
