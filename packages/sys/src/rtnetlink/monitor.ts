/** Notifications of rtnetlink as typed events. */
import { type DrainResult, NetlinkSocket } from '../netlink.ts';
import type { NetlinkMessage } from '../netlink-message.ts';
import { type InterfaceAddress, parseAddress, RTM_DELADDR } from './address.ts';
import { type Link, parseLink, RTM_DELLINK } from './link.ts';
import { type Neighbour, parseNeighbour, RTM_DELNEIGH } from './neighbour.ts';
import { parseRoute, type Route, RTM_DELROUTE } from './route.ts';

/** Group numbers (RTNLGRP_*) by topic. */
const GROUPS = { link: [1], neighbour: [3], address: [5, 9], route: [7, 11] } as const;

export type MonitorTopic = keyof typeof GROUPS;

/** One change. `removed`: the object is gone; else it is new or different. */
export type RtEvent =
  | { topic: 'link'; removed: boolean; link: Link }
  | { topic: 'address'; removed: boolean; address: InterfaceAddress }
  | { topic: 'route'; removed: boolean; route: Route }
  | { topic: 'neighbour'; removed: boolean; neighbour: Neighbour };

/** Reads a notification; undefined when it is about something else. */
export function parseEvent(message: NetlinkMessage): RtEvent | undefined {
  const link = parseLink(message);
  if (link) return { topic: 'link', removed: message.type === RTM_DELLINK, link };
  const address = parseAddress(message);
  if (address) return { topic: 'address', removed: message.type === RTM_DELADDR, address };
  const route = parseRoute(message);
  if (route) return { topic: 'route', removed: message.type === RTM_DELROUTE, route };
  const neighbour = parseNeighbour(message);
  if (neighbour) return { topic: 'neighbour', removed: message.type === RTM_DELNEIGH, neighbour };
  return undefined;
}

/**
 * Listens to changes in the network namespace of the thread that makes it.
 * Order for a complete picture: make the monitor, list, then drain; and after `overrun` list again.
 * {@link fd} becomes readable when something waits: for `Epoll` in a worker, or `pollReadable` on a thread with an
 * event loop.
 */
export class RtMonitor {
  readonly #socket: NetlinkSocket;

  constructor(topics: readonly MonitorTopic[], options: { receiveBuffer?: number } = {}) {
    this.#socket = new NetlinkSocket({
      groups: topics.flatMap((t) => GROUPS[t]),
      receiveBuffer: options.receiveBuffer ?? 4 << 20,
    });
  }

  get fd(): number {
    return this.#socket.fd;
  }

  /** Hands over what waits, without blocking. `overrun`: events were lost, list everything again. */
  drain(handler: (event: RtEvent) => void, max?: number): DrainResult {
    return this.#socket.drain((message) => {
      const event = parseEvent(message);
      if (event) handler(event);
    }, max);
  }

  close(): void {
    this.#socket.close();
  }
}
