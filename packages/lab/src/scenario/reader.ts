/** Reads YAML nodes as typed values. Whatever is not as expected is reported with line, column and path of the field. */
import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node } from 'yaml';
import { LabError } from '../errors.ts';

/** Elements of one list or mapping; far above any lab that fits one machine. */
const MAX_ELEMENTS = 10_000;

/** Where a document came from, for messages. */
export interface Source {
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

/** One node of the document, with its path (`tenants[0].vms[2].mac`). */
export class Reader {
  readonly path: string;
  readonly #node: Node | null;
  readonly #source: Source;

  constructor(source: Source, node: Node | null, path: string) {
    this.#source = source;
    this.#node = isAlias(node) ? ((node.resolve(source.document) as Node | undefined) ?? null) : node;
    this.path = path;
  }

  /** Throws WEFT_SCENARIO at this place. */
  fail(expected: string): never {
    const offset = this.#node?.range?.[0] ?? 0;
    const { line, col } = this.#source.lines.linePos(offset);
    const field = this.path === '' ? 'the file' : this.path;
    throw new LabError('WEFT_SCENARIO', `${this.#source.file}:${line}:${col}: ${field} ${expected}`);
  }

  /** This place under the name of a field that is not there, for messages. */
  named(field: string): Reader {
    return new Reader(this.#source, this.#node, `${this.path}.${field}`);
  }

  isMap(): boolean {
    return isMap(this.#node);
  }

  string(pattern?: RegExp, expected = 'must be a string'): string {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    if (typeof value !== 'string' || (pattern && !pattern.test(value))) this.fail(expected);
    return value;
  }

  oneOf<const T extends string>(choices: readonly T[]): T {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    if (!choices.includes(value as T)) this.fail(`must be one of: ${choices.join(', ')}`);
    return value as T;
  }

  integer(minimum: number, maximum: number): number {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    if (!Number.isInteger(value) || (value as number) < minimum || (value as number) > maximum) {
      this.fail(`must be a whole number from ${minimum} to ${maximum}`);
    }
    return value as number;
  }

  boolean(): boolean {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    if (typeof value !== 'boolean') this.fail('must be true or false');
    return value;
  }

  /** A string in its canonical spelling. */
  canonical(canonicalize: (text: string) => string | undefined, expected: string): string {
    const value = isScalar(this.#node) ? this.#node.value : undefined;
    const canonical = typeof value === 'string' ? canonicalize(value) : undefined;
    return canonical ?? this.fail(expected);
  }

  list(): Reader[] {
    const node = this.#node;
    if (!isSeq(node)) this.fail('must be a list');
    if (node.items.length > MAX_ELEMENTS) this.fail(`must have at most ${MAX_ELEMENTS} elements`);
    return node.items.map((item, i) => new Reader(this.#source, item as Node | null, `${this.path}[${i}]`));
  }

  /** A mapping with these fields and no others. */
  map<const K extends string>(allowed: readonly K[]): Fields<K> {
    const fields = this.#entries();
    for (const [key, reader] of fields) {
      if (!(allowed as readonly string[]).includes(key)) {
        reader.fail(`is not a field here; the fields are: ${allowed.join(', ')}`);
      }
    }
    return new Fields(this, fields) as Fields<K>;
  }

  /** A mapping whose other fields are for someone else to understand. */
  openMap(): Fields<string> {
    return new Fields(this, this.#entries());
  }

  /** The plain value of the node, of whatever type. */
  plain(): unknown {
    return this.#node === null ? null : this.#node.toJS(this.#source.document, { maxAliasCount: 100 });
  }

  #entries(): Map<string, Reader> {
    const node = this.#node;
    if (!isMap(node)) this.fail('must be a mapping (field: value)');
    if (node.items.length > MAX_ELEMENTS) this.fail(`must have at most ${MAX_ELEMENTS} fields`);
    const fields = new Map<string, Reader>();
    for (const { key, value } of node.items) {
      const name = isScalar(key) && typeof key.value === 'string' ? key.value : undefined;
      if (name === undefined)
        return new Reader(this.#source, key as Node, `${this.path} (name of a field)`).fail('must be a string');
      const path = this.path === '' ? name : `${this.path}.${name}`;
      // A missing value has no position of its own: point at the key.
      const node = (value ?? key) as Node;
      fields.set(name, new Reader(this.#source, node, path));
    }
    return fields;
  }
}

/** The fields of one mapping. */
export class Fields<K extends string> {
  readonly #owner: Reader;
  readonly #readers: ReadonlyMap<string, Reader>;

  constructor(owner: Reader, readers: ReadonlyMap<string, Reader>) {
    this.#owner = owner;
    this.#readers = readers;
  }

  names(): string[] {
    return [...this.#readers.keys()];
  }

  has(name: K): boolean {
    return this.#readers.has(name);
  }

  /** The field, which must be there. */
  get(name: K): Reader {
    return this.#readers.get(name) ?? this.#owner.fail(`lacks the field "${name}"`);
  }

  optional<T>(name: K, read: (reader: Reader) => T): T | undefined;
  optional<T>(name: K, read: (reader: Reader) => T, fallback: T): T;
  optional<T>(name: K, read: (reader: Reader) => T, fallback?: T): T | undefined {
    const reader = this.#readers.get(name);
    return reader === undefined ? fallback : read(reader);
  }
}
