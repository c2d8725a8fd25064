/** What the client's errors mean to callers of the database. */
import { isZooKeeperError } from '@weft/zookeeper';
import { NsdbError } from '../errors.ts';

/** An error of the ZooKeeper client as the database's. Others are passed on. */
export function toNsdbError(error: unknown): unknown {
  if (!isZooKeeperError(error)) return error;
  const because = { cause: error };
  if (error.outcomeUnknown) return new NsdbError('WEFT_OUTCOME_UNKNOWN', undefined, [], because);
  switch (error.code) {
    case 'WEFT_ZK_TOO_LARGE':
      return new NsdbError('WEFT_TOO_LARGE', 'ZooKeeper takes no request this large', [], because);
    case 'WEFT_ZK_NO_AUTH':
    case 'WEFT_ZK_AUTH_FAILED':
      return new NsdbError('WEFT_STORE_DENIED', error.path, [], because);
    case 'WEFT_ZK_CONNECTION_LOST':
    case 'WEFT_ZK_SESSION_EXPIRED':
    case 'WEFT_ZK_UNREACHABLE':
    case 'WEFT_ZK_TIMEOUT':
    case 'WEFT_ZK_BUSY':
    case 'WEFT_ZK_CLOSED':
      return new NsdbError('WEFT_STORE_AWAY', undefined, [], because);
    default:
      return new NsdbError('WEFT_STORE_FAILED', error.message, [], because);
  }
}

/** The same for calls that can be repeated: an answer that was lost is no different from a store that is away. */
export function toRepeatable(error: unknown): unknown {
  const failure = toNsdbError(error);
  return failure instanceof NsdbError && failure.code === 'WEFT_OUTCOME_UNKNOWN'
    ? new NsdbError('WEFT_STORE_AWAY', undefined, [], { cause: error })
    : failure;
}
