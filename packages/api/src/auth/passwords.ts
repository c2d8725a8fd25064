/** Passwords: scrypt (RFC 7914), with the parameters in the hash, so that they can be raised without breaking old ones. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { ApiError, invalid } from '../errors.ts';

/** 32 MiB and some 80 ms per attempt. */
const COST = { N: 2 ** 15, r: 8, p: 1 };
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** What a hash in the database may ask for at most: 256 MiB. */
const MAX_MEMORY = 2 ** 28 + 2 ** 20;
/** Attempts at once: each holds its memory and a thread of the pool. */
const AT_ONCE = 2;
const WAITING = 64;

export const MIN_PASSWORD = 10;
export const MAX_PASSWORD = 256;

/** `scrypt:N:r:p:salt:hash`, the last two in base64url. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, salt, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), hash.toString('base64url')].join(':');
}

/**
 * Is it the password? With no hash (no such account) it takes the same time and says no. Rejects with a 503 when too many
 * attempts wait already.
 */
export async function verifyPassword(password: string, stored: string | undefined): Promise<boolean> {
  const { cost, salt, hash } = (stored === undefined ? undefined : parse(stored)) ?? NOBODY;
  const given = await derive(password.slice(0, MAX_PASSWORD + 1), salt, cost);
  return timingSafeEqual(given, hash) && stored !== undefined && hash !== NOBODY.hash;
}

/** Refuses passwords that are too short to withstand guessing, or longer than anybody types. */
export function checkPassword(password: unknown): string {
  if (typeof password !== 'string') throw invalid([{ property: 'password', message: 'is required' }]);
  // Counted as people count: characters.
  const length = [...password].length;
  if (length >= MIN_PASSWORD && length <= MAX_PASSWORD) return password;
  const message = `must have ${MIN_PASSWORD} to ${MAX_PASSWORD} characters`;
  throw invalid([{ property: 'password', message }]);
}

interface Hash {
  readonly cost: typeof COST;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** What an attempt on an unknown name is compared with. */
const NOBODY: Hash = { cost: COST, salt: randomBytes(SALT_BYTES), hash: randomBytes(HASH_BYTES) };

function parse(stored: string): Hash | undefined {
  const [kind, n, r, p, salt = '', hash = ''] = stored.split(':');
  const cost = { N: Number(n), r: Number(r), p: Number(p) };
  const bytes = Buffer.from(hash, 'base64url');
  if (kind !== 'scrypt' || bytes.length !== HASH_BYTES || !Object.values(cost).every(Number.isSafeInteger)) return;
  if (128 * cost.N * cost.r > 2 ** 28 || cost.p > 16) return;
  return { cost, salt: Buffer.from(salt, 'base64url'), hash: bytes };
}

let running = 0;
const queue: (() => void)[] = [];

async function derive(password: string, salt: Buffer, cost: typeof COST): Promise<Buffer> {
  if (running >= AT_ONCE) {
    if (queue.length >= WAITING) {
      throw new ApiError(503, 'WEFT_API_BUSY', 'Too many logins at once. Try again in a moment.');
    }
    await new Promise<void>((resolve) => queue.push(resolve));
  } else running++;
  try {
    return await new Promise<Buffer>((resolve, reject) => {
      // NFC, so that the same letters typed on another system are the same password (RFC 8265 §4.2).
      scrypt(password.normalize('NFC'), salt, HASH_BYTES, { ...cost, maxmem: MAX_MEMORY }, (error, key) =>
        error ? reject(error) : resolve(key),
      );
    });
  } finally {
    const next = queue.shift();
    if (next) next();
    else running--;
  }
}
