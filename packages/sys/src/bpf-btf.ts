/** What an eBPF object file says of its types: just enough of ELF64 and BTF (Documentation/bpf/btf.rst) for layouts and variables. */
import { createHash } from 'node:crypto';
import { WeftSysError } from './errors.ts';
import { cString } from './libc.ts';

const BTF_MAGIC = 0xeb9f;
const SHT_NOBITS = 8;
const KIND = {
  INT: 1,
  PTR: 2,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FWD: 7,
  TYPEDEF: 8,
  VOLATILE: 9,
  CONST: 10,
  RESTRICT: 11,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
  FLOAT: 16,
  DECL_TAG: 17,
  TYPE_TAG: 18,
  ENUM64: 19,
} as const;

type Member = { name: string; type: number; offset: number };
type BtfType = { kind: number; name: string; size: number; type: number; count: number; members: Member[] };

function malformed(what: string): WeftSysError {
  return new WeftSysError('WEFT_SYS_PROTOCOL', `eBPF object: ${what}`);
}

/** A record as C lays it out: its bytes, and name, offset and size in bytes of each member. A scalar has none. */
export interface CStruct {
  readonly size: number;
  readonly fields: readonly (readonly [name: string, offset: number, size: number])[];
}

/** What an object says of one of its maps. */
export interface MapShape {
  readonly key: CStruct;
  readonly value: CStruct;
  readonly entries: number;
}

type Section = { name: string; link: number; bytes: Uint8Array };

function elfSections(file: Uint8Array): Section[] {
  const v = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 64 || v.getUint32(0, false) !== 0x7f454c46 || file[4] !== 2 || file[5] !== 1) {
    throw malformed('not a 64-bit little-endian ELF file');
  }
  const table = Number(v.getBigUint64(40, true));
  const size = v.getUint16(58, true);
  const count = v.getUint16(60, true);
  const namesIndex = v.getUint16(62, true);
  if (size < 64 || table + size * count > file.length || namesIndex >= count) throw malformed('section table');
  const range = (i: number): Uint8Array => {
    const at = table + i * size;
    const from = Number(v.getBigUint64(at + 24, true));
    const length = Number(v.getBigUint64(at + 32, true));
    if (v.getUint32(at + 4, true) === SHT_NOBITS) return new Uint8Array(0);
    if (from + length > file.length) throw malformed('section outside the file');
    return file.subarray(from, from + length);
  };
  const names = range(namesIndex);
  return Array.from({ length: count }, (_, i) => ({
    name: cString(names, v.getUint32(table + i * size, true)),
    link: v.getUint32(table + i * size + 40, true),
    bytes: range(i),
  }));
}

/** Bytes of a named section of an ELF64 little-endian file. Throws WEFT_SYS_PROTOCOL. */
export function elfSection(file: Uint8Array, name: string): Uint8Array {
  const found = elfSections(file).find((s) => s.name === name);
  if (!found) throw malformed(`no section ${name}`);
  return found.bytes;
}

/** Name → offset in bytes of every symbol of a section (the variables of `.rodata`). Throws WEFT_SYS_PROTOCOL. */
export function elfSymbols(file: Uint8Array, section: string): Map<string, number> {
  const sections = elfSections(file);
  const index = sections.findIndex((s) => s.name === section);
  const table = sections.find((s) => s.name === '.symtab');
  const strings = table && sections[table.link];
  if (index < 0 || !table || !strings) throw malformed(`no symbols of ${section}`);
  const v = new DataView(table.bytes.buffer, table.bytes.byteOffset, table.bytes.byteLength);
  const out = new Map<string, number>();
  for (let at = 0; at + 24 <= table.bytes.length; at += 24) {
    if (v.getUint16(at + 6, true) !== index) continue;
    out.set(cString(strings.bytes, v.getUint32(at, true)), Number(v.getBigUint64(at + 8, true)));
  }
  return out;
}

/** The types of an object file. */
export class Btf {
  readonly #types: BtfType[] = [{ kind: 0, name: 'void', size: 0, type: 0, count: 0, members: [] }];

  /** Parses section .BTF of an object file. Throws WEFT_SYS_PROTOCOL. */
  static ofObject(file: Uint8Array): Btf {
    return new Btf(elfSection(file, '.BTF'));
  }

  constructor(section: Uint8Array) {
    const v = new DataView(section.buffer, section.byteOffset, section.byteLength);
    if (section.length < 24 || v.getUint16(0, true) !== BTF_MAGIC) throw malformed('bad BTF');
    const start = v.getUint32(4, true);
    const types = start + v.getUint32(8, true);
    const end = types + v.getUint32(12, true);
    const strings = start + v.getUint32(16, true);
    if (end > section.length || strings + v.getUint32(20, true) > section.length) throw malformed('BTF cut short');
    const text = (offset: number) => cString(section, strings + offset);
    let at = types;
    while (at + 12 <= end) {
      const head = v.getUint32(at + 4, true);
      const kind = (head >>> 24) & 0x1f;
      const vlen = head & 0xffff;
      const bitfields = head >>> 31 === 1;
      const sizeOrType = v.getUint32(at + 8, true);
      const t: BtfType = {
        kind,
        name: text(v.getUint32(at, true)),
        size: sizeOrType,
        type: sizeOrType,
        count: 0,
        members: [],
      };
      at += 12;
      if (kind === KIND.INT || kind === KIND.VAR || kind === KIND.DECL_TAG) at += 4;
      else if (kind === KIND.ARRAY) {
        t.type = v.getUint32(at, true);
        t.count = v.getUint32(at + 8, true);
        at += 12;
      } else if (kind === KIND.STRUCT || kind === KIND.UNION || kind === KIND.DATASEC) {
        for (let i = 0; i < vlen; i++, at += 12) {
          if (at + 12 > end) throw malformed('BTF cut short');
          if (kind === KIND.DATASEC) {
            t.members.push({ name: '', type: v.getUint32(at, true), offset: v.getUint32(at + 4, true) });
          } else {
            const offset = v.getUint32(at + 8, true);
            const bits = bitfields ? `:${offset >>> 24}` : '';
            const name = text(v.getUint32(at, true)) + bits;
            t.members.push({ name, type: v.getUint32(at + 4, true), offset: bitfields ? offset & 0xffffff : offset });
          }
        }
      } else if (kind === KIND.ENUM || kind === KIND.FUNC_PROTO) at += 8 * vlen;
      else if (kind === KIND.ENUM64) at += 12 * vlen;
      this.#types.push(t);
    }
  }

  #get(id: number): BtfType {
    const t = this.#types[id];
    if (t === undefined) throw malformed(`BTF type ${id}`);
    return t;
  }

  /** Text of a type's layout: fields with offsets, to the last scalar. */
  #layout(id: number, depth: number): string {
    if (depth > 16) throw malformed('BTF nested too deeply');
    const t = this.#get(id);
    switch (t.kind) {
      case KIND.TYPEDEF:
      case KIND.CONST:
      case KIND.VOLATILE:
      case KIND.RESTRICT:
      case KIND.TYPE_TAG:
        return this.#layout(t.type, depth + 1);
      case KIND.PTR:
        return depth === 0 ? this.#layout(t.type, 1) : '*';
      case KIND.ARRAY:
        return `[${t.count}]${this.#layout(t.type, depth + 1)}`;
      case KIND.STRUCT:
      case KIND.UNION: {
        const fields = t.members.map((m) => `${m.name}@${m.offset}:${this.#layout(m.type, depth + 1)}`);
        return `${t.name}/${t.size}{${fields.join(',')}}`;
      }
      default:
        return `${t.name}/${t.size}`;
    }
  }

  /** Name → text of type, key and value of each map in section .maps. */
  mapLayouts(): Map<string, string> {
    const out = new Map<string, string>();
    const maps = this.#types.find((t) => t.kind === KIND.DATASEC && t.name === '.maps');
    for (const { type } of maps?.members ?? []) {
      const variable = this.#get(type);
      const parts: string[] = [];
      for (const m of this.#get(variable.type).members) {
        // __uint(name, n) is a pointer to an array of n, __type(name, t) a pointer to t.
        if (m.name === 'max_entries') continue;
        parts.push(`${m.name}=${this.#layout(m.type, 0)}`);
      }
      out.set(variable.name, parts.sort().join(' '));
    }
    return out;
  }

  /** Bytes of a type. */
  #sizeOf(id: number, depth = 0): number {
    if (depth > 16) throw malformed('BTF nested too deeply');
    const t = this.#get(id);
    switch (t.kind) {
      case KIND.TYPEDEF:
      case KIND.CONST:
      case KIND.VOLATILE:
      case KIND.RESTRICT:
      case KIND.TYPE_TAG:
        return this.#sizeOf(t.type, depth + 1);
      case KIND.PTR:
        return 8;
      case KIND.ARRAY:
        return t.count * this.#sizeOf(t.type, depth + 1);
      default:
        return t.size;
    }
  }

  /** The type that a pointer points to, without its names and qualifiers. */
  #target(pointer: number): number {
    let id = this.#get(pointer).type;
    const transparent: number[] = [KIND.TYPEDEF, KIND.CONST, KIND.VOLATILE, KIND.RESTRICT, KIND.TYPE_TAG];
    for (let i = 0; i < 16 && transparent.includes(this.#get(id).kind); i++) id = this.#get(id).type;
    return id;
  }

  #struct(id: number): CStruct {
    const t = this.#get(id);
    const members = t.kind === KIND.STRUCT ? t.members : [];
    return {
      size: this.#sizeOf(id),
      fields: members.map((m) => [m.name, m.offset / 8, this.#sizeOf(m.type)]),
    };
  }

  /** Name → key, value and entries of each map in section .maps that has a key and a value. Throws WEFT_SYS_PROTOCOL. */
  mapShapes(): Map<string, MapShape> {
    const out = new Map<string, MapShape>();
    const maps = this.#types.find((t) => t.kind === KIND.DATASEC && t.name === '.maps');
    for (const { type } of maps?.members ?? []) {
      const variable = this.#get(type);
      const members = new Map(this.#get(variable.type).members.map((m) => [m.name, m.type]));
      const [key, value, entries] = ['key', 'value', 'max_entries'].map((name) => members.get(name));
      if (key === undefined || value === undefined || entries === undefined) continue;
      out.set(variable.name, {
        key: this.#struct(this.#target(key)),
        value: this.#struct(this.#target(value)),
        entries: this.#get(this.#target(entries)).count,
      });
    }
    return out;
  }

  /** Hash over the layouts of all maps: 16 hex digits. Sizes that the loader chooses are not part of it. */
  layoutHash(extra = ''): string {
    const text = [...this.mapLayouts()].map(([name, layout]) => `${name} ${layout}\n`).sort();
    return createHash('sha256').update(text.join('')).update(extra).digest('hex').slice(0, 16);
  }
}
