/**
 * Members of address groups: (group, family, prefix length, prefix) in one hash table. A look-up probes once per distinct
 * prefix length that the group has, whatever the number of its members; most groups have one length, that of addresses.
 */
import { addressTag, TAG_GROUP, tag } from '@weft/flow';
import { cidrParse, ipIsV4, ipParse } from '@weft/packet';
import { WordTable } from './word-table.ts';

/** Value word of an entry: how many spellings of this member there are. */
const COUNT = 6;
const ADDRESS_BITS = 128;
const FAMILY6 = 256;

/** Stands for any change of any group: for packets that consulted too many to name them. */
export const ANY_GROUP_TAG = tag(TAG_GROUP);

interface AddressGroup {
  /** Distinct prefix lengths in the 16-byte form, longest first, and how many members have each. */
  readonly lengths4: number[];
  readonly counts4: number[];
  readonly lengths6: number[];
  readonly counts6: number[];
}

interface Member {
  readonly v6: boolean;
  /** Prefix length in the 16-byte form. */
  readonly bits: number;
  readonly ip: Uint8Array;
}

export class AddressGroups {
  private readonly table = new WordTable(COUNT, 1, 1024);
  /** By handle of the group; undefined: empty. */
  private readonly groups: (AddressGroup | undefined)[] = [];

  /** Whether the group has no member of the family. */
  isEmpty(group: number, v6: boolean): boolean {
    const known = this.groups[group];
    return known === undefined || (v6 ? known.lengths6 : known.lengths4).length === 0;
  }

  /** Whether the 16-byte address at `offset` is a member, or in a prefix that is one. */
  has(group: number, v6: boolean, ip: Uint8Array, offset: number): boolean {
    const known = this.groups[group];
    if (known === undefined) return false;
    const lengths = v6 ? known.lengths6 : known.lengths4;
    for (let i = 0; i < lengths.length; i++) {
      this.probe(group, v6, lengths[i], ip, offset);
      if (this.table.find() >= 0) return true;
    }
    return false;
  }

  /** Takes a member in, or out; collects the tags of what that may have decided. What cannot be read is no member. */
  set(group: number, text: string, present: boolean, tags: Set<number>): void {
    const member = parseMember(text);
    if (member === null) return;
    const { v6, bits, ip } = member;
    const wasEmpty = this.isEmpty(group, v6);
    this.probe(group, v6, bits, ip, 0);
    const at = present ? this.table.insert() : this.table.find();
    if (at < 0) return;
    const { words } = this.table;
    words[at + COUNT] += present ? 1 : -1;
    // Another spelling of the same member came or went.
    if (words[at + COUNT] !== (present ? 1 : 0)) return;
    if (!present) this.table.removeAt(at);
    this.count(group, v6, bits, present);
    if (bits === ADDRESS_BITS) tags.add(addressTag(TAG_GROUP, group, ip, 0));
    if (bits !== ADDRESS_BITS || wasEmpty !== this.isEmpty(group, v6)) tags.add(tag(TAG_GROUP, group));
    tags.add(ANY_GROUP_TAG);
  }

  private count(group: number, v6: boolean, bits: number, present: boolean): void {
    const known = (this.groups[group] ??= { lengths4: [], counts4: [], lengths6: [], counts6: [] });
    const lengths = v6 ? known.lengths6 : known.lengths4;
    const counts = v6 ? known.counts6 : known.counts4;
    let i = 0;
    while (i < lengths.length && lengths[i] > bits) i++;
    if (lengths[i] !== bits) {
      lengths.splice(i, 0, bits);
      counts.splice(i, 0, 0);
    }
    counts[i] += present ? 1 : -1;
    if (counts[i] > 0) return;
    lengths.splice(i, 1);
    counts.splice(i, 1);
    if (known.lengths4.length + known.lengths6.length === 0) this.groups[group] = undefined;
  }

  private probe(group: number, v6: boolean, bits: number, ip: Uint8Array, offset: number): void {
    const { probe } = this.table;
    probe[0] = group;
    probe[1] = v6 ? FAMILY6 | bits : bits;
    for (let w = 0; w < 4; w++) {
      const o = offset + w * 4;
      const word = (ip[o] << 24) | (ip[o + 1] << 16) | (ip[o + 2] << 8) | ip[o + 3];
      const left = bits - w * 32;
      probe[w + 2] = left >= 32 ? word : left <= 0 ? 0 : word & (-1 << (32 - left));
    }
  }
}

function parseMember(text: string): Member | null {
  try {
    if (text.includes('/')) {
      const cidr = cidrParse(text, 'clear');
      return { v6: cidr.family === 6, bits: cidr.bits, ip: cidr.ip };
    }
    const ip = ipParse(text);
    return { v6: !ipIsV4(ip, 0), bits: ADDRESS_BITS, ip };
  } catch {
    return null;
  }
}
