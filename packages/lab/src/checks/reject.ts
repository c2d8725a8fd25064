/** Reject rules answer: a TCP connection is refused at once, an echo request hears that it is prohibited. */
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { routerId } from '../ids.ts';
import type { VmPlan } from '../plan.ts';
import { ownNumber, ownPort, portPath, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

const ECHO_REQUEST = { 4: 8, 6: 128 } as const;
const ICMP = { 4: 1, 6: 58 } as const;
/** An answer of this machine takes some milliseconds; a connection that nobody answers, as long as it is waited for. */
const AT_ONCE_MS = 1_000;

export const reject = defineKind({
  kind: 'reject',
  needsApi: true,
  summary:
    'what the `by` (bridge, router) of `from` rejects is answered: TCP with a reset, at once, an echo request with ICMP prohibited',
  fields: ['from', 'to', 'family', 'by'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    by: fields.oneOf('by', ['bridge', 'router']),
  }),

  run(context, { from, to, family, by }) {
    const source = context.vm(from);
    const address = context.address(context.vm(to), family);
    return withFirewall(context, async (firewall) => {
      const port = ownPort(context);
      const chain = await firewall.chain('reject', [
        { type: 'reject', nwProto: 6, tpDst: { start: port, end: port } },
        {
          type: 'reject',
          nwProto: ICMP[family],
          tpSrc: { start: ECHO_REQUEST[family], end: ECHO_REQUEST[family] },
        },
      ]);
      await firewall.attach(by === 'bridge' ? portPath(source) : routerPath(context, source), 'inboundFilterId', chain);
      await firewall.live();
      const start = performance.now();
      const connection = await tryRun(
        inNetns(source.namespace, ['ncat', `-${family}`, '-w', '2', address, String(port)]),
      );
      const ms = performance.now() - start;
      const echo = await tryRun(
        inNetns(
          source.namespace,
          ['ping', `-${family}`, '-n', '-c', '1', '-W', '2', '-e', ownNumber(context), address].map(String),
        ),
      );
      const refused = /refused/i.test(connection.stderr) && ms < AT_ONCE_MS;
      const prohibited = /Packet filtered|prohibited/i.test(echo.stdout);
      return {
        ok: refused && prohibited,
        expected: 'TCP: refused at once; echo: prohibited',
        seen: `TCP: ${refused ? 'refused at once' : `${connection.stderr.trim() || 'connected'} after ${Math.round(ms)} ms`}; echo: ${prohibited ? 'prohibited' : lastWords(echo.stdout)}`,
      };
    });
  },

  sabotage(context, { from }) {
    return nftFault(
      `${from} does not hear that port ${ownPort(context)} is closed`,
      context.vm(from).namespace,
      `chain in { type filter hook input priority 0; tcp sport ${ownPort(context)} tcp flags & rst == rst drop; }`,
    );
  },
});

function routerPath({ plan }: CheckContext, vm: VmPlan): string {
  const tenant = plan.scenario.tenants.find(({ name }) => name === vm.tenant)!;
  const network = tenant.networks.find(({ name }) => name === vm.interfaces[0]!.network)!;
  return `/routers/${routerId(tenant.name, network.router!)}`;
}

function lastWords(output: string): string {
  return output.trim().split('\n').slice(1).join(' ').trim() || 'nothing';
}
