/** The agent and the store: do they run, keep up, and have room? */

import { type Check, fail, ok, orOk, type Result, skip, warn } from './finding.ts';
import type { AgentStatus, Surroundings } from './surroundings.ts';

const FULL = 0.9;

const AGENT_AWAY = 'the agent does not answer';
const STORE_AWAY = 'the store does not answer';

export const agentRuns: Check<Surroundings> = {
  id: 'agent',
  asks: 'Does the agent run and answer?',
  why: 'Without it known flows go on, but no new flow is decided, and no change is followed.',
  run({ agent, agentError, config }) {
    if (agent) return [ok(`answers, process ${agent.pid}${agent.version ? `, version ${agent.version}` : ''}`)];
    return [fail(config.controlSocket, agentError, 'weft agent --config FILE; its log says why it ended')];
  },
};

export const revision: Check<Surroundings> = {
  id: 'revision',
  asks: 'Does this host keep up with changes?',
  why: 'Until a revision is applied, packets here may follow older decisions: a revoked rule still lets them pass.',
  run({ agent, agentLater, store }) {
    if (!agent || !agentLater) return [skip(AGENT_AWAY)];
    if (!store) return [skip(STORE_AWAY)];
    const before = store.revision - agent.applied;
    const now = store.revision - agentLater.applied;
    const seen = `applied ${agentLater.applied} of ${store.revision}`;
    if (now <= 0) return [ok(seen)];
    if (agentLater.applied > agent.applied) return [ok(`${seen}, catching up (was ${before} behind)`)];
    return [
      warn(
        '',
        `${seen}, and stands still`,
        'GET /status of the agent: revalidationPending, unverified, ready; its log',
      ),
    ];
  },
};

export const hosts: Check<Surroundings> = {
  id: 'hosts',
  asks: 'Are all hosts connected and up to date?',
  why: 'A host that is away follows no change; freed tunnel keys cannot be given again until it has.',
  run({ store, hostId }) {
    if (!store) return [skip(STORE_AWAY)];
    const others = store.convergence.filter((host) => host.hostId !== hostId);
    const results = others
      .filter((host) => !host.reachable)
      .map((host) =>
        warn(
          store.hostNames.get(host.hostId) ?? host.hostId,
          `is not connected to the store${sinceText(host.unknownFor)}`,
          'run `weft doctor` there; delete hosts that are gone',
        ),
      );
    return orOk(results, `${others.length} others, all connected`);
  },
};

export const versions: Check<Surroundings> = {
  id: 'versions',
  asks: 'Do all agents run the same version?',
  why: 'Versions side by side are for the time of an upgrade only.',
  run({ store, hostId }) {
    if (!store) return [skip(STORE_AWAY)];
    const own = hostId === null ? undefined : store.versions.get(hostId);
    if (own === undefined) return [skip('this host’s agent has not told its version')];
    const results: Result[] = [];
    for (const [id, version] of store.versions) {
      if (version === own) continue;
      results.push(warn(store.hostNames.get(id) ?? id, `runs ${version}, this host ${own}`, 'finish the upgrade'));
    }
    return orOk(results, `${store.versions.size} agents run ${own}`);
  },
};

/** Results for drop reasons that grew between the two looks; those that only stood there are told. */
function growing(s: Surroundings, reasons: Readonly<Record<string, string>>, good: string): Result[] {
  const { agent, agentLater } = s;
  if (!agent || !agentLater) return [skip(AGENT_AWAY)];
  const results: Result[] = [];
  const before: string[] = [];
  for (const [reason, fix] of Object.entries(reasons)) {
    const now = agentLater.drops[reason] ?? 0;
    const grown = now - (agent.drops[reason] ?? 0);
    if (grown > 0) results.push(warn(reason, `${grown} packets at this moment, ${now} in all`, fix));
    else if (now > 0) before.push(`${reason} ${now}`);
  }
  return orOk(results, before.length > 0 ? `not now; since the agent’s start ${before.join(', ')}` : good);
}

export const flowTable: Check<Surroundings> = {
  id: 'flow-table',
  asks: 'Has the flow table room?',
  why: 'A full table installs nothing: every packet of further flows goes through the agent.',
  run({ agent, agentLater }) {
    if (!agent || !agentLater) return [skip(AGENT_AWAY)];
    const { flows, flowsMax } = agentLater;
    const seen = `${flows} of ${flowsMax} flows`;
    if (agentLater.flowsRefused > agent.flowsRefused) {
      return [
        fail(
          '',
          `${seen}; ${agentLater.flowsRefused - agent.flowsRefused} refused at this moment`,
          'raise limits.maxFlows',
        ),
      ];
    }
    if (flows >= flowsMax * FULL || agentLater.evicted > agent.evicted) {
      return [
        warn('', `${seen}, the longest idle are being evicted`, 'raise limits.maxFlows, or lower limits.flowIdleMs'),
      ];
    }
    return [ok(seen)];
  },
};

export const upcalls: Check<Surroundings> = {
  id: 'upcalls',
  asks: 'Do all first packets reach the agent?',
  why: 'A port beyond its budget, or an agent that cannot follow, loses first packets: connections open late or not at all.',
  run: (s) =>
    growing(
      s,
      {
        upcall_budget: 'a port sends more new flows than its budget: find it (weft flows), or raise limits.upcallRate',
        ring_full: 'the agent does not keep up: look at its CPU',
        bum_budget: 'a port floods beyond its budget: find it, or the loop behind it',
      },
      'none lost',
    ),
};

export const waitingRoom: Check<Surroundings> = {
  id: 'waiting-room',
  asks: 'Do packets that wait for data get it?',
  why: 'Packets wait for topology and neighbours; what finds no room or waits too long is dropped.',
  run: (s) =>
    growing(
      s,
      {
        waiting_room_full: 'raise limits.maxWaiting and maxWaitingPerPort, or find what is not answered',
        waiting_room_expired: 'what the packets wait for does not come: is the store there, do neighbours answer?',
      },
      `${s.agentLater?.waiting ?? 0} wait, none lost`,
    ),
};

export const caps: Check<Surroundings> = {
  id: 'caps',
  asks: 'Does a port hit a cap?',
  why: 'Caps keep one port from taking what all need; a port that hits one is an attacker, or needs a larger one.',
  run: (s) =>
    growing(
      s,
      {
        cap_macs: 'a port shows more MAC addresses than limits.maxMacsPerPort',
        cap_flows: 'a port makes more flows than limits.maxFlowsPerPort',
        cap_neighbours: 'a port makes more neighbours known, or asked for, than limits.maxNeighboursPerPort',
      },
      'none hit',
    ),
};

export const tunnelArrivals: Check<Surroundings> = {
  id: 'tunnel-arrivals',
  asks: 'Are tunnel packets refused on arrival?',
  why: 'Packets that are no tunnel’s of a known peer are dropped: an unknown sender, a fragmenting router, another version.',
  run: (s) =>
    growing(
      s,
      {
        outer_unknown_peer: 'somebody who is in no tunnel zone sends tunnel packets here: find out who (tcpdump)',
        outer_unknown_key: 'a host sends to a port that is not here (any more): compare revisions (weft store status)',
        outer_fragment: 'a router on the way fragments tunnel packets: raise its MTU',
        outer_flags: 'somebody else’s VXLAN or GRE uses these addresses: give Weft a port or addresses of its own',
        outer_length: 'something on the way damages tunnel packets',
        encap_failed: 'the kernel could not encapsulate: see docs/LIMITS.md',
        decap_failed: 'the kernel could not take off a tunnel header: see docs/LIMITS.md',
      },
      'none refused',
    ),
};

export const agentErrors: Check<Surroundings> = {
  id: 'agent-errors',
  asks: 'Has the agent met errors?',
  why: 'Each is a packet or a flow on which the agent failed: a fault of Weft, or of the kernel under it.',
  run({ agent }) {
    if (!agent) return [skip(AGENT_AWAY)];
    const n = (status: AgentStatus) => status.errors;
    return [
      n(agent) > 0
        ? warn('', `${n(agent)} since its start`, 'the agent’s log has each (packet.failed): report them')
        : ok('none'),
    ];
  },
};

function sinceText(unknownFor: number | null | undefined): string {
  return typeof unknownFor === 'number' ? `, for ${Math.round(unknownFor / 1_000)} s now` : '';
}
