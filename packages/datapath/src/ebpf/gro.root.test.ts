/**
 * Wire-size segments that come out of a tunnel are merged before the guest sees them: GRE by the kernel's own offload, VXLAN
 * because a device of that port exists (`weft-gro`). The driver asks the veth that is the underlay here to do so.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EbpfOptions } from './index.ts';
import { needsEbpf } from './testing.ts';
import { TwoHosts } from './two-hosts.ts';

const MEGABYTES = 20;
/** TCP payload of a full segment at the labs' MTU of 1400. */
const SEGMENT = 1348;

/** Segments that vm2's TCP took in during a transfer. */
async function segmentsIn(encap: 'gre' | 'vxlan', extra: Partial<EbpfOptions> = {}): Promise<number> {
  const lab = new TwoHosts(encap, false, extra);
  try {
    const [vm1, vm2] = lab.vms;
    for (const host of lab.hosts) lab.underlayOffloads(host, false);
    await lab.ping(vm1, '10.1.0.2', 2);
    const before = await lab.snmp(vm2.ns, 'TcpInSegs');
    assert.ok((await lab.tcp(vm1, vm2, '10.1.0.2', MEGABYTES)) > 1e7);
    return (await lab.snmp(vm2.ns, 'TcpInSegs')) - before;
  } finally {
    lab.close();
  }
}

describe('merging after decapsulation', { skip: needsEbpf() }, () => {
  const onTheWire = (MEGABYTES * 1e6) / SEGMENT;

  test('GRE', async () => {
    assert.ok((await segmentsIn('gre')) < onTheWire / 2);
  });

  test('VXLAN, with the device', async () => {
    assert.ok((await segmentsIn('vxlan')) < onTheWire / 2);
  });

  test('VXLAN without it is not merged: the device is what does it', async () => {
    assert.ok((await segmentsIn('vxlan', { noGroDevice: true })) > onTheWire / 2);
  });
});
