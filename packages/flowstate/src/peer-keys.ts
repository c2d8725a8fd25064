import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  timingSafeEqual,
} from 'node:crypto';
import { FlowStateError } from './errors.ts';
import { Mac } from './mac.ts';
import { TAG_SIZE } from './wire/header.ts';

/** DER around the 32 bytes of an X25519 key (RFC 8410): PKCS #8 and SubjectPublicKeyInfo. */
const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

/** A new X25519 key pair: 32 bytes each. The private one stays on its host, the public one is published. */
export function newHostKeys(): { privateKey: Uint8Array; publicKey: Uint8Array } {
  const pair = generateKeyPairSync('x25519');
  const tail = (der: Buffer) => new Uint8Array(der.subarray(der.length - 32));
  return {
    privateKey: tail(pair.privateKey.export({ format: 'der', type: 'pkcs8' })),
    publicKey: tail(pair.publicKey.export({ format: 'der', type: 'spki' })),
  };
}

/**
 * The keys of a pair of hosts: the shared secret of their X25519 keys (RFC 7748), spread by HKDF-SHA256 (RFC 5869) with both UUIDs
 * into one key per direction, so that no datagram can be sent back to who sent it. Datagrams carry HMAC-SHA256 (RFC 2104),
 * cut to 16 bytes, over all before it: header with both incarnations and sequence number, and body.
 */
export class PeerKeys {
  private readonly sendMac: Mac;
  private readonly receiveMac: Mac;

  /**
   * @param privateKey of this host, 32 bytes
   * @param peerPublicKey of the other, 32 bytes
   * @param self,peer UUIDs, 16 bytes each
   * @throws FlowStateError for keys that are none, also the points of small order
   */
  constructor(privateKey: Uint8Array, peerPublicKey: Uint8Array, self: Uint8Array, peer: Uint8Array) {
    const secret = agree(privateKey, peerPublicKey);
    this.sendMac = new Mac(derive(secret, self, peer));
    this.receiveMac = new Mac(derive(secret, peer, self));
    secret.fill(0);
  }

  /** Writes the authentication of `bytes[0 … length]` behind it. Returns the length with it. */
  seal(bytes: Uint8Array, length: number): number {
    const tag = this.sendMac.of(bytes, length);
    for (let i = 0; i < TAG_SIZE; i++) bytes[length + i] = tag[i];
    return length + TAG_SIZE;
  }

  /** Whether the last 16 of the `length` bytes authenticate those before them. */
  verify(bytes: Uint8Array, length: number): boolean {
    const end = length - TAG_SIZE;
    if (end < 0 || length > bytes.length) return false;
    const tag = this.receiveMac.of(bytes, end);
    return timingSafeEqual(tag.subarray(0, TAG_SIZE), bytes.subarray(end, length));
  }
}

function agree(privateKey: Uint8Array, publicKey: Uint8Array): Buffer {
  if (privateKey.length !== 32 || publicKey.length !== 32) {
    throw new FlowStateError('WEFT_FLOWSTATE_KEY', 'An X25519 key has 32 bytes.');
  }
  try {
    return diffieHellman({
      privateKey: createPrivateKey({
        key: Buffer.concat([PRIVATE_PREFIX, privateKey]),
        format: 'der',
        type: 'pkcs8',
      }),
      publicKey: createPublicKey({ key: Buffer.concat([PUBLIC_PREFIX, publicKey]), format: 'der', type: 'spki' }),
    });
  } catch (error) {
    throw new FlowStateError('WEFT_FLOWSTATE_KEY', `The X25519 key of a peer cannot be used: ${String(error)}`);
  }
}

function derive(secret: Buffer, from: Uint8Array, to: Uint8Array): Uint8Array {
  const info = Buffer.concat([Buffer.from('weft flow state 1'), from, to]);
  return new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(0), info, 32));
}
