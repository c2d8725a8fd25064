/** A store's whole content as records, the same of every back end. */
import { NsdbError } from '../errors.ts';

/** Meta key: content is being loaded; what has it, and not empty, is no store yet. */
export const LOADING = 'loading';
/** Meta keys `away/<host>`: since when a host is away from this store. Nothing to another. */
export const AWAY = 'away/';

export const unfinished = (): NsdbError =>
  new NsdbError('WEFT_STORE_FORMAT', 'Loading this store was interrupted; load it anew, into an empty place');

export type StoreRecord =
  | { readonly kind: 'node'; readonly path: string; readonly json: string }
  | {
      readonly kind: 'entry';
      readonly table: string;
      readonly key: string;
      readonly value: string;
      readonly owner: string | null;
    }
  | { readonly kind: 'meta'; readonly key: string; readonly value: string }
  | { readonly kind: 'sequence'; readonly name: string; readonly next: number };

/** All of a store at one revision. */
export interface StoreImage {
  readonly generation: string;
  readonly revision: number;
  readonly records: readonly StoreRecord[];
  /** What takes room and counts for nothing: tombstones, entries of tables that were dropped. */
  readonly garbage: number;
}

/** What a store holds at one revision, read as it is asked for; a record after the other, as often as wanted, until `close`. */
export interface StoreContent {
  readonly generation: string;
  readonly revision: number;
  readonly records: Iterable<StoreRecord>;
  readonly garbage: number;
  close(): Promise<void>;
}

/** What `weft store` needs of a back end beside the contract. */
export interface Transferable {
  /** The whole content, as of one revision also while others write. In memory. `onProgress` is told how much has been read. */
  image(onProgress?: (read: number) => void): Promise<StoreImage>;
  /** Has a sequence go on at `next`, unless it is beyond that. */
  setSequence(name: string, next: number): Promise<void>;
}
