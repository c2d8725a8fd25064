/** Fills the tables of this build from those of another one, before any program uses them. */
import {
  A_COUNTER_SLOT,
  ACTION_SIZE,
  FLOW_VALUE_SIZE,
  FlowTranslator,
  fieldOf,
  KEY_SIZE,
  readU32le,
  StructTranslator,
} from '@weft/flow';
import type { BpfMap } from '@weft/sys';
import { fragmentSlot } from '../../oracle/fragments.ts';
import { encodeFragmentKey, FRAGMENT, u32At } from '../layout.ts';
import type { EbpfObject, MapName } from '../object.ts';
import type { Layout } from './layout-description.ts';
import type { Predecessor } from './predecessor.ts';

/** Copied field by field. What an agent would write anew for them is written once they are adopted. */
const COPIED: readonly MapName[] = [
  'weft_ports',
  'weft_port_info',
  'weft_budgets',
  'weft_tunnels',
  'weft_tunnel_info',
  'weft_hops',
  'weft_peers',
  'weft_locals',
  'weft_egress',
  'weft_lists',
  'weft_replicas',
];
/** Entries per system call. */
const CHUNK = 1024;

/** Flows that were taken over, and those that this build cannot have. */
export interface CarriedFlows {
  readonly flows: number;
  readonly left: number;
}

/** Copies ports, tunnels, lists, flows with their ids, slots and first packets, and fragments. @param own this build's layout */
export function carryOver(source: Predecessor, own: Layout, object: EbpfObject): CarriedFlows {
  for (const name of COPIED) copyTable(source, own, object, name);
  const carried = copyFlows(source, object);
  copyFragments(source, own, object);
  return carried;
}

/** Inserts in batches; what finds no room is left out. */
class Writer {
  written = 0;
  private readonly map: BpfMap;
  private readonly keys: Uint8Array;
  private readonly values: Uint8Array;
  private count = 0;

  constructor(map: BpfMap) {
    this.map = map;
    this.keys = new Uint8Array(CHUNK * map.info.keySize);
    this.values = new Uint8Array(CHUNK * map.valueBytes);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const { keySize } = this.map.info;
    this.keys.set(key.subarray(0, keySize), this.count * keySize);
    this.values.set(value.subarray(0, this.map.valueBytes), this.count * this.map.valueBytes);
    if (++this.count === CHUNK) this.flush();
  }

  flush(): void {
    this.written += this.map.updateBatch(this.keys, this.values, this.count).count;
    this.count = 0;
  }
}

function copyTable(source: Predecessor, own: Layout, object: EbpfObject, name: MapName): void {
  const found = source.table(name);
  if (!found) return;
  const mine = own.tables[name];
  const keys = new StructTranslator(found.layout.key, mine.key);
  const values = new StructTranslator(found.layout.value, mine.value);
  const writer = new Writer(object.map[name]);
  const key = new Uint8Array(mine.key.size);
  const value = new Uint8Array(mine.value.size);
  found.map.forEach((oldKey, oldValue) => {
    if (keys.translate(oldKey, 0, key, 0) && values.translate(oldValue, 0, value, 0)) writer.put(key, value);
  });
  writer.flush();
}

function copyFlows(source: Predecessor, object: EbpfObject): CarriedFlows {
  const flows = source.table('weft_flows');
  const first = source.memory('weft_first_keys');
  if (!flows || !first) return { flows: 0, left: 0 };
  const { layout } = source;
  const translator = new FlowTranslator(layout.flows);
  const oldSlot = fieldOf(layout.flows.action, 'counterSlot')[1];
  const keyBytes = layout.flows.key.size;
  const writer = new Writer(object.map.weft_flows);
  const slots = object.map.weft_flows.info.maxEntries;
  const key = new Uint8Array(KEY_SIZE);
  const value = new Uint8Array(FLOW_VALUE_SIZE);
  let seen = 0;
  flows.map.forEach((masked, action) => {
    seen++;
    const at = readU32le(action, oldSlot);
    if (at >= first.entries) return;
    if (!translator.flow(masked, action, first.bytes, at * keyBytes, key, value)) return;
    const slot = readU32le(value, A_COUNTER_SLOT);
    if (slot >= slots) return;
    object.firstKeys.bytes.set(value.subarray(ACTION_SIZE), slot * KEY_SIZE);
    writer.put(key, value);
  });
  writer.flush();
  return { flows: writer.written, left: seen - writer.written };
}

/** Datagrams whose first fragment has passed: also called when the programs are swapped, for those that came meanwhile. */
export function copyFragments(source: Predecessor, own: Layout, object: EbpfObject): void {
  const found = source.table('weft_fragments');
  if (!found) return;
  const { fragments, flows } = source.layout;
  const mine = own.tables.weft_fragments;
  const keys = new FlowTranslator(flows);
  const values = new StructTranslator(found.layout.value, mine.value);
  const table = object.map.weft_fragments;
  const there = new Uint8Array(mine.value.size);
  const [oldDatagram, oldL4] = ['datagram', 'l4'].map((name) => fieldOf(found.layout.value, name)[1]);
  const [datagram, l4] = ['datagram', 'l4'].map((name) => fieldOf(mine.value, name)[1]);
  const idAt = fieldOf(mine.value, 'id')[1];
  const portAt = fieldOf(found.layout.key, 'in_port')[1];
  const protoAt = fieldOf(found.layout.value, 'proto')[1];
  const oldProto = fieldOf(flows.key, 'ipProto')[1];
  const oldKey = new Uint8Array(flows.key.size);
  const key = new Uint8Array(KEY_SIZE);
  const value = new Uint8Array(mine.value.size);
  found.map.forEach((entry, stored) => {
    // The key of such a fragment, as far as the entry knows it, takes the way that every key takes.
    oldKey.fill(0);
    oldKey.set(stored.subarray(oldDatagram, oldDatagram + fragments.datagram[1]), fragments.datagram[0]);
    oldKey.set(stored.subarray(oldL4, oldL4 + fragments.l4[1]), fragments.l4[0]);
    oldKey[oldProto] = stored[protoAt];
    if (!keys.key(oldKey, 0, key, 0) || !values.translate(stored, 0, value, 0)) return;
    const [from, bytes] = own.fragments.datagram;
    value.set(key.subarray(from, from + bytes), datagram);
    value.set(key.subarray(own.fragments.l4[0], own.fragments.l4[0] + own.fragments.l4[1]), l4);
    const at = encodeFragmentKey(u32At(entry, portAt), fragmentSlot(key, u32At(value, idAt)));
    // What came later stays.
    if (table.lookup(at, there) && timeOf(there) >= timeOf(value)) return;
    table.update(at, value);
  });
}

/** When the first fragment came, ns. */
function timeOf(fragment: Uint8Array): bigint {
  return new DataView(fragment.buffer, fragment.byteOffset).getBigUint64(FRAGMENT.time, true);
}
