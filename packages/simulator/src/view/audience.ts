/**
 * Who may see the connections of a port: its own host, and the hosts of all ports in its stateful groups, because return
 * traffic may come by any of them; of a port that is about to move also the host that it moves to.
 */
import type { Handles } from './handles.ts';
import type { Raw } from './raw.ts';

interface Sources {
  readonly raw: Raw;
  readonly handles: Handles;
}

export class Audiences {
  private readonly sources: Sources;
  /** By port handle. */
  private readonly known = new Map<number, readonly number[]>();

  constructor(sources: Sources) {
    this.sources = sources;
  }

  /** Something that an answer stood on may have changed. */
  forget(): void {
    this.known.clear();
  }

  /** Handles of the hosts, in no order; undefined: what is missing is appended to `needs`. */
  of(port: number, needs: string[]): readonly number[] | undefined {
    const known = this.known.get(port);
    if (known !== undefined) return known;
    const { raw, handles } = this.sources;
    const missing = needs.length;
    const need = (interest: string): boolean => {
      if (raw.has(interest)) return true;
      if (!needs.includes(interest)) needs.push(interest);
      return false;
    };
    const hosts = new Set<number>();
    const add = (value: Record<string, unknown> | null | undefined): void => {
      if (typeof value?.hostId === 'string') hosts.add(handles.of(value.hostId));
      if (typeof value?.nextHostId === 'string') hosts.add(handles.of(value.nextHostId));
    };
    const own = `o/Port/${handles.id(port)}`;
    if (!need(own)) return undefined;
    add(raw.objects.get(own));
    for (const group of groupsOf(raw.objects.get(own))) {
      if (!need(`o/PortGroup/${group}`) || raw.objects.get(`o/PortGroup/${group}`)?.stateful !== true) continue;
      const index = `i/Port.portGroupIds/${group}`;
      if (!need(index)) continue;
      for (const member of raw.indexes.get(index) ?? []) {
        if (need(`o/Port/${member}`)) add(raw.objects.get(`o/Port/${member}`));
      }
    }
    if (needs.length > missing) return undefined;
    const answer = [...hosts];
    this.known.set(port, answer);
    return answer;
  }
}

/** Ids of the groups that a port is in. */
export function groupsOf(value: Record<string, unknown> | null | undefined): readonly string[] {
  return Array.isArray(value?.portGroupIds) ? (value.portGroupIds as string[]) : [];
}
