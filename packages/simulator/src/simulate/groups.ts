/** Tests of group membership: of ports, and of the packet's addresses. What was not found leaves a tag too. */
import {
  addressTag,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_SRC,
  K_ETHER_TYPE,
  K_IP_SRC,
  readU16,
  TAG_GROUP,
  TAG_PORT_GROUPS,
  tag,
} from '@weft/flow';
import { MAX_TAGS } from '../contract.ts';
import { ANY_GROUP_TAG } from '../view/address-groups.ts';
import { ANY_PORT_GROUPS_TAG } from '../view/port.ts';
import type { Walk } from './walk.ts';

/** From here on one tag stands for all groups: a flow with too many tags could not be cached at all. */
const COARSE_FROM = MAX_TAGS / 2;

const UNKNOWN = 0;
const OUTSIDE = 1;
const INSIDE = 2;

/**
 * What one packet's addresses were found to be members of, so that a thousand rules about ten groups look up twenty times.
 * Valid as long as the addresses are: whoever rewrites them calls `forget`.
 */
export class GroupMemo {
  private answers = new Uint8Array(256);
  private stamps = new Uint32Array(256);
  private stamp = 1;

  forget(): void {
    this.stamp = (this.stamp + 1) >>> 0;
    if (this.stamp !== 0) return;
    this.stamps.fill(0);
    this.stamp = 1;
  }

  /** UNKNOWN, OUTSIDE or INSIDE; `slot`: group and which address. */
  get(slot: number): number {
    return slot < this.stamps.length && this.stamps[slot] === this.stamp ? this.answers[slot] : UNKNOWN;
  }

  set(slot: number, inside: boolean): void {
    if (slot >= this.stamps.length) this.grow(slot * 2);
    this.stamps[slot] = this.stamp;
    this.answers[slot] = inside ? INSIDE : OUTSIDE;
  }

  private grow(size: number): void {
    const answers = new Uint8Array(size);
    const stamps = new Uint32Array(size);
    answers.set(this.answers);
    stamps.set(this.stamps);
    this.answers = answers;
    this.stamps = stamps;
  }
}

/** Whether the address at key offset K_IP_SRC or K_IP_DST of an IP or ARP packet is in the group. */
export function inAddressGroup(w: Walk, group: number, offset: number): boolean {
  const slot = group * 2 + (offset === K_IP_SRC ? 0 : 1);
  const known = w.groupMemo.get(slot);
  if (known !== UNKNOWN) return known === INSIDE;
  const inside = lookUp(w, group, offset);
  w.groupMemo.set(slot, inside);
  return inside;
}

function lookUp(w: Walk, group: number, offset: number): boolean {
  const { key, view } = w;
  w.read(F_ETHER_TYPE);
  const v6 = readU16(key, K_ETHER_TYPE) === 0x86dd;
  const coarse = w.out.tagCount >= COARSE_FROM;
  w.tag(coarse ? ANY_GROUP_TAG : tag(TAG_GROUP, group));
  // A group without a member of this family says so without the address.
  if (view.addressGroups.isEmpty(group, v6)) return false;
  w.read(offset === K_IP_SRC ? F_IP_SRC : F_IP_DST);
  if (!coarse) w.tag(addressTag(TAG_GROUP, group, key, offset));
  return view.addressGroups.has(group, v6, key, offset);
}

/** Whether the port (0: none) is in the port group. */
export function inPortGroup(w: Walk, port: number, group: number): boolean {
  if (port === 0) return false;
  w.tag(w.out.tagCount >= COARSE_FROM ? ANY_PORT_GROUPS_TAG : tag(TAG_PORT_GROUPS, port));
  const groups = w.view.ports[port]?.groups;
  if (groups === undefined) return false;
  for (let i = 0; i < groups.length; i++) if (groups[i] === group) return true;
  return false;
}
