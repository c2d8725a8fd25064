import assert from 'node:assert/strict';
import { describe as group, it } from 'node:test';
import { extractKey, FRAG_FIRST, FRAG_LATER, K_IP_FRAG, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { describe } from '@weft/packet';
import fc from 'fast-check';
import { AgentError } from '../errors.ts';
import { buildPacket, type Surroundings } from './build-packet.ts';
import { PacketFilter } from './packet-filter.ts';
import { parsePacket } from './packet-language.ts';

const AROUND: Surroundings = {
  stations: [{ mac: '02:00:00:00:00:0a', ips: ['10.1.0.11', 'fd00:1::11'] }],
  gateways: [{ mac: 'ac:ca:ba:00:00:01', subnets: ['10.1.0.1/24', 'fd00:1::1/64'], name: 'router "edge"' }],
  neighbour: (ip) => (ip === '10.1.0.12' ? '02:00:00:00:00:0c' : undefined),
};

const built = (text: string, around = AROUND) => buildPacket(parsePacket(text), around);
const told = (text: string, around = AROUND) => describe(built(text, around).frame);

group('packet language', () => {
  it('understands words and fields, old names and new', () => {
    assert.deepEqual(parsePacket('udp, ip_src=10.0.0.1,nw_dst=10.0.0.2,tp_dst=53,dl_vlan=7'), {
      ip_proto: 17,
      ip_src: '10.0.0.1',
      ip_dst: '10.0.0.2',
      tp_dst: 53,
      vlan: 7,
      eth_type: 0x0800,
    });
    assert.equal(parsePacket('tcp,tcp_flags=syn+ack').tcp_flags, 0x12);
    assert.equal(parsePacket('udp,ip_dst=FD00::0:1').ip_dst, 'fd00::1');
    assert.equal(parsePacket('icmp_type=3').ip_proto, 1);
  });

  it('names what it does not understand', () => {
    for (const [text, message] of [
      ['tpc', /"tpc" is neither/],
      ['ip_dts=1.2.3.4', /no field "ip_dts"/],
      ['ip_dst=1.2.3', /1\.2\.3 is not an IP address/],
      ['tp_dst=70000', /70000 is not a number from 0 to 65535/],
      ['udp,tcp', /"tcp" contradicts ip_proto=17/],
      ['ip_src=10.0.0.1,ip_dst=fd00::1', /both IP versions/],
      ['icmp6,ip_dst=10.0.0.1', /do not belong/],
      ['__proto__=1', /no field "__proto__"/],
    ] as const) {
      assert.throws(
        () => parsePacket(text),
        (error) => error instanceof AgentError && error.code === 'WEFT_AGENT_PACKET' && message.test(error.message),
        text,
      );
    }
  });

  it('fills in what a guest would use', () => {
    assert.match(
      told('udp,ip_dst=10.2.0.13'),
      /02:00:00:00:00:0a > ac:ca:ba:00:00:01, 10\.1\.0\.11:49152 > 10\.2\.0\.13:53/,
    );
    assert.match(told('icmp,ip_dst=10.1.0.12'), /> 02:00:00:00:00:0c, 10\.1\.0\.11 > 10\.1\.0\.12 ICMP echo request/);
    assert.match(told('icmp6,ip_dst=fd00:9::1'), /> ac:ca:ba:00:00:01, fd00:1::11 > fd00:9::1/);
    assert.match(told('ip_dst=224.0.0.5'), /> 01:00:5e:00:00:05/);
    assert.match(told('arp,arp_tpa=10.1.0.12'), /> ff:ff:ff:ff:ff:ff, ARP who-has 10\.1\.0\.12/);
    assert.match(told('icmp6,nd_target=fd00:1::1'), /33:33:ff:00:00:01/);
    assert.match(told('eth_type=0x88b5'), /0x88b5/);
    const { filled } = built('tcp,ip_dst=10.2.0.13,tp_dst=443');
    assert.deepEqual(filled.map(({ field }) => field).sort(), ['eth_dst', 'eth_src', 'ip_src', 'tcp_flags', 'tp_src']);
    const nobody: Surroundings = { stations: [], gateways: [], neighbour: () => undefined };
    assert.match(built('udp,ip_dst=10.2.0.13', nobody).filled[0].why, /made up/);
    assert.throws(() => built('udp', nobody), /say where the packet goes/);
  });

  it('builds fragments, lengths and tags as asked', () => {
    const class_ = (text: string): number => {
      const { frame } = built(text);
      const key = new Uint8Array(KEY_SIZE);
      assert.ok(extractKey(frame, frame.length, 0, 0, key, 0, newFrameLayout()), text);
      return key[K_IP_FRAG];
    };
    for (const family of ['udp,ip_dst=10.2.0.13', 'udp,ip_dst=fd00:9::1']) {
      assert.equal(class_(`${family},frag=first`), FRAG_FIRST);
      assert.equal(class_(`${family},frag=later`), FRAG_LATER);
    }
    assert.equal(built('udp,ip_dst=10.2.0.13,len=1400').frame.length, 1400);
    assert.equal(built('tcp,ip_dst=10.2.0.13,len=900,vlan=5').frame.length, 900);
  });

  it('what is built from a description agrees with it as a filter', () => {
    const text = fc
      .record(
        {
          kind: fc.constantFrom('udp', 'tcp', 'icmp'),
          ip_dst: fc.constantFrom('10.2.0.13', '10.1.0.12'),
          ip_src: fc.constantFrom('10.1.0.11', '10.7.7.7'),
          ip_ttl: fc.integer({ min: 1, max: 255 }),
          ip_tos: fc.integer({ min: 0, max: 255 }),
          vlan: fc.integer({ min: 1, max: 4094 }),
          frag: fc.constantFrom('no', 'first'),
          eth_src: fc.constant('02:00:00:00:00:99'),
        },
        { requiredKeys: ['kind', 'ip_dst'] },
      )
      .map(({ kind, ...fields }) =>
        [kind, ...Object.entries(fields).map(([name, value]) => `${name}=${value}`)].join(),
      );
    fc.assert(
      fc.property(text, (description) => {
        const { frame } = built(description);
        assert.ok(new PacketFilter(parsePacket(description)).matches(frame, frame.length), description);
        assert.ok(!new PacketFilter(parsePacket('sctp')).matches(frame, frame.length));
        assert.ok(!new PacketFilter({}, ['192.0.2.9']).matches(frame, frame.length));
      }),
      { numRuns: 200 },
    );
  });
});
