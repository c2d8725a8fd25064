import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addressTag, TAG_GROUP, tag } from '@weft/flow';
import { cidrParse, ipFormat, ipIsV4, ipParse, prefixMatches } from '@weft/packet';
import fc from 'fast-check';
import { AddressGroups, ANY_GROUP_TAG } from './address-groups.ts';

const GROUP = 7;

/** Few values, so that members and addresses meet. */
const byte = fc.constantFrom(0, 1, 127, 128, 255);
const ip4 = fc.tuple(byte, byte).map(([a, b]) => `10.${a}.0.${b}`);
const ip6 = fc.tuple(byte, byte).map(([a, b]) => `fd00:${a.toString(16)}::${b.toString(16)}`);
const address = fc.oneof(ip4, ip6);
const member = fc.oneof(
  address,
  fc.tuple(ip4, fc.integer({ min: 0, max: 32 })).map(([ip, bits]) => `${ip}/${bits}`),
  fc.tuple(ip6, fc.integer({ min: 0, max: 128 })).map(([ip, bits]) => `${ip}/${bits}`),
);

/** Whether an address is among texts, by plain comparison. */
function among(texts: Iterable<string>, ip: Uint8Array): boolean {
  for (const text of texts) {
    const cidr = cidrParse(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`, 'clear');
    if ((cidr.family === 4) === ipIsV4(ip, 0) && prefixMatches(cidr.ip, 0, ip, 0, cidr.bits)) return true;
  }
  return false;
}

describe('address groups', () => {
  it('contain what their members say, and announce every answer that changes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(member, fc.boolean()), { maxLength: 30 }),
        fc.array(address, { minLength: 1 }),
        (steps, probes) => {
          const groups = new AddressGroups();
          const held = new Set<string>();
          const ask = (ip: Uint8Array) => groups.has(GROUP, !ipIsV4(ip, 0), ip, 0);
          for (const [text, present] of steps) {
            if (held.has(text) === present) continue;
            const before = probes.map((probe) => ask(ipParse(probe)));
            const wasEmpty = [false, true].map((v6) => groups.isEmpty(GROUP, v6));
            if (present) held.add(text);
            else held.delete(text);
            const tags = new Set<number>();
            groups.set(GROUP, text, present, tags);
            probes.forEach((probe, i) => {
              const ip = ipParse(probe);
              assert.equal(ask(ip), among(held, ip), `${ipFormat(ip)} in ${[...held]}`);
              if (ask(ip) === before[i]) return;
              assert.ok(tags.has(tag(TAG_GROUP, GROUP)) || tags.has(addressTag(TAG_GROUP, GROUP, ip, 0)));
              assert.ok(tags.has(ANY_GROUP_TAG));
            });
            [false, true].forEach((v6, i) => {
              if (groups.isEmpty(GROUP, v6) !== wasEmpty[i]) assert.ok(tags.has(tag(TAG_GROUP, GROUP)));
            });
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('keep a member that is spelled twice until both are gone, and other groups apart', () => {
    const groups = new AddressGroups();
    const ip = ipParse('10.0.0.1');
    const change = (text: string, present: boolean) => {
      const tags = new Set<number>();
      groups.set(GROUP, text, present, tags);
      return tags.size > 0;
    };
    assert.equal(change('10.0.0.1', true), true);
    assert.equal(change('10.0.0.1/32', true), false);
    assert.equal(change('10.0.0.1', false), false);
    assert.equal(groups.has(GROUP, false, ip, 0), true);
    assert.equal(groups.has(GROUP + 1, false, ip, 0), false);
    assert.equal(change('10.0.0.1/32', false), true);
    assert.equal(groups.isEmpty(GROUP, false), true);
    assert.equal(change('web', true), false);
  });

  it('IPv6 prefixes do not contain IPv4 addresses', () => {
    const groups = new AddressGroups();
    groups.set(GROUP, '::/0', true, new Set());
    assert.equal(groups.has(GROUP, true, ipParse('fd00::1'), 0), true);
    assert.equal(groups.has(GROUP, false, ipParse('10.0.0.1'), 0), false);
    assert.equal(groups.isEmpty(GROUP, false), true);
  });
});
