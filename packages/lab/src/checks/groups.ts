/** Rules about groups: who comes into a group, or leaves it, changes the verdict, of flows that stand too. */
import { answers, loseEchoes, portPath, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind, type Outcome } from './kind.ts';

export const addressGroup = defineKind({
  kind: 'address-group',
  needsApi: true,
  summary:
    "pings of `from` to a group of addresses are dropped: `to`'s IPv4 address and a prefix with its IPv6 address come into it and leave it",
  fields: ['from', 'to'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to') }),

  run(context, { from, to }) {
    const source = context.vm(from);
    const v4 = context.address(context.vm(to), 4);
    const v6 = context.address(context.vm(to), 6);
    const seen = async (v4Open: boolean, v6Open: boolean): Promise<string> => {
      const got = await Promise.all([answers(context, source, v4, v4Open), answers(context, source, v6, v6Open)]);
      return `IPv4 ${word(got[0])} IPv6 ${word(got[1])}`;
    };
    return withFirewall(context, async (firewall) => {
      const group = await firewall.make('ip_addr_groups', 'group', { name: context.checkName });
      const chain = await firewall.chain('chain', [{ type: 'drop', ipAddrGroupDst: group }]);
      await firewall.attach(portPath(source), 'inboundFilterId', chain);
      await firewall.live();
      const states = [`empty: ${await seen(true, true)}`];
      const members = `/ip_addr_groups/${group}`;
      await firewall.step({ do: 'post', path: `${members}/ip_addrs`, body: { addr: v4 } });
      await firewall.live();
      states.push(`+ address: ${await seen(false, true)}`);
      await firewall.step({ do: 'post', path: `${members}/ip_addrs`, body: { addr: `${v6}/112` } });
      await firewall.step({ do: 'delete', path: `${members}/versions/4/ip_addrs/${v4}` });
      await firewall.live();
      states.push(`+ prefix, - address: ${await seen(true, false)}`);
      return judge(states, [
        'empty: IPv4 passes IPv6 passes',
        '+ address: IPv4 dropped IPv6 passes',
        '+ prefix, - address: IPv4 passes IPv6 dropped',
      ]);
    });
  },

  sabotage: (context, { from }) => loseEchoes(context, from),
});

export const portGroup = defineKind({
  kind: 'port-group',
  needsApi: true,
  summary:
    "pings from ports of a group are dropped before `to`: `from`'s port comes into the group and leaves it, `other`'s is not in it",
  fields: ['from', 'other', 'to'],
  read: (fields) => ({ from: fields.vm('from'), other: fields.vm('other'), to: fields.vm('to') }),

  run(context, { from, other, to }) {
    const address = context.address(context.vm(to), 4);
    const seen = async (open: boolean): Promise<string> => {
      const got = await Promise.all([
        answers(context, context.vm(from), address, open),
        answers(context, context.vm(other), address, true),
      ]);
      return `${from} ${word(got[0])}, ${other} ${word(got[1])}`;
    };
    return withFirewall(context, async (firewall) => {
      const group = await firewall.make('port_groups', 'group', { name: context.checkName });
      const chain = await firewall.chain('chain', [{ type: 'drop', portGroup: group }]);
      await firewall.attach(portPath(context.vm(to)), 'outboundFilterId', chain);
      await firewall.live();
      const states = [`empty: ${await seen(true)}`];
      const { portId } = context.vm(from).interfaces[0]!;
      await firewall.step({ do: 'post', path: `/port_groups/${group}/ports`, body: { portId } });
      await firewall.live();
      states.push(`in: ${await seen(false)}`);
      await firewall.step({ do: 'delete', path: `/port_groups/${group}/ports/${portId}` });
      await firewall.live();
      states.push(`out: ${await seen(true)}`);
      const passes = `${from} passes, ${other} passes`;
      return judge(states, [`empty: ${passes}`, `in: ${from} dropped, ${other} passes`, `out: ${passes}`]);
    });
  },

  sabotage: (context, { from }) => loseEchoes(context, from),
});

export const jump = defineKind({
  kind: 'jump',
  needsApi: true,
  summary:
    'behind a jump the chain goes on for what returns (`to`) and not for what is accepted there (`other`); without the drop at its end all pass',
  fields: ['from', 'to', 'other'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to'), other: fields.vm('other') }),

  run(context, { from, to, other }) {
    const source = context.vm(from);
    const [target, second] = [to, other].map((name) => context.address(context.vm(name), 4)) as [string, string];
    const seen = async (open: boolean): Promise<string> => {
      const got = await Promise.all([
        answers(context, source, target, open),
        answers(context, source, second, true, 1),
      ]);
      return `${to} ${word(got[0])}, ${other} ${word(got[1])}`;
    };
    return withFirewall(context, async (firewall) => {
      const inner = await firewall.chain('inner', [
        { type: 'return', nwDst: `${target}/32` },
        { type: 'accept', nwDst: `${second}/32` },
      ]);
      const icmp = { nwProto: 1 };
      const outer = await firewall.chain('outer', [
        { type: 'jump', jumpChainId: inner, ...icmp },
        { type: 'drop', ...icmp },
      ]);
      await firewall.attach(portPath(source), 'inboundFilterId', outer);
      await firewall.live();
      const states = [`with drop: ${await seen(false)}`];
      const rules = await context.api.get<{ id: string; type: string }[]>(`/chains/${outer}/rules`);
      await firewall.step({ do: 'delete', path: `/rules/${rules.find(({ type }) => type === 'drop')!.id}` });
      await firewall.live();
      states.push(`without: ${await seen(true)}`);
      return judge(states, [`with drop: ${to} dropped, ${other} passes`, `without: ${to} passes, ${other} passes`]);
    });
  },

  sabotage: (context: CheckContext, { from }) => loseEchoes(context, from),
});

function word(answered: boolean): string {
  return answered ? 'passes' : 'dropped';
}

function judge(states: readonly string[], wanted: readonly string[]): Outcome {
  const [seen, expected] = [states.join('; '), wanted.join('; ')];
  return { ok: seen === expected, expected, seen };
}
