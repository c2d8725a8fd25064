/** The connections that this host knows, in words, filtered; and the end of those that are meant. */
import { ConnectionRecord, R_EGRESS, R_INGRESS, RECORD_WORDS } from '@weft/flowstate';
import type { Ref } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import { ConnectionFilter, type ConnectionQuery } from './connection-filter.ts';
import type { ConnectionInWords, ConnectionKind, ConnectionWords, HostRef } from './connection-words.ts';

/** Packets wait while the table is walked: for this long at most, ms. */
const WALK_MS = 100;
/** Records between two looks at the clock. */
const LOOK = 1_024;

/** One connection. Times in ms. */
export interface ConnectionDump extends ConnectionInWords {
  readonly state: string;
  /** The host that decided it last, and those that it tells. */
  readonly owner: HostRef;
  readonly told: readonly HostRef[];
  /** The ports by which its first packet entered and left the virtual network; null: none, or several. */
  readonly ingress: Ref | null;
  readonly egress: Ref | null;
  readonly ageMs: number;
  readonly idleMs: number;
  /** Until it ends, if nothing more is seen of it. */
  readonly endsInMs: number;
  /** Installed flows of this host that belong to it. */
  readonly flows: number;
}

export interface ConnectionList {
  readonly connections: readonly ConnectionDump[];
  /** Connections that this host knows, and those of them that the query means. */
  readonly total: number;
  readonly matching: number;
  /** False: there was no time to look at all of them; `matching` counts those that were looked at. */
  readonly complete: boolean;
}

/** What was ended of what was meant. */
export interface CutConnections extends Pick<ConnectionList, 'matching' | 'complete'> {
  readonly cut: number;
}

/** A connection that a flow belongs to. */
export interface FlowState {
  readonly device: Ref;
  readonly kind: ConnectionKind;
  readonly direction: 'forward' | 'return';
  readonly state: string;
  readonly text: string;
  readonly translation: string;
}

/** @param clock for the time that the walk may take @throws AgentError WEFT_AGENT_CONTROL for a query that is not understood */
export function listConnections(
  core: Core,
  words: ConnectionWords,
  query: ConnectionQuery,
  now: number,
  clock: () => number,
): ConnectionList {
  const { table } = core.connections;
  const found: number[] = [];
  const { matching, complete } = walk(core, words, query, clock, (record) => {
    if (found.length < query.limit) found.push(record);
  });
  const flows = flowsOf(core, found);
  const scratch = new ConnectionRecord();
  const at = core.connections.stateNow(now);
  const connections = found.map((record) => dump(core, words, record, at, flows.get(record) ?? 0, scratch));
  return { connections, total: table.size - table.tombstones, matching, complete };
}

/**
 * Ends the connections that are meant, on all hosts that know them. Their packets are decided anew: where the rules let them through
 * another connection begins.
 * @throws AgentError WEFT_AGENT_CONTROL
 */
export function cutConnections(
  core: Core,
  words: ConnectionWords,
  query: ConnectionQuery,
  now: number,
  clock: () => number,
): CutConnections {
  const found: number[] = [];
  const { matching, complete } = walk(core, words, query, clock, (record) => {
    if (found.length < query.limit) found.push(record);
  });
  for (const record of found) core.connections.cut(record, now);
  return { cut: found.length, matching, complete };
}

/** Calls `visit` for each live connection that is meant, in the order of the table. */
function walk(
  core: Core,
  words: ConnectionWords,
  query: ConnectionQuery,
  clock: () => number,
  visit: (record: number) => void,
): { matching: number; complete: boolean } {
  const { table } = core.connections;
  const filter = new ConnectionFilter(core, words, query);
  const until = clock() + WALK_MS;
  let matching = 0;
  let seen = 0;
  for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
    if (++seen % LOOK === 0 && clock() > until) return { matching, complete: false };
    if (!table.isVisible(record) || !filter.matches(record)) continue;
    matching++;
    visit(record);
  }
  return { matching, complete: true };
}

/** Installed flows per record, for these records. */
function flowsOf({ connections, installer }: Core, records: readonly number[]): Map<number, number> {
  const counts = new Map(records.map((record) => [record, 0]));
  if (records.length === 0) return counts;
  const { flows, table } = connections;
  installer.table.forEach((slot) => {
    for (let n = flows.first(slot); n >= 0; n = flows.following(n)) {
      const record = flows.entry(n) >>> 1;
      const count = counts.get(record);
      if (count !== undefined && table.generation(record) === flows.generation(n)) counts.set(record, count + 1);
    }
  });
  return counts;
}

/** @param at time of the table */
function dump(
  core: Core,
  words: ConnectionWords,
  record: number,
  at: number,
  flows: number,
  scratch: ConnectionRecord,
): ConnectionDump {
  const { table } = core.connections;
  const base = record * RECORD_WORDS;
  const read = table.read(record, at, scratch);
  const port = (n: number): Ref | null => (n === 0 ? null : words.ref(n));
  return {
    ...words.connection(read),
    state: words.state(read),
    owner: words.host(read.owner),
    told: words.told(record),
    ingress: port(table.words[base + R_INGRESS]),
    egress: port(table.words[base + R_EGRESS]),
    ageMs: Math.round(read.age),
    idleMs: Math.round(Math.max(0, at - table.lastSeen(record))),
    endsInMs: Math.round(read.remaining),
    flows,
  };
}

/** The connections that an installed flow belongs to. */
export function statesOf(core: Core, words: ConnectionWords, slot: number, now: number): FlowState[] {
  const { flows, table } = core.connections;
  const at = core.connections.stateNow(now);
  const states: FlowState[] = [];
  const scratch = new ConnectionRecord();
  for (let n = flows.first(slot); n >= 0; n = flows.following(n)) {
    const entry = flows.entry(n);
    const record = entry >>> 1;
    if (table.generation(record) !== flows.generation(n) || !table.isVisible(record)) continue;
    const read = table.read(record, at, scratch);
    const { device, kind, text, translation } = words.connection(read);
    states.push({
      device,
      kind,
      direction: (entry & 1) === 0 ? 'forward' : 'return',
      state: words.state(read),
      text,
      translation,
    });
  }
  return states;
}
