/** Tenants never meet: a VM gets no answer from another tenant's address, and none of its frames arrives there. */
import { awaitFrame, countFrames, startCapture } from '../capture.ts';
import { inNetns, tryRun } from '../exec.ts';
import { familyOf } from '../plan.ts';
import { defineKind } from './kind.ts';
import { readPing } from './ping.ts';

/** Echo requests of the check carry it, so that no other frame is taken for one of them. */
const MARK = '77656674';

export const isolation = defineKind({
  kind: 'isolation',
  summary: 'a VM of one tenant neither reaches a VM of another nor is any of its frames seen there',
  fields: ['from', 'watch', 'answerer', 'family'],
  read: (fields) => ({
    from: fields.vm('from'),
    /** VM of another tenant whose address no VM of `from`'s tenant has. */
    watch: fields.vm('watch'),
    /** VM of `from`'s own tenant that takes on that address when the check is sabotaged. */
    answerer: fields.vm('answerer'),
    family: fields.family('family'),
  }),

  async run(context, { from, watch, family }) {
    const source = context.vm(from);
    const watched = context.vm(watch);
    const address = context.address(watched, family);
    const filter = 'arp or icmp or icmp6';
    const capture = await startCapture(context.plan.paths.captures, watched.namespace, 'eth0', filter);
    try {
      const argv = ['ping', `-${family}`, '-n', '-c', '5', '-i', '0.1', '-W', '1', '-p', MARK, address];
      const { stdout } = await tryRun(inNetns(source.namespace, argv));
      const { received } = readPing(stdout);
      // Something that does arrive shows that the capture was awake all the time.
      await tryRun(inNetns(watched.namespace, ['ping', '-n', '-c', '1', '-W', '1', context.address(watched, family)]));
      const gateway = watched.interfaces[0]!.gateways.find((candidate) => familyOf(candidate) === family);
      if (gateway) {
        await tryRun(inNetns(watched.namespace, ['ping', '-n', '-c', '1', '-W', '2', gateway]));
        await awaitFrame(capture, `host ${gateway}`);
      }
      const file = await capture.stop();
      // The mark fills the payload; in it any four bytes on a word boundary say the same.
      const echo =
        family === 4
          ? `icmp[0] == 8 and icmp[24:4] == 0x${MARK}`
          : `icmp6 and ip6[40] == 128 and ip6[64:4] == 0x${MARK}`;
      const asked = family === 4 ? `arp and ether broadcast and arp[24:4] == ${hex4(address)}` : '';
      const frames = (await countFrames(file, echo)) + (asked === '' ? 0 : await countFrames(file, asked));
      return {
        ok: received === 0 && frames === 0,
        expected: `no answer to ${from} from ${address}, no frame of it at ${watch}`,
        seen: `${received} answers, ${frames} frames at ${watch}`,
      };
    } finally {
      await capture.stop();
    }
  },

  sabotage(context, { from, watch, answerer, family }) {
    const address = context.address(context.vm(watch), family);
    const own = context.vm(answerer);
    const argv = (verb: string) => ['ip', 'addr', verb, `${address}/${family === 4 ? 32 : 128}`, 'dev', 'eth0'];
    return {
      what: `${answerer} answers ${from} in the name of ${address}`,
      plant: [{ do: 'exec', namespace: own.namespace, argv: family === 4 ? argv('add') : [...argv('add'), 'nodad'] }],
      remove: [{ do: 'exec', namespace: own.namespace, argv: argv('del') }],
    };
  },
});

function hex4(address: string): string {
  return `0x${address
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0'))
    .join('')}`;
}
