/** What watches tell. */

/** Something happened to a znode. */
export interface NodeEvent {
  /** `childrenChanged`: a child was added or removed. Recursive watches tell of the child itself instead. */
  readonly type: 'created' | 'deleted' | 'dataChanged' | 'childrenChanged';
  readonly path: string;
  /** The transaction, where the server tells it (3.9 and newer). */
  readonly zxid: bigint | undefined;
}

/** A one-shot watch ends without having fired: it was removed, or the session expired or was closed. */
export interface WatchEnded {
  readonly type: 'removed' | 'lost';
  readonly path: string;
}

/**
 * A persistent watch goes on, but changes may have happened that it did not tell: while there was no connection, or because
 * its reader was too slow. Read again what matters; events behind this one are complete again.
 */
export interface WatchGap {
  readonly type: 'gap';
  readonly reason: 'reconnected' | 'overflow';
  /** Of the watch. */
  readonly path: string;
}

/** Called exactly once. */
export type OneShotWatch = (event: NodeEvent | WatchEnded) => void;

/** What a persistent watch delivers. */
export type WatchEvent = NodeEvent | WatchGap;

/**
 * Calls foreign code in the middle of the client's work: what it throws becomes an uncaught exception, as it would from an
 * event emitter, but only when the client's own state is in order again.
 */
export function callSafely<T>(callback: (value: T) => void, value: T): void {
  try {
    callback(value);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}
