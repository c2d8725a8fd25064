import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ACTION_SIZE, KEY_SIZE } from '@weft/flow';
import { ipParse } from '@weft/packet';
import { Btf } from '@weft/sys';
import * as layout from './layout.ts';
import { OBJECT_DIRECTORY } from './object.ts';

const path = join(OBJECT_DIRECTORY, 'weft.bpf.o');
const skip = existsSync(path) ? false : 'needs the compiled programs: run scripts/build-bpf.sh (clang)';

/** Offsets of a map's value in bytes, read from the layout text "name@bits:…". */
function offsets(text: string): Map<string, number> {
  const value = text.slice(text.indexOf('value='));
  return new Map([...value.matchAll(/(\w+)@(\d+):/g)].map(([, name, bits]) => [name, Number(bits) / 8]));
}

describe('tables as C and TypeScript lay them out', { skip }, () => {
  const maps = skip ? new Map<string, string>() : Btf.ofObject(readFileSync(path)).mapLayouts();
  const size = (name: string) => Number(/value=\w+\/(\d+)/.exec(maps.get(name)!)![1]);

  test('sizes', () => {
    assert.deepEqual(
      ['weft_ports', 'weft_budgets', 'weft_port_info', 'weft_tunnels', 'weft_tunnel_info', 'weft_egress'].map(size),
      [
        layout.PORT_SIZE,
        layout.BUDGET_SIZE,
        layout.PORT_INFO_SIZE,
        layout.TUNNEL_SIZE,
        layout.TUNNEL_INFO_SIZE,
        layout.EGRESS_SIZE,
      ],
    );
    assert.deepEqual(['weft_hops', 'weft_filters'].map(size), [layout.HOP_SIZE, layout.FILTER_SIZE]);
    assert.equal(size('weft_fragments'), layout.FRAGMENT_SIZE);
    assert.deepEqual(['weft_flows', 'weft_first_keys', 'weft_counters'].map(size), [ACTION_SIZE, KEY_SIZE, 16]);
    const fragment = offsets(maps.get('weft_fragments')!);
    assert.deepEqual(
      [fragment.get('time'), fragment.get('time_tail')],
      [layout.FRAGMENT.time, layout.FRAGMENT.timeTail],
    );
    assert.deepEqual(['weft_lists', 'weft_replicas', 'weft_execs'].map(size), [
      layout.MEMBER_SIZE,
      layout.REPLICA_SIZE,
      layout.EXEC_SIZE,
    ]);
  });

  test('ports and tunnels, field by field', () => {
    const mac = Uint8Array.of(2, 3, 4, 5, 6, 7);
    const port = layout.encodePort({
      ifindex: 0x01020304,
      name: 'p',
      portId: 'x',
      mac,
      peerable: true,
      upcallRate: 1000,
      upcallBurst: 3,
    });
    const p = offsets(maps.get('weft_ports')!);
    assert.equal(layout.u32At(port, p.get('ifindex')!), 0x01020304);
    assert.equal(port[p.get('peerable')!], 1);
    assert.deepEqual(port.subarray(p.get('mac')!, p.get('mac')! + 6), mac);
    assert.equal(layout.u32At(port, p.get('upcall_interval')!), 1_000_000);
    assert.equal(layout.u32At(port, p.get('upcall_burst')!), 3_000_000);

    const gateway = Uint8Array.from({ length: 16 }, (_, i) => i + 201);
    const spec = {
      peer: 9,
      hostId: 'h',
      local: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
      remote: Uint8Array.from({ length: 16 }, (_, i) => i + 101),
      ifindexes: [4, 5, 6],
      gateways: [ipParse('10.0.0.1'), gateway, null],
      mtu: 1450,
    };
    const tunnel = layout.encodeTunnel(spec);
    const t = offsets(maps.get('weft_tunnels')!);
    assert.equal(layout.u32At(tunnel, t.get('peer')!), 9);
    assert.equal(layout.u32At(tunnel, t.get('peer_tail')!), 9);
    assert.equal(tunnel[t.get('ipv6')!], 1);
    assert.equal(tunnel[t.get('count')!], 3);
    assert.equal(layout.u32At(tunnel, t.get('ifindex')!), 4);
    assert.equal(layout.u32At(tunnel, t.get('family')!), 2);
    assert.deepEqual([...tunnel.subarray(t.get('address')!, t.get('address')! + 4)], [10, 0, 0, 1]);
    assert.deepEqual(tunnel.subarray(t.get('local')!, t.get('local')! + 16), spec.local);
    assert.deepEqual(tunnel.subarray(t.get('remote')!, t.get('remote')! + 16), spec.remote);
    const hops = spec.ifindexes.map((_, i) => layout.encodeHop(spec, i));
    const h = offsets(maps.get('weft_hops')!);
    assert.deepEqual(
      ['number', 'number_tail', 'ifindex', 'family'].map((name) => layout.u32At(hops[1], h.get(name)!)),
      [9 * 4 + 1, 9 * 4 + 1, 5, 10],
    );
    assert.deepEqual(hops[1].subarray(h.get('address')!, h.get('address')! + 16), gateway);
    const info = layout.encodeTunnelInfo(spec);
    assert.deepEqual(layout.decodeTunnel(tunnel, info, hops), spec);
    // Without gateways the FIB is asked, and nothing is made up on the way back.
    const { gateways, ...asking } = spec;
    const asked = asking.ifindexes.map((_, i) => layout.encodeHop(asking, i));
    assert.deepEqual(layout.decodeTunnel(layout.encodeTunnel(asking), info, asked), asking);
  });

  test('the directory’s hash changes with a layout, not with a size chosen at load', () => {
    const btf = Btf.ofObject(readFileSync(path));
    assert.match(btf.layoutHash(), /^[0-9a-f]{16}$/);
    assert.notEqual(btf.layoutHash('flows=1'), btf.layoutHash('flows=2'));
    assert.ok(![...maps.values()].some((text) => text.includes('max_entries')));
  });
});
