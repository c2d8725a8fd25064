/** What the packet worker asks of the main thread, which talks to the state database and writes the log. */
import type { AgentEvent } from '../events.ts';
import type { RuleLogLine } from '../rule-log.ts';
import type { NatBlock } from './connections/nat-pools.ts';

export interface Effects {
  addInterests(interests: readonly string[]): void;
  removeInterests(interests: readonly string[]): void;
  /** Publishes a state-table entry owned by this host. */
  putEntry(table: string, key: string, value: string): void;
  removeEntry(table: string, key: string): void;
  /** Asks for blocks of NAT ports; `Engine.blocksGranted` is the answer. */
  allocateBlocks(pool: string, first: number, last: number, count: number): void;
  /** Asks for blocks that nobody holds any more and connections here stand on; `Engine.blocksKept` is the answer. */
  keepBlocks(blocks: readonly NatBlock[]): void;
  releaseBlocks(blocks: readonly NatBlock[]): void;
  /** Hands entries of connections over to the archive; false: not now. The bytes are the main thread's from then on. */
  archive(entries: Uint8Array<ArrayBuffer>): boolean;
  /** Asks the archive for the connections of a port; `Engine.restored` and `Engine.restoreEnded` are the answer. */
  readArchive(portId: string): void;
  /** Other hosts are alive: they were heard over the tunnels. Several times a second. */
  vouch(hostIds: readonly string[]): void;
  /** No packet of this host can follow a decision older than this revision any more. */
  applied(revision: number): void;
  /** Writes a line of the rule log. */
  ruleLog(line: RuleLogLine): void;
  /** Writes an event of the table in `events.ts`, at its level. */
  log(event: AgentEvent, fields?: Record<string, unknown>): void;
}
