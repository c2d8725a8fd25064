/**
 * Replicate lists in the datapath, shared by all flows with the same members. A list without flows lives one more
 * collection, so that no program can still be on its way to it when it goes.
 */
import type { Datapath, ListSpec } from '@weft/datapath';

interface Entry {
  readonly id: number;
  readonly name: string;
  readonly spec: ListSpec;
  references: number;
  idle: boolean;
}

export class ReplicateLists {
  private readonly datapath: Datapath;
  private readonly byName = new Map<string, Entry>();
  private readonly byId = new Map<number, Entry>();
  private nextId = 1;

  constructor(datapath: Datapath) {
    this.datapath = datapath;
    for (const spec of datapath.adopted().lists) {
      const name = nameOf(spec.ports, spec.remotes);
      const entry = { id: spec.id, name, spec, references: 0, idle: false };
      if (!this.byName.has(name)) this.byName.set(name, entry);
      this.byId.set(spec.id, entry);
      this.nextId = Math.max(this.nextId, spec.id + 1);
    }
  }

  /** Number of the list with these members; made if there is none. Not referenced yet. */
  intern(ports: readonly number[], remotes: ListSpec['remotes']): number {
    const name = nameOf(ports, remotes);
    const known = this.byName.get(name);
    if (known) {
      known.idle = false;
      return known.id;
    }
    const spec = { id: this.nextId++, ports: [...ports], remotes: [...remotes] };
    this.datapath.setList(spec);
    const entry = { id: spec.id, name, spec, references: 0, idle: false };
    this.byName.set(name, entry);
    this.byId.set(spec.id, entry);
    return spec.id;
  }

  get(id: number): ListSpec | undefined {
    return this.byId.get(id)?.spec;
  }

  reference(id: number): void {
    const entry = this.byId.get(id);
    if (entry) entry.references++;
  }

  release(id: number): void {
    const entry = this.byId.get(id);
    if (entry) entry.references--;
  }

  /** Deletes lists that had no flow at this and the previous call. */
  collect(): void {
    for (const entry of this.byId.values()) {
      if (entry.references > 0) entry.idle = false;
      else if (!entry.idle) entry.idle = true;
      else {
        this.datapath.deleteList(entry.id);
        this.byId.delete(entry.id);
        if (this.byName.get(entry.name) === entry) this.byName.delete(entry.name);
      }
    }
  }
}

function nameOf(ports: readonly number[], remotes: ListSpec['remotes']): string {
  const p = [...ports].sort((a, b) => a - b);
  const r = remotes.map(({ peer, key }) => `${peer}:${key}`).sort();
  return `${p.join()}|${r.join()}`;
}
