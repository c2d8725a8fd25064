/** How far a change has got, as the API says it. */
import type { Revision } from '@weft/nsdb';
import Type, { type Static } from 'typebox';
import type { HostStanding, Look } from './watch.ts';

/** Hosts that are named in an answer. */
const MOST_NAMED = 100;

const HostState = Type.Object({
  hostId: Type.String({ description: 'Empty for tenants' }),
  name: Type.String({ description: 'Empty for tenants' }),
  applied: Type.Union([Type.Integer(), Type.Null()], { description: 'Highest revision that the host reported' }),
  reachable: Type.Boolean(),
  unknownSince: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], {
    description: 'When a host that is not reachable was last known to be; null: it is, or it never was',
  }),
  unknownForMs: Type.Union([Type.Integer(), Type.Null()], { description: 'The same as milliseconds until now' }),
});

export const Convergence = Type.Object(
  {
    generation: Type.String({ description: 'Generation of the store; revisions compare within one only' }),
    revision: Type.Integer(),
    converged: Type.Boolean({ description: 'All registered hosts have applied it, unreachable ones included' }),
    hosts: Type.Integer({ description: 'Registered hosts' }),
    applied: Type.Integer({ description: 'Hosts on which no packet can still follow an older decision' }),
    reachable: Type.Integer(),
    slowest: Type.Union([HostState, Type.Null()], { description: 'The host furthest behind; null without hosts' }),
    behind: Type.Array(HostState, {
      maxItems: MOST_NAMED,
      description: `Hosts that have not applied it, at most ${MOST_NAMED}`,
    }),
    waitedMs: Type.Integer(),
  },
  { $id: 'Convergence', description: 'Where the hosts stand relative to a revision' },
);

type HostStateValue = Static<typeof HostState>;
export type Progress = Static<typeof Convergence>;

/** @param anonymous without saying which hosts there are: how many have followed is what a tenant may know */
export function progressOf(look: Look, revision: Revision, waitedMs: number, anonymous: boolean): Progress {
  const { hosts, generation } = look;
  const behind = hosts.filter((host) => !hasApplied(host, revision));
  const slowest = hosts.reduce<HostStanding | null>(
    (worst, host) => (worst === null || (host.applied ?? -1) < (worst.applied ?? -1) ? host : worst),
    null,
  );
  return {
    generation,
    revision,
    converged: behind.length === 0,
    hosts: hosts.length,
    applied: hosts.length - behind.length,
    reachable: hosts.filter((host) => host.reachable).length,
    slowest: slowest && stateOf(slowest, anonymous),
    behind: behind.slice(0, MOST_NAMED).map((host) => stateOf(host, anonymous)),
    waitedMs,
  };
}

export function isConverged({ hosts, error }: Look, revision: Revision): boolean {
  return error === undefined && hosts.every((host) => hasApplied(host, revision));
}

function hasApplied({ applied }: HostStanding, revision: Revision): boolean {
  return applied !== null && applied >= revision;
}

function stateOf({ hostId, name, applied, reachable, unknownFor }: HostStanding, anonymous: boolean): HostStateValue {
  const ms = unknownFor ?? null; // a store served by an older version does not say
  return {
    hostId: anonymous ? '' : hostId,
    name: anonymous ? '' : name,
    applied,
    reachable,
    unknownSince: ms === null ? null : new Date(Math.round((Date.now() - ms) / 1_000) * 1_000).toISOString(),
    unknownForMs: ms === null ? null : Math.round(ms),
  };
}
