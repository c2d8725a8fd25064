/** Real stacks through the programs: every encapsulation, both underlay families. One test per lesson about the kernel. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  classFor,
  dropReason,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_PROTO,
  K_IP_SRC,
  readU16,
  UPCALL_PATH_MTU,
} from '@weft/flow';
import {
  addressAdd,
  close as closeFd,
  linkIndex,
  linkSet,
  NetlinkSocket,
  openPacketSocket,
  PacketBatch,
  runIn,
  sysctlSet,
} from '@weft/sys';
import { needsEbpf } from './testing.ts';
import { TwoHosts, type Vm } from './two-hosts.ts';

const skip = needsEbpf();

/** Frames that pass an interface of a namespace while `during` runs: [tagged ones, longest in bytes]. */
async function watch(
  lab: TwoHosts,
  name: string,
  during: () => Promise<unknown>,
): Promise<{ tagged: number; longest: number }> {
  const nl = runIn(lab.fabric, () => new NetlinkSocket());
  const fd = runIn(lab.fabric, () => openPacketSocket({ ifindex: linkIndex(nl, name), receiveBuffer: 16 << 20 }));
  nl.close();
  const batch = new PacketBatch(256, 128);
  let [tagged, longest] = [0, 0];
  const drain = () => {
    for (;;) {
      const n = batch.recv(fd, false);
      for (let i = 0; i < n; i++) {
        if (batch.vlanTci[i] >= 0 || batch.protocol[i] === 0x8100) tagged++;
        longest = Math.max(longest, batch.wireLength[i]);
      }
      if (n < 256) return;
    }
  };
  const timer = setInterval(drain, 1);
  await during();
  clearInterval(timer);
  drain();
  closeFd(fd);
  batch.close();
  return { tagged, longest };
}

/**
 * Whether a VM leaves checksums and segments to others, whether the underlay's interface does checksums, and segments. What a VM sends
 * whole has complete checksums: segments alone make no difference to it.
 */
const OFFLOADS: readonly [vm: boolean, checksums: boolean, segments: boolean][] = [
  [true, true, true],
  [true, true, false],
  [true, false, true],
  [true, false, false],
  [false, true, true],
  [false, false, false],
];

for (const [encap, ipv6] of [
  ['vxlan', false],
  ['gre', false],
  ['vxlan', true],
  ['gre', true],
] as const) {
  describe(`traffic: ${encap} over IPv${ipv6 ? 6 : 4}`, { skip }, () => {
    let lab: TwoHosts;
    let [vm1, vm2, vm3] = [] as Vm[];
    before(() => {
      lab = new TwoHosts(encap, ipv6);
      [vm1, vm2, vm3] = lab.vms;
    });
    after(() => lab?.close());

    test('ARP, ND and echo between hosts and on one host, IPv4 and IPv6, none lost', async () => {
      assert.equal(await lab.ping(vm1, '10.1.0.2'), 0);
      assert.equal(await lab.ping(vm1, 'fd01::2'), 0);
      assert.equal(await lab.ping(vm1, '10.1.0.3'), 0);
      assert.equal(await lab.ping(vm3, 'fd01::2'), 0);
    });

    test('an underlay neighbour that must be resolved again costs nothing', async () => {
      await lab.run(lab.hosts[0].ns, ['ip', 'neigh', 'flush', 'dev', 'u0']);
      assert.equal(await lab.ping(vm1, '10.1.0.2', 3), 0);
      // Unicast ARP goes over the helper veth, which resolves as well.
      await lab.run(lab.hosts[0].ns, ['ip', 'neigh', 'flush', 'dev', 'u0']);
      const { code, output } = await lab.run(vm1.ns, ['arping', '-c', '2', '-w', '3', '-I', 'eth0', '10.1.0.2']);
      assert.equal(code, 0, output);
    });

    test('full-size packets, and one byte more', async () => {
      assert.equal(await lab.ping(vm1, '10.1.0.2', 3, '-s', '1372', '-M', 'do'), 0);
      assert.equal(await lab.ping(vm1, 'fd01::2', 3, '-s', '1352', '-M', 'do'), 0);
    });

    test('a tenant tag arrives, and none is seen on the fabric', async (t) => {
      for (const [vm, n] of [
        [vm1, 1],
        [vm2, 2],
      ] as const) {
        const added = await lab.run(vm.ns, [
          'ip',
          'link',
          'add',
          'link',
          'eth0',
          'name',
          'v77',
          'type',
          'vlan',
          'id',
          '77',
        ]);
        if (added.code !== 0) {
          t.skip('needs 802.1Q interfaces (CONFIG_VLAN_8021Q); the compliance suite sends tagged frames without');
          return;
        }
        await lab.run(vm.ns, ['ip', 'addr', 'add', `10.77.0.${n}/24`, 'dev', 'v77']);
        await lab.run(vm.ns, ['ip', 'link', 'set', 'v77', 'mtu', '1396', 'up']);
      }
      let lost = 100;
      const { tagged } = await watch(lab, 'f1', async () => {
        lost = await lab.ping(vm1, '10.77.0.2', 5);
      });
      assert.equal(lost, 0);
      assert.equal(tagged, 0, 'a tag reached the underlay');
      assert.ok((await lab.tcp(vm1, vm2, '10.77.0.2', 10)) > 1e7);
    });

    test('rewrites keep checksums right: VM offloads × underlay offloads', async () => {
      // vm1 reaches vm2 as 10.1.0.50 / fd01::50: destination rewritten there, source rewritten on the way back.
      const bridge = lab.decide;
      const alias = (key: Uint8Array, at: number, from: number, to: number) => {
        if (key[at + 15] === from) key[at + 15] = to;
      };
      lab.decide = (host, inPort, key, destination) => {
        const plain = bridge(host, inPort, key, destination);
        const etherType = readU16(key, K_ETHER_TYPE);
        if (!plain || (etherType !== 0x0800 && etherType !== 0x86dd)) return plain;
        // Neighbour discovery between the VMs stays as it is. With the protocol in its class: the flow of an advertisement must
        // not carry the TCP packets between the same MACs and addresses, whichever of them comes first.
        const cls = classFor(F_IP_SRC | F_IP_DST | F_IP_PROTO);
        if (key[K_IP_PROTO] === 58) return { ...plain, cls };
        return {
          options: { ...plain.options, ttlDec: 1 },
          // The delta holds for these addresses only.
          cls,
          edit: (k) => (host === lab.hosts[0] ? alias(k, K_IP_DST, 0x50, 2) : alias(k, K_IP_SRC, 2, 0x50)),
        };
      };
      const mac = vm2.mac;
      await lab.run(vm1.ns, ['ip', 'neigh', 'replace', '10.1.0.80', 'lladdr', mac, 'dev', 'eth0']);
      await lab.run(vm1.ns, ['ip', '-6', 'neigh', 'replace', 'fd01::50', 'lladdr', mac, 'dev', 'eth0']);
      try {
        for (const [vmOn, checksums, segments] of OFFLOADS) {
          lab.deleteFlows();
          lab.vmOffloads(vm1, vmOn);
          lab.vmOffloads(vm2, vmOn);
          for (const host of lab.hosts) lab.underlayOffloads(host, checksums, segments);
          const before = await lab.snmp(vm2.ns, 'TcpInCsumErrors');
          const onOff = (on: boolean) => (on ? 'on' : 'off');
          const what = `VM ${onOff(vmOn)}, underlay checksums ${onOff(checksums)}, segments ${onOff(segments)}`;
          assert.ok((await lab.tcp(vm1, vm2, '10.1.0.80', 5)) > 1e7, what);
          assert.ok((await lab.tcp(vm1, vm2, 'fd01::50', 5)) > 1e7, `${what}, IPv6`);
          assert.equal(await lab.snmp(vm2.ns, 'TcpInCsumErrors'), before, what);
        }
      } finally {
        lab.decide = bridge;
        lab.deleteFlows();
        lab.vmOffloads(vm1, true);
        lab.vmOffloads(vm2, true);
        for (const host of lab.hosts) lab.underlayOffloads(host, true);
      }
    });

    test('segments on the wire have the tunnel MTU, not less and not more', async () => {
      for (const host of lab.hosts) lab.underlayOffloads(host, false);
      try {
        const { longest } = await watch(lab, 'f1', () => lab.tcp(vm1, vm2, '10.1.0.2', 10));
        assert.equal(longest, 1400 + 14 + lab.hosts[0].driver.overhead(ipv6));
      } finally {
        for (const host of lab.hosts) lab.underlayOffloads(host, true);
      }
    });

    test('a VM that forwards: out of one tunnel, into the next', async () => {
      const subnet = (vm: Vm, address: string) => {
        const nl = runIn(vm.ns, () => new NetlinkSocket());
        addressAdd(nl, linkIndex(nl, 'eth0'), address);
        nl.close();
      };
      subnet(vm3, '10.3.0.3/24');
      subnet(vm2, '10.3.0.2/24');
      for (const conf of ['forwarding', 'send_redirects']) {
        sysctlSet(['net', 'ipv4', 'conf', 'all', conf], conf === 'forwarding' ? 1 : 0, vm2.ns);
        sysctlSet(['net', 'ipv4', 'conf', 'eth0', conf], conf === 'forwarding' ? 1 : 0, vm2.ns);
      }
      await lab.run(vm1.ns, ['ip', 'route', 'add', '10.3.0.0/24', 'via', '10.1.0.2']);
      await lab.run(vm3.ns, ['ip', 'addr', 'del', '10.1.0.3/24', 'dev', 'eth0']);
      await lab.run(vm3.ns, ['ip', 'route', 'add', '10.1.0.0/24', 'via', '10.3.0.2']);
      assert.equal(await lab.ping(vm1, '10.3.0.3'), 0);
      assert.ok((await lab.tcp(vm1, vm3, '10.3.0.3', 10)) > 1e7);
    });

    test('a smaller link in the fabric is reported with peer and MTU', async () => {
      const nl = runIn(lab.fabric, () => new NetlinkSocket());
      linkSet(nl, 'f2', { mtu: 1350 });
      nl.close();
      lab.hosts[0].seen.length = 0;
      await lab.ping(vm1, '10.1.0.2', 2, '-s', '1372');
      const report = lab.hosts[0].seen.find((u) => u.reason === UPCALL_PATH_MTU);
      assert.ok(report, 'the router spoke, and nobody heard it');
      assert.deepEqual([report.peer, report.mtu], [2, Math.max(1280, 1350 - lab.hosts[0].driver.overhead(ipv6))]);
    });

    test('nothing was dropped that should not have been', () => {
      for (const { driver } of lab.hosts) {
        const { drops } = driver.stats();
        for (const reason of [
          'encap_failed',
          'decap_failed',
          'redirect_failed',
          'rewrite_failed',
          'malformed',
          'exec_raced',
        ] as const) {
          assert.equal(drops[dropReason(reason)], 0, reason);
        }
      }
    });
  });
}

describe('traffic: helpers of an older kernel', { skip }, () => {
  for (const encap of ['vxlan', 'gre'] as const) {
    test(`${encap}: no BPF_F_IPV6 (before 6.16)`, async () => {
      const lab = new TwoHosts(encap, false, { features: { csumIpv6: false } });
      try {
        const [vm1, vm2] = lab.vms;
        assert.equal(lab.hosts[0].driver.features.csumIpv6, false);
        assert.ok((await lab.tcp(vm1, vm2, '10.1.0.2', 10)) > 1e7);
        assert.ok((await lab.tcp(vm1, vm2, 'fd01::2', 10)) > 1e7);
      } finally {
        lab.close();
      }
    });

    for (const ipv6 of [false, true]) {
      test(`${encap} over IPv${ipv6 ? 6 : 4}: decapsulation without inner protocol (before 6.3)`, async () => {
        const lab = new TwoHosts(encap, ipv6, { features: { decapL3: false } });
        try {
          const [vm1, vm2] = lab.vms;
          for (const address of ['10.1.0.2', 'fd01::2']) {
            assert.equal(await lab.ping(vm1, address), 0);
            assert.ok((await lab.tcp(vm1, vm2, address, 10)) > 1e7, address);
          }
          // Super-packets are cut at the latest here: of the right family.
          for (const host of lab.hosts) lab.underlayOffloads(host, false);
          assert.ok((await lab.tcp(vm1, vm2, 'fd01::2', 5)) > 1e7);
        } finally {
          lab.close();
        }
      });
    }
  }
});
