import { FlowStateError } from './errors.ts';
import type { UuidTable } from './uuid-table.ts';

/** Most different sets of hosts at a time. */
const MAX_AUDIENCES = 65_535;

/**
 * Sets of hosts that are told of a record: those of its ports and of the members of their stateful port groups. Few
 * different ones exist, so a record holds a number; 0 is nobody. Not per packet: ask once per pair of ports and keep the number.
 */
export class AudienceTable {
  private readonly hosts: (readonly number[])[] = [[]];
  private readonly references: number[] = [0];
  private readonly byMembers = new Map<string, number>();
  private readonly free: number[] = [];
  private readonly uuids: UuidTable;

  constructor(uuids: UuidTable) {
    this.uuids = uuids;
  }

  /** Number of a set of hosts (numbers of the UuidTable; order and repetition do not count). @throws FlowStateError when full */
  of(members: Iterable<number>): number {
    const list = [...new Set(members)].filter((host) => host !== 0).sort((a, b) => a - b);
    if (list.length === 0) return 0;
    const name = list.join();
    const found = this.byMembers.get(name);
    if (found !== undefined) return found;
    const id = this.free.pop() ?? this.hosts.length;
    if (id > MAX_AUDIENCES) {
      throw new FlowStateError('WEFT_FLOWSTATE_CONFIG', `More than ${MAX_AUDIENCES} different sets of hosts.`);
    }
    for (const host of list) this.uuids.retain(host);
    this.hosts[id] = list;
    this.references[id] = 0;
    this.byMembers.set(name, id);
    return id;
  }

  /** The hosts of a set, in ascending order of their numbers. */
  members(id: number): readonly number[] {
    return this.hosts[id];
  }

  retain(id: number): void {
    this.references[id]++;
  }

  release(id: number): void {
    this.references[id]--;
  }

  /** Forgets the sets that no record has. Numbers that the caller kept are void then. Returns how many. */
  reclaim(): number {
    let given = 0;
    for (const [name, id] of this.byMembers) {
      if (this.references[id] > 0) continue;
      for (const host of this.hosts[id]) this.uuids.release(host);
      this.hosts[id] = [];
      this.byMembers.delete(name);
      this.free.push(id);
      given++;
    }
    return given;
  }
}
