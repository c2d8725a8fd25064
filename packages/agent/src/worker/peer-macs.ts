/**
 * MAC addresses of the devices at the other end of bound veths. Only a frame to exactly this MAC may take the short cut into
 * the other namespace (`redirect_peer` makes the receiver believe that any frame is for it).
 */
import { NetlinkSocket, vethPeer } from '@weft/sys';
import type { UnderlayView } from './underlay.ts';

/** MACs of the devices behind bound interfaces. */
export interface PeerMacView {
  get(ifindex: number): string;
  refresh(): boolean;
  close(): void;
}

export class PeerMacs implements PeerMacView {
  private readonly netlink = new NetlinkSocket();
  private readonly underlay: UnderlayView;
  private readonly macs = new Map<number, string>();

  constructor(underlay: UnderlayView) {
    this.underlay = underlay;
  }

  /** MAC of the veth peer in another namespace; '' if there is none or it is unknown. Asked once, then from memory until `refresh`. */
  get(ifindex: number): string {
    let mac = this.macs.get(ifindex);
    if (mac === undefined) this.macs.set(ifindex, (mac = this.ask(ifindex)));
    return mac;
  }

  /** Asks again about all known interfaces: nobody tells us when a guest changes its MAC. @returns true if one changed. */
  refresh(): boolean {
    let changed = false;
    for (const [ifindex, before] of this.macs) {
      if (!this.underlay.link(ifindex)) {
        this.macs.delete(ifindex);
        continue;
      }
      const mac = this.ask(ifindex);
      if (mac === before) continue;
      this.macs.set(ifindex, mac);
      changed = true;
    }
    return changed;
  }

  private ask(ifindex: number): string {
    const link = this.underlay.link(ifindex);
    if (!link || link.linkNetnsid < 0) return '';
    return vethPeer(this.netlink, link)?.mac ?? '';
  }

  close(): void {
    this.netlink.close();
  }
}
