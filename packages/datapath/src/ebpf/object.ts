import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DROP_REASONS, KEY_SIZE } from '@weft/flow';
import {
  BpfMap,
  Btf,
  close as closeFd,
  elfSection,
  elfSymbols,
  loadObject,
  NativeBuffer,
  parsePossibleCpus,
  testRun,
} from '@weft/sys';
import type { DatapathOptions } from '../contract.ts';
import { DatapathError } from '../errors.ts';
import { FILTER_ROWS, FILTER_SIZE } from './layout.ts';
import { describeTables, hasLayout, type Layout, writeLayout } from './upgrade/layout-description.ts';

/** Where the object files are, built by scripts/build-bpf.sh. */
export const OBJECT_DIRECTORY = join(import.meta.dirname, '../../bpf/build');

const MAPS = [
  'weft_flows',
  'weft_first_keys',
  'weft_counters',
  'weft_filters',
  'weft_ports',
  'weft_budgets',
  'weft_tunnels',
  'weft_hops',
  'weft_peers',
  'weft_locals',
  'weft_egress',
  'weft_lists',
  'weft_fragments',
  'weft_replicas',
  'weft_execs',
  'weft_drops',
  'weft_upcalls',
  'weft_ring',
  'weft_port_info',
  'weft_tunnel_info',
  'weft_global_budgets',
  'weft_layout',
] as const;
export type MapName = (typeof MAPS)[number];

const PROGRAMS = ['weft_port', 'weft_underlay', 'weft_helper', 'weft_closed'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** Room for upcall records. Power of two. */
export const RING_BYTES = 16 << 20;

/** What the kernel's helpers know; see bpf/weft_probe.c. */
export type Features = { csumIpv6: boolean; decapL3: boolean };

const PROBE_CSUM_IPV6 = 1;
const PROBE_DECAP_L3 = 2;

function objectFile(directory: string, name: string): Uint8Array {
  try {
    return readFileSync(join(directory, name));
  } catch (error) {
    throw new DatapathError(
      'WEFT_DATAPATH_OBJECT',
      `${join(directory, name)} is not there: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

/** Loads and runs the probe program on an IPv6 frame of zeros. @throws SysError WEFT_SYS_BPF_LOAD where the kernel refuses it. */
export function probeKernel(directory = OBJECT_DIRECTORY): Features {
  const loaded = loadObject('weft_probe', objectFile(directory, 'weft-probe.bpf.o'), [], ['weft_probe']);
  const fd = loaded.programs.get('weft_probe')!;
  try {
    const frame = new Uint8Array(128);
    frame.set([0x86, 0xdd, 0x60], 12);
    // Stripping 40 bytes leaves an IPv4 header's first byte where the inner packet begins.
    frame[54] = 0x45;
    const { result } = testRun(fd, frame);
    return { csumIpv6: (result & PROBE_CSUM_IPV6) !== 0, decapL3: (result & PROBE_DECAP_L3) !== 0 };
  } finally {
    closeFd(fd);
  }
}

export function possibleCpus(): number {
  return parsePossibleCpus(readFileSync('/sys/devices/system/cpu/possible', 'latin1'));
}

/** Layout of the tables of the object files in a directory, and of the flows in them. */
export function tableLayout(objects = OBJECT_DIRECTORY): Layout {
  return describeTables(objectFile(objects, 'weft.bpf.o'));
}

/**
 * Name of the directory for pins: a hash over the layout of every table, of the flows, and the sizes chosen here. Programs of another
 * layout would read old tables without a word, so they get a directory of their own.
 */
export function layoutHash(options: DatapathOptions, layout: Layout, objects = OBJECT_DIRECTORY): string {
  const btf = Btf.ofObject(objectFile(objects, 'weft.bpf.o'));
  const sizes = `flows=${options.maxFlows} cpus=${possibleCpus()} ring=${RING_BYTES} drops=${DROP_REASONS.length}`;
  return btf.layoutHash(`${sizes} ${JSON.stringify(layout)}`);
}

/** Values of the programs' read-only variables, by name without `cfg_`. */
export type Config = Record<string, number>;

function rodata(file: Uint8Array, config: Config): Uint8Array {
  // A copy: slice() of a Buffer is a view.
  const bytes = Uint8Array.from(elfSection(file, '.rodata'));
  const view = new DataView(bytes.buffer);
  const symbols = elfSymbols(file, '.rodata');
  for (const [name, value] of Object.entries(config)) {
    const at = symbols.get(`cfg_${name}`);
    if (at === undefined) throw new DatapathError('WEFT_DATAPATH_OBJECT', `the programs have no variable cfg_${name}`);
    view.setUint32(at, value, true);
  }
  return bytes;
}

export type EbpfObject = {
  readonly directory: string;
  readonly cpus: number;
  readonly features: Features;
  readonly map: Readonly<Record<MapName, BpfMap>>;
  readonly program: Readonly<Record<ProgramName, number>>;
  readonly counters: NativeBuffer;
  /** First packet's key of each counter slot. */
  readonly firstKeys: NativeBuffer;
  /** Rows of weft_filters, shared with the kernel. */
  readonly filters: NativeBuffer;
  close(): void;
};

/** Loads the programs over the tables pinned in `directory`, which are made, and described, if need be. Directories get mode 0700. */
export function openObject(
  options: DatapathOptions,
  directory: string,
  layout: Layout,
  config: Config,
  objects: string,
  objectName: string,
  without: Partial<Features> = {},
): EbpfObject {
  const cpus = possibleCpus();
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const features = { ...probeKernel(objects), ...without };
  const file = objectFile(objects, objectName);
  const loaded = loadObject(`weft_${options.instance}`, file, MAPS, PROGRAMS, {
    maxEntries: {
      weft_flows: options.maxFlows,
      weft_first_keys: options.maxFlows,
      weft_counters: (cpus + 1) * options.maxFlows,
      weft_ring: RING_BYTES,
    },
    pin: { directory, maps: MAPS },
    rodata: rodata(file, {
      encap: options.encap === 'vxlan' ? 1 : 0,
      vxlan_port: options.vxlanPort ?? 4789,
      counter_slots: options.maxFlows,
      have_decap_l3: features.decapL3 ? 1 : 0,
      have_csum_ipv6: features.csumIpv6 ? 1 : 0,
      ...config,
    }),
  });
  const map = {} as Record<MapName, BpfMap>;
  for (const name of MAPS) map[name] = new BpfMap(loaded.maps.get(name)!, cpus);
  const program = Object.fromEntries(loaded.programs) as Record<ProgramName, number>;
  const counters = NativeBuffer.mapFd(map.weft_counters.fd, (cpus + 1) * options.maxFlows * 16, { writable: false });
  const firstKeys = NativeBuffer.mapFd(map.weft_first_keys.fd, options.maxFlows * KEY_SIZE);
  const filters = NativeBuffer.mapFd(map.weft_filters.fd, FILTER_ROWS * FILTER_SIZE);
  if (!hasLayout(map.weft_layout)) writeLayout(map.weft_layout, layout);
  return {
    directory,
    cpus,
    features,
    map,
    program,
    counters,
    firstKeys,
    filters,
    close() {
      counters.close();
      firstKeys.close();
      filters.close();
      for (const m of Object.values(map)) m.close();
      for (const fd of Object.values(program)) closeFd(fd);
    },
  };
}
