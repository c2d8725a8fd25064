/**
 * Which other hosts are there: heard by their authenticated datagrams, five times a second, or by the answers of their kernels, which are
 * asked as soon as a host falls silent. Routes by ports of a host that neither says anything are taken only when nothing else is left.
 */
import { ipEquals, ipFormat } from '@weft/packet';
import type { Effects } from './effects.ts';
import type { Pinger } from './pinger.ts';
import type { Tunnels } from './tunnels.ts';

/** A peer hears something at least this often. */
export const HEARTBEAT_MS = 200;
/** After so long a silence its kernel is asked, and so often. */
const SILENT_MS = 300;
const PING_MS = 100;
/** After so long a silence of both it counts as gone. */
const LOST_MS = 700;

interface Peer {
  /** Endpoint of its tunnel. */
  remote: Uint8Array;
  /** Its kernel has answered at this time. */
  answered: number;
  nextPing: number;
  lost: boolean;
}

export class Liveness {
  private readonly peers = new Map<string, Peer>();
  private readonly byAddress = new Map<string, string>();
  private readonly tunnels: Pick<Tunnels, 'list'>;
  private readonly pinger: Pinger;
  private readonly effects: Pick<Effects, 'log'>;
  private readonly lastHeard: (hostId: string) => number;
  private readonly mark: (hostId: string, lost: boolean) => void;

  /**
   * @param lastHeard when a datagram of the host came last, on the clock of `tick`; -Infinity: never
   * @param mark the host is lost, or is there again
   */
  constructor(
    tunnels: Pick<Tunnels, 'list'>,
    pinger: Pinger,
    effects: Pick<Effects, 'log'>,
    lastHeard: (hostId: string) => number,
    mark: (hostId: string, lost: boolean) => void,
  ) {
    this.tunnels = tunnels;
    this.pinger = pinger;
    this.effects = effects;
    this.lastHeard = lastHeard;
    this.mark = mark;
  }

  /** Hosts that count as gone. */
  get lost(): number {
    let n = 0;
    for (const { lost } of this.peers.values()) if (lost) n++;
    return n;
  }

  /** Whether a host counts as gone. */
  isLost(hostId: string): boolean {
    return this.peers.get(hostId)?.lost ?? true;
  }

  /** About every 50 ms. */
  tick(now: number): void {
    this.pinger.poll((address) => {
      const peer = this.peers.get(this.byAddress.get(address) ?? '');
      if (peer !== undefined) peer.answered = now;
    });
    const present = new Set<string>();
    for (const tunnel of this.tunnels.list()) {
      const { hostId } = tunnel;
      present.add(hostId);
      const peer = this.peerOf(hostId, tunnel.remote);
      const silence = now - Math.max(peer.answered, this.lastHeard(hostId));
      if (silence > SILENT_MS && now >= peer.nextPing) {
        peer.nextPing = now + PING_MS;
        this.pinger.ping(tunnel);
      }
      // Of a host that was never heard nothing is known.
      this.set(hostId, peer, silence > LOST_MS && silence !== Number.POSITIVE_INFINITY);
    }
    for (const [hostId, peer] of this.peers) {
      if (present.has(hostId)) continue;
      this.set(hostId, peer, false);
      this.peers.delete(hostId);
      this.forget(hostId, peer);
    }
  }

  private peerOf(hostId: string, remote: Uint8Array): Peer {
    let peer = this.peers.get(hostId);
    if (peer !== undefined && ipEquals(peer.remote, 0, remote, 0)) return peer;
    if (peer === undefined) {
      this.peers.set(hostId, (peer = { remote, answered: Number.NEGATIVE_INFINITY, nextPing: 0, lost: false }));
    } else {
      this.forget(hostId, peer);
      peer.remote = remote;
    }
    this.byAddress.set(ipFormat(remote), hostId);
    return peer;
  }

  /** Answers from a peer's address are not its own any more, but perhaps another one's. */
  private forget(hostId: string, { remote }: Peer): void {
    const address = ipFormat(remote);
    if (this.byAddress.get(address) === hostId) this.byAddress.delete(address);
  }

  private set(hostId: string, peer: Peer, lost: boolean): void {
    if (peer.lost === lost) return;
    peer.lost = lost;
    this.effects.log(lost ? 'peer.lost' : 'peer.found', { host: hostId });
    this.mark(hostId, lost);
  }
}
