/** Filters with memory: who was asked may answer, who was not may not call; and what becomes of a connection whose rule is gone. */
import { labUuid } from '../names.ts';
import type { Place } from '../plan.ts';
import { converse, startServer, startTalk } from '../talk.ts';
import { sleep } from '../wait.ts';
import { loseTraffic, ownPort, portPath, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

/** How long silence is listened to, ms. */
const SILENCE_MS = 400;
const UNASKED = { patienceMs: SILENCE_MS };

export const stateful = defineKind({
  kind: 'stateful',
  needsApi: true,
  summary:
    'behind a filter that denies by default `to` calls each of `from` and is answered, over TCP and UDP; the VMs among them reach it on the port `open`, and on no other',
  fields: ['to', 'open', 'from'],
  read: (fields) => ({
    to: fields.vm('to'),
    open: fields.integer('open', 1, 65_535, 5432),
    from: fields.places('from'),
  }),

  async run(context, { to, open, from }) {
    const guarded = context.vm(to);
    const own = context.address(guarded, 4);
    const port = ownPort(context);
    const servers = [await startServer(guarded, own, open), await startServer(guarded, own, port)];
    const seen: string[] = [];
    const expected: string[] = [];
    try {
      for (const name of from) {
        const other = context.place(name);
        const address = context.address(other, 4);
        servers.push(await startServer(other, address, port));
        const talk = async (source: Place, target: string, at: number, protocol: 'tcp' | 'udp', due: boolean) =>
          (await converse({ from: source, address: target, port: at, protocol, options: due ? {} : UNASKED })).answered;
        const answers = [
          await talk(guarded, address, port, 'tcp', true),
          await talk(guarded, address, port, 'udp', true),
        ];
        const isVm = context.plan.vms.some((vm) => vm.name === name);
        const calls = isVm
          ? [
              await talk(other, own, open, 'tcp', true),
              await talk(other, own, port, 'tcp', false),
              await talk(other, own, port, 'udp', false),
            ]
          : [];
        const line = (answered: readonly number[], called: readonly number[]) =>
          `${name}: answers ${answered.join(', ')}${isVm ? `, calls ${called.join(', ')}` : ''}`;
        seen.push(line(answers, calls));
        expected.push(line([1, 1], [1, 0, 0]));
      }
    } finally {
      for (const server of servers) await server.stop();
    }
    const words = `(TCP, UDP; TCP to ${open}, to another, UDP to another)`;
    return {
      ok: seen.join() === expected.join(),
      expected: `${expected.join('; ')} ${words}`,
      seen: seen.join('; '),
    };
  },

  async sabotage(context, { to }) {
    const { outboundFilterId } = await context.api.get<{ outboundFilterId?: string }>(portPath(context.vm(to)));
    const id = labUuid('fault', context.checkName);
    const port = ownPort(context);
    const rule = { id, type: 'accept', position: 1, nwProto: 6, tpDst: { start: port, end: port } };
    return {
      what: `a rule lets everybody call ${to} on port ${port}`,
      plant: [{ do: 'post', path: `/chains/${outboundFilterId}/rules`, body: rule }],
      remove: [{ do: 'delete', path: `/rules/${id}` }],
    };
  },
});

export const ruleRemoved = defineKind({
  kind: 'rule-removed',
  needsApi: true,
  summary:
    'when the rule that accepts connections of `from` to `to` is gone, no new one is accepted, and an established one ends (`onChange` reevaluate) or goes on (finish)',
  fields: ['from', 'to', 'onChange'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    onChange: fields.optionalOneOf('onChange', ['reevaluate', 'finish']) ?? 'reevaluate',
  }),

  run(context, { from, to, onChange }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const address = context.address(target, 4);
    const port = ownPort(context);
    const tcp = { nwProto: 6, tpDst: { start: port, end: port } };
    return withFirewall(context, async (firewall) => {
      const chain = await firewall.chain('chain', [
        { type: 'accept', matchReturnFlow: true },
        { type: 'accept', onChange, ...tcp },
        { type: 'drop', ...tcp },
      ]);
      await firewall.attach(portPath(target), 'outboundFilterId', chain);
      await firewall.live();
      const server = await startServer(target, address, port);
      try {
        const talk = await startTalk({ from: source, address, port });
        await sleep(200);
        const rules = await context.api.get<{ id: string }[]>(`/chains/${chain}/rules`);
        await firewall.step({ do: 'delete', path: `/rules/${rules[1]!.id}` });
        await firewall.live();
        const fresh = await converse({ from: source, address, port, options: UNASKED });
        await sleep(SILENCE_MS);
        const { answered, sent } = await talk.stop();
        const word = (was: boolean, goesOn: boolean, accepted: boolean) =>
          `${was ? 'established' : 'no connection'}, then ${goesOn ? 'it goes on' : 'it is cut off'}, a new one is ${accepted ? 'accepted' : 'not accepted'}`;
        const expected = word(true, onChange === 'finish', false);
        const seen = word(answered > 5, answered > 5 && sent - answered < 5, fresh.answered > 0);
        return { ok: seen === expected, expected, seen: `${seen}: ${answered} of ${sent} messages answered` };
      } finally {
        await server.stop();
      }
    });
  },

  sabotage: (context: CheckContext, { from }) =>
    loseTraffic(context, context.vm(from), `tcp dport ${ownPort(context)}`),
});
