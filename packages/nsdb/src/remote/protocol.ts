/**
 * What client and server say to each other.
 *
 * The server speaks first (`Hello`). The client sends requests (with `i`, answered in any order) and notes (without). A
 * subscription's next batch is sent only after the previous one was acknowledged: while a client is busy its changes are
 * merged in the server, and a slow client costs bounded memory.
 */
import type { Batch } from '../contract.ts';
import { NsdbError, type Violation } from '../errors.ts';

export const PROTOCOL = 'weft-nsdb/2';
/** Longest message that the server takes: a transaction's largest value, with room. */
export const MAX_REQUEST = 16 * 2 ** 20;
/** Longest message that the client takes: the content of a large table. */
export const MAX_REPLY = 512 * 2 ** 20;

export interface Hello {
  readonly hello: string;
  readonly generation: string;
  /** Grace time of hosts' sessions, ms; absent: of a server that does not say. */
  readonly grace?: number;
  /** It knows `session.keep`. */
  readonly keeps?: boolean;
}

/** `m` method, `p` parameters, `i` id of a request. */
export interface Request {
  readonly i?: number;
  readonly m: string;
  readonly p: readonly unknown[];
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly violations?: readonly Violation[];
}

export type Reply =
  | { readonly i: number; readonly r?: unknown }
  | { readonly i: number; readonly e: WireError }
  /** A batch of subscription `s`, sent after the client's add and remove messages up to number `q`. */
  | { readonly s: number; readonly q: number; readonly b: Batch };

/** Answer to `session.attach`. */
export type AttachResult = 'ok' | 'superseded' | 'expired';

export function toWire(error: unknown): WireError {
  if (error instanceof NsdbError)
    return {
      code: error.code,
      message: error.message,
      ...(error.violations.length > 0 ? { violations: error.violations } : {}),
    };
  return { code: 'WEFT_STORE_FAILED', message: error instanceof Error ? error.message : String(error) };
}

export function fromWire({ code, message, violations }: WireError): NsdbError {
  return NsdbError.of(String(code), String(message), violations ?? []);
}
