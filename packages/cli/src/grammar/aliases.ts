/**
 * Short names of an interactive session: `bridge0`, and `bridge0:port1` for what is below it. Each scope counts its objects in
 * the order in which the session has come to know them. A number is never given twice.
 */
import { CliError } from '../errors.ts';
import type { Names } from './types.ts';

const ALIAS = /^[a-z]+\d{1,9}(:[a-z]+\d{1,9})*$/;

/** Whether a word looks like an alias. No verb, type or field does. */
export function isAlias(word: string): boolean {
  return ALIAS.test(word);
}

interface Known {
  /** The last part: `port1`. */
  readonly own: string;
  readonly parentId: string;
}

export class Aliases implements Names {
  readonly #byId = new Map<string, Known>();
  /** `<parent's id>/<alias>` → id. Objects below the root have no parent: ''. */
  readonly #byName = new Map<string, string>();
  readonly #next = new Map<string, number>();

  /** Gives an object its alias, once. `prefix` is the alias of its type; `parentId` is '' below the root. */
  discover(prefix: string, id: string, parentId = ''): void {
    if (this.#byId.has(id)) return;
    const scope = `${parentId}/${prefix}`;
    const number = this.#next.get(scope) ?? 0;
    this.#next.set(scope, number + 1);
    this.#byId.set(id, { own: `${prefix}${number}`, parentId });
    this.#byName.set(`${scope}${number}`, id);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  /** A deleted object's alias means nothing any more, and is not given to another. */
  forget(id: string): void {
    const known = this.#byId.get(id);
    if (known === undefined) return;
    this.#byId.delete(id);
    this.#byName.delete(`${known.parentId}/${known.own}`);
  }

  /** `port1` of `bridge0:port1`. */
  ownAlias(id: string): string | undefined {
    return this.#byId.get(id)?.own;
  }

  aliasOf(id: string): string | undefined {
    const known = this.#byId.get(id);
    if (known === undefined) return undefined;
    if (known.parentId === '') return known.own;
    const parent = this.aliasOf(known.parentId);
    return parent === undefined ? undefined : `${parent}:${known.own}`;
  }

  idOf(word: string): string | undefined {
    if (!isAlias(word)) return undefined;
    return word.split(':').reduce((parentId, part) => this.find(part, parentId), '');
  }

  /** Id of the object with this alias below its parent. Throws WEFT_CLI_ALIAS. */
  find(part: string, parentId = ''): string {
    const id = this.#byName.get(`${parentId}/${part}`);
    if (id !== undefined) return id;
    const where = parentId === '' ? '' : ` below ${this.aliasOf(parentId) ?? parentId}`;
    throw new CliError('WEFT_CLI_ALIAS', `User error: nothing is known as ${part}${where} in this session`);
  }

  /** All aliases with their ids, of types with this prefix or of all. */
  *entries(prefix?: string): IterableIterator<[alias: string, id: string]> {
    for (const [id, { own }] of this.#byId) {
      if (prefix !== undefined && own.replace(/\d+$/, '') !== prefix) continue;
      const alias = this.aliasOf(id);
      if (alias !== undefined) yield [alias, id];
    }
  }
}
