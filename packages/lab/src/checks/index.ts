/** All kinds of checks, and the checks of a scenario made ready to run. */
import type { Fault } from '../faults/fault.ts';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario/types.ts';
import { agentRestart } from './agent-restart.ts';
import { burstOrder } from './burst-order.ts';
import { change } from './change.ts';
import { doors } from './doors.ts';
import { exactlyOnce } from './exactly-once.ts';
import { explain } from './explain.ts';
import { flood } from './flood.ts';
import { floodFiltered } from './flood-filtered.ts';
import { floatingIp, portForward } from './forwards.ts';
import { fragments } from './fragments.ts';
import { frames } from './frames.ts';
import { gatewayDies } from './gateway-dies.ts';
import { addressGroup, jump, portGroup } from './groups.ts';
import { gsoUdp } from './gso-udp.ts';
import { hostStack } from './host-stack.ts';
import { hostileUnderlay } from './hostile-underlay.ts';
import { idleUserspace } from './idle-userspace.ts';
import { isolation } from './isolation.ts';
import { CheckContext, CheckFields, type CheckKind, type Outcome } from './kind.ts';
import { linkFailover } from './link-failover.ts';
import { macMoves } from './mac-moves.ts';
import { migration } from './migration.ts';
import { natFragments } from './nat-fragments.ts';
import { natIcmp } from './nat-icmp.ts';
import { natPathMtu } from './nat-path-mtu.ts';
import { natRestart } from './nat-restart.ts';
import { natTcp } from './nat-tcp.ts';
import { natTraceroute } from './nat-traceroute.ts';
import { pathMtu } from './path-mtu.ts';
import { ping } from './ping.ts';
import { reject } from './reject.ts';
import { ruleCounters, ruleLog } from './rules.ts';
import { securityGroup } from './security-group.ts';
import { snatFrozen } from './snat-frozen.ts';
import { snatMany } from './snat-many.ts';
import { spray } from './spray.ts';
import { stateLoss } from './state-loss.ts';
import { ruleRemoved, stateful } from './stateful.ts';
import { storeAway } from './store-away.ts';
import { tcp } from './tcp.ts';
import { tooBig } from './too-big.ts';
import { trace } from './trace.ts';
import { transfer } from './transfer.ts';
import { udp } from './udp.ts';
import { upcalls } from './upcalls.ts';
import { vlanFilter } from './vlan-filter.ts';
import { wire } from './wire.ts';

export const CHECK_KINDS: readonly CheckKind[] = [
  agentRestart,
  change,
  spray,
  idleUserspace,
  hostileUnderlay,
  gsoUdp,
  floodFiltered,
  exactlyOnce,
  explain,
  burstOrder,
  doors,
  flood,
  fragments,
  reject,
  addressGroup,
  portGroup,
  jump,
  vlanFilter,
  ruleCounters,
  ruleLog,
  frames,
  hostStack,
  isolation,
  linkFailover,
  macMoves,
  migration,
  natTcp,
  natIcmp,
  natTraceroute,
  natPathMtu,
  natFragments,
  snatMany,
  snatFrozen,
  portForward,
  floatingIp,
  stateful,
  securityGroup,
  ruleRemoved,
  gatewayDies,
  natRestart,
  stateLoss,
  pathMtu,
  ping,
  storeAway,
  tcp,
  tooBig,
  trace,
  transfer,
  udp,
  upcalls,
  wire,
];

/** A check with its fields read. */
export interface Check {
  readonly name: string;
  readonly kind: string;
  readonly needsApi: boolean;
  run(lab: Lab): Promise<Outcome>;
  sabotage(lab: Lab): Promise<Fault>;
}

/** Reads the checks of a scenario. Throws WEFT_SCENARIO with line and field. */
export function prepareChecks(scenario: Scenario): Check[] {
  return scenario.checks.map(({ name, kind: kindName, reader }) => {
    const kind = CHECK_KINDS.find((candidate) => candidate.kind === kindName);
    if (!kind) {
      const kinds = CHECK_KINDS.map((candidate) => candidate.kind).join(', ');
      return reader.openMap().get('kind').fail(`"${kindName}" is not a kind of check; the kinds are: ${kinds}`);
    }
    const fields = kind.read(new CheckFields(reader.map(['name', 'kind', ...kind.fields]), scenario));
    return {
      name,
      kind: kindName,
      needsApi: kind.needsApi ?? false,
      run: (lab) => kind.run(new CheckContext(lab, name), fields),
      sabotage: async (lab) => kind.sabotage(new CheckContext(lab, name), fields),
    };
  });
}
