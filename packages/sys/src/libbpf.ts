/** Loading eBPF object files through libbpf.so.1. Attaching, pins of links and map access are in bpf.ts. */
import koffi from 'koffi';
import { errnoName, WeftSysError } from './errors.ts';
import { cString, errno, libc } from './libc.ts';
import { NativeBuffer } from './memory.ts';

type Fn = (...args: (number | string | null)[]) => number;

const LOG_BYTES = 16 << 20;
const LOG_LINES = 12;
/** struct bpf_object_open_opts of libbpf 1.x: sz 0, object_name 8, relaxed_maps 16, pin_root_path 24, kconfig 40, btf 48, log 56, 64, 72. */
const OPTS_SIZE = 80;
const OPT = { name: 8, logBuffer: 56, logSize: 64, logLevel: 72 } as const;

type Libbpf = Record<
  | 'setPrint'
  | 'openMem'
  | 'load'
  | 'close'
  | 'findMap'
  | 'findProgram'
  | 'mapFd'
  | 'setMaxEntries'
  | 'setPinPath'
  | 'setInitialValue'
  | 'programFd',
  Fn
>;

let loaded: Libbpf | undefined;

function library(): Libbpf {
  if (loaded) return loaded;
  let lib: ReturnType<typeof koffi.load>;
  try {
    lib = koffi.load('libbpf.so.1');
  } catch (error) {
    throw new WeftSysError('WEFT_SYS_LIBBPF', `libbpf.so.1 cannot be loaded: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const f = (name: string, result: string, args: string[]) => lib.func(name, result, args) as unknown as Fn;
  loaded = {
    setPrint: f('libbpf_set_print', 'intptr_t', ['intptr_t']),
    openMem: f('bpf_object__open_mem', 'intptr_t', ['intptr_t', 'size_t', 'intptr_t']),
    load: f('bpf_object__load', 'int', ['intptr_t']),
    close: f('bpf_object__close', 'void', ['intptr_t']),
    findMap: f('bpf_object__find_map_by_name', 'intptr_t', ['intptr_t', 'str']),
    findProgram: f('bpf_object__find_program_by_name', 'intptr_t', ['intptr_t', 'str']),
    mapFd: f('bpf_map__fd', 'int', ['intptr_t']),
    setMaxEntries: f('bpf_map__set_max_entries', 'int', ['intptr_t', 'uint32_t']),
    setPinPath: f('bpf_map__set_pin_path', 'int', ['intptr_t', 'str']),
    setInitialValue: f('bpf_map__set_initial_value', 'int', ['intptr_t', 'intptr_t', 'size_t']),
    programFd: f('bpf_program__fd', 'int', ['intptr_t']),
  };
  // Its own messages would go to stderr; what matters comes back in the log buffer.
  loaded.setPrint(0);
  return loaded;
}

const dup = libc.func('fcntl', 'int', ['int', 'int', 'long']) as unknown as Fn;
const F_DUPFD_CLOEXEC = 1030;

/** What to change before the object is loaded. */
export type LoadOptions = {
  /** Entries per map name. */
  maxEntries?: Readonly<Record<string, number>>;
  /** Directory on a bpffs: maps named here are taken from `<dir>/<name>` if pinned there, else pinned there. */
  pin?: { directory: string; maps: readonly string[] };
  /** Bytes of the read-only data section. */
  rodata?: Uint8Array;
};

/** Descriptors of a loaded object: the caller's own, close each. */
export type LoadedObject = { maps: Map<string, number>; programs: Map<string, number> };

/**
 * Opens, verifies and loads an object file, and hands out its descriptors.
 * Throws WEFT_SYS_LIBBPF (no library), WEFT_SYS_BPF_LOAD with the end of the verifier's log.
 */
export function loadObject(
  name: string,
  file: Uint8Array,
  maps: readonly string[],
  programs: readonly string[],
  options: LoadOptions = {},
): LoadedObject {
  const first = attempt(name, file, maps, programs, options, 0);
  if (typeof first !== 'string') return first;
  // A log costs ten times the load: only once it is known to be needed.
  const second = attempt(name, file, maps, programs, options, 1);
  if (typeof second !== 'string') return second;
  throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name}: ${second}`);
}

/** @returns what the kernel said against it, as text */
function attempt(
  name: string,
  file: Uint8Array,
  maps: readonly string[],
  programs: readonly string[],
  options: LoadOptions,
  logLevel: number,
): LoadedObject | string {
  const lib = library();
  using memory = NativeBuffer.alloc(file.length);
  memory.bytes.set(file);
  using log = NativeBuffer.alloc(LOG_BYTES);
  using opts = NativeBuffer.alloc(OPTS_SIZE + 64);
  const v = opts.view;
  const pointer = (at: number, address: number) => v.setBigUint64(at, BigInt(address), true);
  opts.bytes.set(Buffer.from(`${name.slice(0, 62)}\0`, 'latin1'), OPTS_SIZE);
  pointer(0, OPTS_SIZE);
  pointer(OPT.name, opts.address + OPTS_SIZE);
  if (logLevel > 0) {
    pointer(OPT.logBuffer, log.address);
    pointer(OPT.logSize, LOG_BYTES);
    v.setUint32(OPT.logLevel, logLevel, true);
  }
  const object = lib.openMem(memory.address, file.length, opts.address);
  if (object <= 0) {
    const reason = errnoName(errno());
    throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name} is not an eBPF object that libbpf can open: ${reason}`);
  }
  try {
    prepare(lib, object, name, options);
    const result = lib.load(object);
    if (result < 0)
      return `${errnoName(result)}\n${cString(log.bytes).trimEnd().split('\n').slice(-LOG_LINES).join('\n')}`;
    const out: LoadedObject = { maps: new Map(), programs: new Map() };
    for (const m of maps) out.maps.set(m, keep(lib.mapFd(need(lib.findMap(object, m), name, m)), name, m));
    for (const p of programs) {
      out.programs.set(p, keep(lib.programFd(need(lib.findProgram(object, p), name, p)), name, p));
    }
    return out;
  } finally {
    lib.close(object);
  }
}

function need(handle: number, object: string, what: string): number {
  if (handle > 0) return handle;
  throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${object} has no ${what}`);
}

/** The object closes its descriptors with itself: keep duplicates. */
function keep(fd: number, object: string, what: string): number {
  const own = fd < 0 ? -1 : dup(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${object}: no descriptor for ${what}`);
  return own;
}

function prepare(lib: Libbpf, object: number, name: string, options: LoadOptions): void {
  const map = (m: string) => need(lib.findMap(object, m), name, m);
  const must = (result: number, what: string) => {
    if (result < 0) throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name}: ${what}: ${errnoName(result)}`);
  };
  for (const [m, entries] of Object.entries(options.maxEntries ?? {})) {
    must(lib.setMaxEntries(map(m), entries), `entries of ${m}`);
  }
  for (const m of options.pin?.maps ?? []) {
    must(lib.setPinPath(map(m), `${options.pin!.directory}/${m}`), `pin path of ${m}`);
  }
  if (options.rodata) {
    using data = NativeBuffer.alloc(options.rodata.length);
    data.bytes.set(options.rodata);
    must(lib.setInitialValue(map('.rodata'), data.address, options.rodata.length), 'initial value of .rodata');
  }
}
