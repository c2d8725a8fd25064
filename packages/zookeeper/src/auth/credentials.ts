/** What a client proves who it is with. */
import { randomBytes } from 'node:crypto';
import { ZooKeeperError } from '../errors.ts';
import { DigestMd5 } from './digest-md5.ts';

/** SASL DIGEST-MD5, once per connection, before anything else. */
export interface SaslCredentials {
  readonly scheme: 'sasl';
  readonly user: string;
  readonly password: string;
  /** Instead of the realm that the server names. */
  readonly realm?: string | undefined;
  /** Service and host that the servers were told, if not Apache ZooKeeper's defaults (`zookeeper`, `zk-sasl-md5`). */
  readonly service?: string | undefined;
  readonly host?: string | undefined;
}

/** The scheme `digest`: the password crosses the wire as it is, so use it within TLS. */
export interface DigestCredentials {
  readonly scheme: 'digest';
  readonly user: string;
  readonly password: string;
}

/** Any scheme that the servers have a provider for. */
export interface OtherCredentials {
  readonly scheme: string;
  readonly credential: Uint8Array;
}

/** What is sent with addAuth. */
export type AddedCredentials = DigestCredentials | OtherCredentials;

export type Credentials = SaslCredentials | AddedCredentials;

export const isSasl = (credentials: Credentials): credentials is SaslCredentials =>
  credentials.scheme === 'sasl' && !('credential' in credentials);

/** Scheme and bytes of an auth packet. */
export function authPacket(credentials: AddedCredentials): { scheme: string; credential: Uint8Array } {
  if ('credential' in credentials) return credentials;
  return { scheme: 'digest', credential: Buffer.from(`${credentials.user}:${credentials.password}`) };
}

/** Throws WEFT_ZK_ARGUMENT for what no server could accept. */
export function checkCredentials(all: readonly Credentials[]): void {
  if (all.filter(isSasl).length > 1)
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', 'A connection authenticates once by SASL, not as several users');
  for (const credentials of all) {
    if (credentials.scheme === 'digest' && 'user' in credentials && credentials.user.includes(':'))
      throw new ZooKeeperError('WEFT_ZK_ARGUMENT', 'A user of the scheme digest has no ":" in its name');
  }
}

/** A new exchange for a new connection. */
export function startSasl(credentials: SaslCredentials): DigestMd5 {
  return new DigestMd5({ ...credentials, clientNonce: randomBytes(24).toString('base64') });
}
