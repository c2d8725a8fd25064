/**
 * The client's side of SASL DIGEST-MD5 (RFC 2831) as ZooKeeper's servers speak it: quality of protection `auth`, algorithm
 * `md5-sess`. Both ends prove that they know the password; it does not cross the wire.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { ZooKeeperError } from '../errors.ts';

export interface DigestMd5Options {
  readonly user: string;
  readonly password: string;
  /** Chosen by the client; at least 64 bits of randomness as text. */
  readonly clientNonce: string;
  /** Service and host of the digest-uri; the defaults are what Apache ZooKeeper's servers expect. */
  readonly service?: string | undefined;
  readonly host?: string | undefined;
  /** Instead of the one that the server names. */
  readonly realm?: string | undefined;
}

/** RFC 2831, 2.1.1 and 2.1.3: longer ones are refused. */
const MAX_CHALLENGE = 2048;

export class DigestMd5 {
  readonly #options: DigestMd5Options;
  #state: 'start' | 'challenged' | 'done' = 'start';
  #expected = '';

  constructor(options: DigestMd5Options) {
    this.#options = options;
  }

  /** Both sides are convinced. */
  get done(): boolean {
    return this.#state === 'done';
  }

  /** The first message: the client has nothing to say before the server's challenge. */
  start(): Buffer {
    return Buffer.alloc(0);
  }

  /** What to answer to the server's message; undefined when the exchange is complete. Throws WEFT_ZK_AUTH_FAILED. */
  step(message: Buffer): Buffer | undefined {
    const fields = parseFields(message);
    if (this.#state === 'start') {
      this.#state = 'challenged';
      return this.#respond(fields);
    }
    const proof = fields.get('rspauth') ?? '';
    if (this.#state === 'done' || !sameText(proof, this.#expected))
      throw failed('the server does not know the password');
    this.#state = 'done';
    return undefined;
  }

  #respond(challenge: ReadonlyMap<string, string>): Buffer {
    const { user, password, clientNonce, service = 'zookeeper', host = 'zk-sasl-md5' } = this.#options;
    const nonce = challenge.get('nonce');
    if (nonce === undefined || challenge.get('algorithm') !== 'md5-sess')
      throw failed('the challenge is not DIGEST-MD5');
    const offered = (challenge.get('qop') ?? 'auth').split(',').map((word) => word.trim());
    if (!offered.includes('auth')) throw failed(`the server asks for quality of protection "${offered.join(',')}"`);
    const utf8 = challenge.get('charset') === 'utf-8';
    const realm = this.#options.realm ?? challenge.get('realm') ?? '';
    const uri = `${service}/${host}`;
    const credentials = md5(join(hashForm(user, utf8), ':', hashForm(realm, utf8), ':', hashForm(password, utf8)));
    const a1 = md5(join(credentials, `:${nonce}:${clientNonce}`)).toString('hex');
    const digest = (method: string) =>
      md5(`${a1}:${nonce}:00000001:${clientNonce}:auth:${md5(`${method}:${uri}`).toString('hex')}`).toString('hex');
    this.#expected = digest('');
    const fields = [
      ...(utf8 ? ['charset=utf-8'] : []),
      `username=${quote(user)}`,
      `realm=${quote(realm)}`,
      `nonce=${quote(nonce)}`,
      'nc=00000001',
      `cnonce=${quote(clientNonce)}`,
      `digest-uri=${quote(uri)}`,
      'maxbuf=65536',
      `response=${digest('AUTHENTICATE')}`,
      'qop=auth',
    ];
    return Buffer.from(fields.join(','), utf8 ? 'utf8' : 'latin1');
  }
}

/** `name=value,name="quoted \"value\"",…`; a name that comes twice keeps its first value (of `realm` one has to be chosen). */
function parseFields(message: Buffer): Map<string, string> {
  if (message.length > MAX_CHALLENGE) throw failed('the challenge is too long');
  const text = message.toString('utf8');
  const fields = new Map<string, string>();
  const field = /[\s,]*([A-Za-z0-9-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)/y;
  while (field.lastIndex < text.length) {
    const match = field.exec(text);
    if (match === null) throw failed('the challenge cannot be read');
    const name = match[1].toLowerCase();
    if (!fields.has(name)) fields.set(name, match[2]?.replace(/\\(.)/g, '$1') ?? match[3]);
  }
  return fields;
}

/** RFC 2831, 2.1.2.1: under charset=utf-8 what fits into ISO 8859-1 is hashed as such. */
function hashForm(text: string, utf8: boolean): Buffer {
  const isLatin1 = [...text].every((character) => character.codePointAt(0)! <= 0xff);
  return Buffer.from(text, utf8 && !isLatin1 ? 'utf8' : 'latin1');
}

function md5(data: string | Buffer): Buffer {
  try {
    return createHash('md5').update(data).digest();
  } catch (cause) {
    throw new ZooKeeperError('WEFT_ZK_AUTH_FAILED', 'SASL: this Node.js has no MD5', { cause });
  }
}

const join = (...parts: readonly (string | Buffer)[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part as string)));
const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;
const failed = (why: string) => new ZooKeeperError('WEFT_ZK_AUTH_FAILED', `SASL: ${why}`);

function sameText(a: string, b: string): boolean {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  return left.length === right.length && timingSafeEqual(left, right);
}
