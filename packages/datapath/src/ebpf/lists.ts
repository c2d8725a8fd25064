/** Floods and multi-port egress keys: one table element per member, and a replica (mark → peer, key) per remote copy. */
import { randomFillSync } from 'node:crypto';
import { KEY_FORWARDED } from '@weft/flow';
import type { BpfMap } from '@weft/sys';
import type { EgressSpec, ListSpec } from '../contract.ts';
import { DatapathError } from '../errors.ts';
import {
  decodeMember,
  encodeListKey,
  encodeMember,
  encodeReplica,
  LIST_EGRESS,
  LIST_FLOOD,
  LIST_HEAD,
  LIST_MAX,
  MARK_REPLICA,
  REPLICA_SLOTS,
  u32At,
  u32Key,
} from './layout.ts';

type Remote = { peer: number; key: number; mark: number };
type List = { ports: number[]; remotes: Remote[] };

const GENERATIONS = 1 << 13;

/** Hands out marks: slot in the lower 16 bits, a generation above, so that a frame in flight does not meet a successor. */
class Replicas {
  readonly #map: BpfMap;
  readonly #free: number[] = [];
  /** Starts anywhere: marks of a process before us may still be on their way. */
  readonly #generation = randomFillSync(new Uint16Array(REPLICA_SLOTS));
  #next = 0;

  constructor(map: BpfMap) {
    this.#map = map;
  }

  adopt(mark: number): void {
    const slot = mark & (REPLICA_SLOTS - 1);
    this.#generation[slot] = (mark >>> 16) & (GENERATIONS - 1);
    while (this.#next <= slot) if (this.#next++ < slot) this.#free.push(this.#next - 1);
    const at = this.#free.indexOf(slot);
    if (at >= 0) this.#free.splice(at, 1);
  }

  put(peer: number, key: number): number {
    const slot = this.#next < REPLICA_SLOTS ? this.#next++ : this.#free.shift();
    if (slot === undefined) {
      throw new DatapathError(
        'WEFT_DATAPATH_LISTS_FULL',
        `more than ${REPLICA_SLOTS} remote members of replicate lists`,
      );
    }
    this.#generation[slot] = (this.#generation[slot] + 1) % GENERATIONS;
    const mark = (MARK_REPLICA | (this.#generation[slot] << 16) | slot) >>> 0;
    this.#map.update(u32Key(slot), encodeReplica(mark, peer, key));
    return mark;
  }

  remove(mark: number): void {
    const slot = mark & (REPLICA_SLOTS - 1);
    this.#map.delete(u32Key(slot));
    this.#free.push(slot);
  }
}

export class Lists {
  readonly #members: BpfMap;
  readonly #replicas: Replicas;
  readonly #lists = [new Map<number, List>(), new Map<number, List>()];

  constructor(members: BpfMap, replicas: BpfMap) {
    this.#members = members;
    this.#replicas = new Replicas(replicas);
    const known = new Map<number, { peer: number; key: number }>();
    replicas.forEach((_, value) => {
      const mark = u32At(value, 0);
      known.set(mark, { peer: u32At(value, 4), key: u32At(value, 8) });
      this.#replicas.adopt(mark);
    });
    this.#adopt(members, known);
  }

  #adopt(members: BpfMap, known: ReadonlyMap<number, { peer: number; key: number }>): void {
    const found: ReturnType<typeof decodeMember>[] = [];
    members.forEach((key, value) => {
      found.push(decodeMember(key, value));
    });
    found.sort((a, b) => a.index - b.index);
    for (const m of found) {
      if (m.kind !== LIST_FLOOD && m.kind !== LIST_EGRESS) continue;
      const lists = this.#lists[m.kind];
      let list = lists.get(m.id);
      if (!list) lists.set(m.id, (list = { ports: [], remotes: [] }));
      if (m.index === LIST_HEAD) continue;
      const replica = known.get(m.target);
      if (!m.remote) list.ports.push(m.target);
      else if (replica) list.remotes.push({ ...replica, mark: m.target });
    }
  }

  /** Members are written before the count that shows them, and what is left over goes last: a reader sees old or new members. */
  #write(kind: number, id: number, ports: readonly number[], remotes: readonly { peer: number; key: number }[]): void {
    if (ports.length + remotes.length > LIST_MAX) {
      throw new DatapathError('WEFT_DATAPATH_LISTS_FULL', `list ${id} has more than ${LIST_MAX} members`);
    }
    const old = this.#lists[kind].get(id) ?? { ports: [], remotes: [] };
    const unused = [...old.remotes];
    const next: List = { ports: [...ports], remotes: [] };
    for (const { peer, key } of remotes) {
      const at = unused.findIndex((r) => r.peer === peer && r.key === key);
      const mark = at >= 0 ? unused.splice(at, 1)[0].mark : this.#replicas.put(peer, key);
      next.remotes.push({ peer, key, mark });
    }
    const targets = [...next.ports, ...next.remotes.map((r) => r.mark)];
    targets.forEach((target, i) => {
      this.#members.update(encodeListKey(kind, id, i), encodeMember(kind, id, i, target, i >= next.ports.length));
    });
    this.#members.update(encodeListKey(kind, id, LIST_HEAD), encodeMember(kind, id, LIST_HEAD, targets.length, false));
    for (let i = targets.length; i < old.ports.length + old.remotes.length; i++) {
      this.#members.delete(encodeListKey(kind, id, i));
    }
    for (const r of unused) this.#replicas.remove(r.mark);
    this.#lists[kind].set(id, next);
  }

  #remove(kind: number, id: number): void {
    const old = this.#lists[kind].get(id);
    if (!old) return;
    this.#members.delete(encodeListKey(kind, id, LIST_HEAD));
    for (let i = 0; i < old.ports.length + old.remotes.length; i++) this.#members.delete(encodeListKey(kind, id, i));
    for (const r of old.remotes) this.#replicas.remove(r.mark);
    this.#lists[kind].delete(id);
  }

  set(spec: ListSpec): void {
    this.#write(LIST_FLOOD, spec.id, spec.ports, spec.remotes);
  }

  delete(id: number): void {
    this.#remove(LIST_FLOOD, id);
  }

  setEgress(spec: EgressSpec): void {
    const remotes = (spec.remotes ?? []).map(({ peer, key }) => ({ peer, key: (key | KEY_FORWARDED) >>> 0 }));
    this.#write(LIST_EGRESS, spec.key, spec.ports, remotes);
  }

  deleteEgress(key: number): void {
    this.#remove(LIST_EGRESS, key);
  }

  egress(key: number): EgressSpec {
    const { ports = [], remotes = [] } = this.#lists[LIST_EGRESS].get(key) ?? {};
    if (remotes.length === 0) return { key, ports: [...ports] };
    return {
      key,
      ports: [...ports],
      remotes: remotes.map((r) => ({ peer: r.peer, key: (r.key & ~KEY_FORWARDED) >>> 0 })),
    };
  }

  adopted(): ListSpec[] {
    return [...this.#lists[LIST_FLOOD]].map(([id, list]) => ({
      id,
      ports: [...list.ports],
      remotes: list.remotes.map(({ peer, key }) => ({ peer, key })),
    }));
  }
}
