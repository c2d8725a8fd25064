/** Loading eBPF object files through libbpf.so.1. Attaching, pins of links and map access are in bpf.ts. */
import koffi from 'koffi';
import { errnoName, WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { cfunc, cString, errno, libc } from './libc.ts';
import { NativeBuffer } from './memory.ts';

type Argument = number | string | null;
type Fn = {
  (...args: Argument[]): number;
  /** The same by a thread of libuv's pool. */
  async(...args: [...Argument[], (error: Error | null, result: number) => void]): void;
};

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
  | 'setAutoload'
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
    setAutoload: f('bpf_program__set_autoload', 'int', ['intptr_t', 'int']),
    programFd: f('bpf_program__fd', 'int', ['intptr_t']),
  };
  // Its own messages would go to stderr; what matters comes back in the log buffer.
  loaded.setPrint(0);
  return loaded;
}

const dup = libc.func('fcntl', 'int', ['int', 'int', 'long']) as unknown as Fn;
const F_DUPFD_CLOEXEC = 1030;
const mallocTrim = cfunc('malloc_trim', 'int', ['size_t']);

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
  const first = attempt(name, file, maps, programs, options, false);
  if (typeof first !== 'string') return first;
  // A log costs ten times the load: only once it is known to be needed.
  const second = attempt(name, file, maps, programs, options, true);
  if (typeof second !== 'string') return second;
  throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name}: ${second}`);
}

/**
 * Like `loadObject`, but in the background, and each group of programs is verified by a thread of its own: that is what takes the time.
 * All maps but the read-only data must be pinned, for the groups find each other's there.
 */
export async function loadObjectInGroups(
  name: string,
  file: Uint8Array,
  maps: readonly string[],
  groups: readonly (readonly string[])[],
  options: LoadOptions & Required<Pick<LoadOptions, 'pin'>>,
): Promise<LoadedObject> {
  const all = groups.flat();
  const skip = (wanted: readonly string[]) => all.filter((program) => !wanted.includes(program));
  const parts: LoadedObject[] = [];
  try {
    {
      using tables = new OpenedObject(name, file, { ...options, without: all });
      if (tables.load() < 0) throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name}: the kernel refuses its maps`);
      parts.push(tables.take(maps, []));
    }
    await Promise.all(
      groups.map(async (group) => {
        using opened = new OpenedObject(name, file, { ...options, without: skip(group) });
        if ((await opened.loadInBackground()) < 0)
          throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name}: the kernel refuses one of ${group.join(', ')}`);
        parts.push(opened.take([], group));
      }),
    );
  } catch {
    for (const part of parts) for (const fd of [...part.maps.values(), ...part.programs.values()]) close(fd);
    // Once more, one by one: this says what is wrong.
    return loadObject(name, file, maps, all, options);
  }
  // What the threads' heaps grew to is of no use any more.
  mallocTrim(0);
  const merge = (which: 'maps' | 'programs') => new Map(parts.flatMap((part) => [...part[which]]));
  return { maps: merge('maps'), programs: merge('programs') };
}

/** @returns what the kernel said against it, as text */
function attempt(
  name: string,
  file: Uint8Array,
  maps: readonly string[],
  programs: readonly string[],
  options: LoadOptions,
  withLog: boolean,
): LoadedObject | string {
  using opened = new OpenedObject(name, file, options, withLog);
  const result = opened.load();
  if (result < 0) return `${errnoName(result)}\n${opened.log}`;
  return opened.take(maps, programs);
}

/** An object file that libbpf has read and that is set up as wished; the kernel has it with `load`. */
class OpenedObject {
  readonly #name: string;
  readonly #lib = library();
  readonly #object: number;
  readonly #file: NativeBuffer;
  readonly #log: NativeBuffer | undefined;

  constructor(name: string, file: Uint8Array, options: LoadOptions & { without?: readonly string[] }, withLog = false) {
    this.#name = name;
    this.#file = NativeBuffer.alloc(file.length);
    this.#file.bytes.set(file);
    this.#log = withLog ? NativeBuffer.alloc(LOG_BYTES) : undefined;
    using opts = NativeBuffer.alloc(OPTS_SIZE + 64);
    const v = opts.view;
    const pointer = (at: number, address: number) => v.setBigUint64(at, BigInt(address), true);
    opts.bytes.set(Buffer.from(`${name.slice(0, 62)}\0`, 'latin1'), OPTS_SIZE);
    pointer(0, OPTS_SIZE);
    pointer(OPT.name, opts.address + OPTS_SIZE);
    if (this.#log !== undefined) {
      pointer(OPT.logBuffer, this.#log.address);
      pointer(OPT.logSize, LOG_BYTES);
      v.setUint32(OPT.logLevel, 1, true);
    }
    this.#object = this.#lib.openMem(this.#file.address, file.length, opts.address);
    if (this.#object <= 0) {
      const reason = errnoName(errno());
      this.#release();
      throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${name} is not an eBPF object that libbpf can open: ${reason}`);
    }
    try {
      this.#prepare(options);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** @returns 0, or a negative errno */
  load(): number {
    return this.#lib.load(this.#object);
  }

  /** `load` by another thread. */
  loadInBackground(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#lib.load.async(this.#object, (error, result) => (error ? reject(error) : resolve(result)));
    });
  }

  /** The end of what the verifier said. */
  get log(): string {
    if (this.#log === undefined) return '';
    return cString(this.#log.bytes).trimEnd().split('\n').slice(-LOG_LINES).join('\n');
  }

  /** Descriptors of what was loaded. */
  take(maps: readonly string[], programs: readonly string[]): LoadedObject {
    const out: LoadedObject = { maps: new Map(), programs: new Map() };
    for (const m of maps) out.maps.set(m, keep(this.#lib.mapFd(this.#map(m)), this.#name, m));
    for (const p of programs) out.programs.set(p, keep(this.#lib.programFd(this.#program(p)), this.#name, p));
    return out;
  }

  [Symbol.dispose](): void {
    this.#lib.close(this.#object);
    this.#release();
  }

  #release(): void {
    this.#file.close();
    this.#log?.close();
  }

  #map(map: string): number {
    return need(this.#lib.findMap(this.#object, map), this.#name, map);
  }

  #program(program: string): number {
    return need(this.#lib.findProgram(this.#object, program), this.#name, program);
  }

  #prepare(options: LoadOptions & { without?: readonly string[] }): void {
    const lib = this.#lib;
    const must = (result: number, what: string) => {
      if (result < 0) throw new WeftSysError('WEFT_SYS_BPF_LOAD', `${this.#name}: ${what}: ${errnoName(result)}`);
    };
    for (const [m, entries] of Object.entries(options.maxEntries ?? {}))
      must(lib.setMaxEntries(this.#map(m), entries), `entries of ${m}`);
    for (const m of options.pin?.maps ?? [])
      must(lib.setPinPath(this.#map(m), `${options.pin!.directory}/${m}`), `pin path of ${m}`);
    for (const p of options.without ?? []) must(lib.setAutoload(this.#program(p), 0), `autoload of ${p}`);
    if (options.rodata) {
      using data = NativeBuffer.alloc(options.rodata.length);
      data.bytes.set(options.rodata);
      const result = lib.setInitialValue(this.#map('.rodata'), data.address, options.rodata.length);
      must(result, 'initial value of .rodata');
    }
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
