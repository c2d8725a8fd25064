/**
 * Connections for tests: the real table and the real pools of ports, on a host of its own. Blocks of ports come when `grant` says
 * so; `commit` does the agent's part after a simulation.
 */
import {
  addressToWords,
  BLOCK_PORTS,
  ConnectionRecord,
  FLAG_KEEP,
  FlowStateTable,
  NAT_NO_BLOCK,
  R_RULE,
  RECORD_WORDS,
  SnatPool,
} from '@weft/flowstate';
import type { Simulation, StateView } from '../contract.ts';
import type { Handles } from '../view/handles.ts';
import type { NatTarget } from '../view/nat.ts';

/** What was granted of a target. */
interface Grant {
  readonly device: number;
  readonly target: NatTarget;
  readonly blocks: readonly number[];
}

const words = new Int32Array(4);

/** 16 bytes of a UUID. */
export function uuidBytes(id: string): Uint8Array {
  return Uint8Array.from(Buffer.from(id.replaceAll('-', ''), 'hex'));
}

export class TestState implements StateView {
  readonly table: FlowStateTable;
  /** First block of ports that this host takes of each address; hosts of one test take different ones. */
  private readonly firstBlock: number;
  private readonly handles: Handles;
  private readonly grants = new Map<string, Grant>();
  now = 1_000;

  constructor(handles: Handles, host = 1, capacity = 4096) {
    this.handles = handles;
    this.firstBlock = 16 + host * 16;
    this.table = new FlowStateTable({
      self: new Uint8Array(16).fill(host),
      incarnation: 1,
      capacity,
      now: this.now,
      uuids: 4096,
      blocks: 256,
      seed: [host, 7],
    });
  }

  number(handle: number): number {
    if (handle === 0) return 0;
    const n = this.table.uuids.intern(uuidBytes(this.handles.id(handle)));
    this.table.uuids.retain(n);
    return n;
  }

  /** As long as nothing is inserted the same packet gets the same port. */
  chooseSource(device: number, target: NatTarget, record: ConnectionRecord): number {
    const grant = this.grants.get(`${device}/${target.key}`);
    if (grant === undefined) return NAT_NO_BLOCK;
    const pool = new SnatPool(this.table, { device, ...target }, 1);
    addressToWords(target.from, 0, words, 0);
    for (const block of grant.blocks) pool.add(words, 0, block, 1);
    return pool.choose(record);
  }

  keeps(filter: number): boolean {
    const { table } = this;
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      if (!table.isVisible(record) || (table.flags(record) & FLAG_KEEP) === 0) continue;
      if (table.words[record * RECORD_WORDS + R_RULE] === filter) return true;
    }
    return false;
  }

  sourceNeed(device: number, target: NatTarget): string {
    const name = `${device}/${target.key}`;
    this.wanted.set(name, { device, target });
    return name;
  }
  private readonly wanted = new Map<string, { device: number; target: NatTarget }>();

  /** Gives `blocks` blocks of ports for what a simulation waited for. */
  grant(needs: readonly string[], blocks = 1): void {
    for (const need of needs) {
      const { device, target } = this.wanted.get(need)!;
      const first = Math.max(this.firstBlock, Math.floor(target.portFrom / BLOCK_PORTS));
      this.grants.set(need, { device, target, blocks: Array.from({ length: blocks }, (_, b) => first + b) });
    }
  }

  /** Inserts what a simulation created. @returns the records, or the first refusal */
  commit(out: Simulation): number[] {
    const made: number[] = [];
    for (let i = 0; i < out.createdCount; i++) {
      const record = out.created[i];
      record.rule = this.number(out.createdRules[i]);
      made.push(this.table.insert(record, this.now, 0));
    }
    return made;
  }

  /** Another host is told of a record of this one. */
  tell(record: number, other: TestState): number {
    const copy = this.table.read(record, this.now, new ConnectionRecord());
    const named = (n: number) => {
      const bytes = new Uint8Array(16);
      this.table.uuids.write(n, bytes);
      return other.table.uuids.intern(bytes);
    };
    const device = named(copy.words[0] & 0xfffff);
    copy.words[0] = (copy.words[0] & ~0xfffff) | device;
    copy.owner = named(copy.owner);
    copy.rule = named(copy.rule);
    copy.ingress = named(copy.ingress);
    copy.egress = named(copy.egress);
    return other.table.apply(copy, other.now);
  }
}
