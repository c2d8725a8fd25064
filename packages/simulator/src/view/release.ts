/** Which cached content nothing needs any more. */
import { TAG_BRIDGE, TAG_CHAIN, TAG_PORT, TAG_ROUTER, tag } from '@weft/flow';
import { groupsOf } from './audience.ts';
import { parseInterest } from './raw.ts';
import { KIND_BRIDGE, KIND_ROUTER, type VirtualTopology } from './topology.ts';

/** Whether a simulation consulted a thing at or after `olderThan`, or a flow holds its own tag. @param kind TAG_… */
export function isInUse(
  view: VirtualTopology,
  handle: number,
  kind: number,
  olderThan: number,
  hasFlows: (tag: number) => boolean,
): boolean {
  return (view.used[handle] ?? -Infinity) >= olderThan || hasFlows(tag(kind, handle));
}

/**
 * Interests of what no simulation consulted since `olderThan` and no flow holds the own tag of. What a living device is
 * compiled from lives with it: a bridge keeps its ports and their peers, a router its routes and next-hop ports.
 */
export function unusedInterests(
  view: VirtualTopology,
  olderThan: number,
  hasFlows: (tag: number) => boolean,
): string[] {
  const alive = new Map<number, boolean>();
  const lives = (handle: number, kind: number): boolean => {
    let known = alive.get(handle);
    if (known === undefined) {
      known = isInUse(view, handle, kind, olderThan, hasFlows);
      alive.set(handle, known);
    }
    return known;
  };
  const device = (handle: number): boolean => {
    const kind = view.requested.get(handle);
    if (kind === undefined) return false;
    return lives(handle, kind === KIND_BRIDGE ? TAG_BRIDGE : kind === KIND_ROUTER ? TAG_ROUTER : TAG_CHAIN);
  };
  const port = (handle: number): boolean => {
    const compiled = view.ports[handle];
    if (lives(handle, TAG_PORT)) return true;
    if (compiled === undefined) return false;
    const peer = view.ports[compiled.peer];
    return device(compiled.device) || (peer !== undefined && device(peer.device));
  };
  // A group lives as long as some port of its members does; its other members live with it.
  const groups = new Set<string>();
  for (const interest of view.interests()) {
    if (!interest.startsWith('o/Port/') || !port(view.handles.of(interest.slice('o/Port/'.length)))) continue;
    for (const group of groupsOf(view.raw.objects.get(interest))) groups.add(group);
  }
  const ownerOf = (interest: string, field: string): boolean => {
    const id = view.raw.objects.get(interest)?.[field];
    return typeof id === 'string' && device(view.handles.of(id));
  };
  return view.interests().filter((interest) => {
    const parts = parseInterest(interest);
    if (parts === null) return false;
    const handle = view.handles.of(parts.id);
    if (interest.startsWith('o/PortGroup/') || interest.startsWith('i/Port.portGroupIds/'))
      return !groups.has(parts.id);
    if (interest.startsWith('o/Port/') && groupsOf(view.raw.objects.get(interest)).some((group) => groups.has(group))) {
      return false;
    }
    if (interest.startsWith('o/Port/') || interest.startsWith('t/active/')) return !port(handle);
    if (interest.startsWith('o/Route/')) return !ownerOf(interest, 'routerId');
    if (parts.kind === 'o' && (parts.name === 'Rule' || parts.name === 'RuleLogger'))
      return !ownerOf(interest, 'chainId');
    if (interest.startsWith('t/addresses/') || interest.startsWith('o/LoggingResource/')) {
      return !view.chainsNaming(interest).some(device);
    }
    return !device(handle);
  });
}
