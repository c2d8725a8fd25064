/** Echo requests of several VMs with one identifier leave in one name: each gets its own answers. */
import { inNetns, tryRun } from '../exec.ts';
import { watchLinks } from '../gateways.ts';
import { loseEchoes, ownNumber } from './firewall.ts';
import { defineKind } from './kind.ts';
import { readPing } from './ping.ts';

const COUNT = 10;
const ECHO_REQUEST = 8;

export const natIcmp = defineKind({
  kind: 'nat-icmp',
  summary:
    'VMs (`from`) that ping `external` with the same identifier at the same time, all as the address `as`, get the answers to their own requests',
  fields: ['from', 'external', 'as'],
  read: (fields) => ({
    from: fields.vms('from'),
    external: fields.external('external'),
    as: fields.ip('as'),
  }),

  async run(context, { from, external, as }) {
    const outside = context.external(external);
    const address = context.address(outside, 4);
    const watch = await watchLinks(context.lab, outside, `icmp and src host ${as}`);
    const argv = ['ping', '-n', '-c', COUNT, '-i', '0.02', '-W', '2', '-e', ownNumber(context), address].map(String);
    const outputs = await Promise.all(
      from.map(async (name) => (await tryRun(inNetns(context.vm(name).namespace, argv))).stdout),
    );
    const asked = (await watch.stop()).filter(({ isOut, sourcePort }) => isOut && sourcePort === ECHO_REQUEST);
    const identifiers = new Set(asked.map(({ echoId }) => echoId));
    const answers = outputs.map(readPing);
    const line = (received: (i: number) => number, duplicates: (i: number) => number, ids: number) =>
      `${from.map((name, i) => `${name} ${received(i)} answers, ${duplicates(i)} twice`).join('; ')}; ${ids} identifiers outside`;
    const expected = line(
      () => COUNT,
      () => 0,
      from.length,
    );
    const seen = line(
      (i) => answers[i]!.received,
      (i) => answers[i]!.duplicates,
      identifiers.size,
    );
    return { ok: seen === expected, expected, seen };
  },

  sabotage: (context, { from }) => loseEchoes(context, from[0]!),
});
