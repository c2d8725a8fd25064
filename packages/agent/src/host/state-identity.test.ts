/** Who a host is to its peers, over starts, lost files and clocks that run back. */
import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stateIdentity } from './state-identity.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-identity-'));
after(() => rmSync(root, { recursive: true }));

const fresh = (): string => mkdtempSync(join(root, 'state-'));
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** DER of an X25519 private key before its 32 bytes (RFC 8410 §7). */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

test('the keys are an X25519 pair, kept for its owner only, and the same at the next start', () => {
  const dir = fresh();
  const first = stateIdentity(dir);
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, first.privateKey]), format: 'der', type: 'pkcs8' });
  const der = createPublicKey(key).export({ format: 'der', type: 'spki' });
  assert.equal(hex(first.publicKey), hex(der.subarray(-32)));
  assert.equal(statSync(join(dir, 'flow-state-key')).mode & 0o777, 0o600);
  const second = stateIdentity(dir);
  assert.equal(hex(second.privateKey), hex(first.privateKey));
  assert.equal(hex(second.publicKey), hex(first.publicKey));
  assert.notEqual(hex(stateIdentity(fresh()).publicKey), hex(first.publicKey));
});

test('the incarnation rises with every start, also many in one second', () => {
  const dir = fresh();
  let last = 0;
  for (let i = 0; i < 20; i++) {
    const { incarnation } = stateIdentity(dir);
    assert.ok(incarnation > last, `${incarnation} after ${last}`);
    last = incarnation;
  }
});

test('a clock that runs back does not lower it, and a lost file does not while the clock is right', () => {
  const dir = fresh();
  writeFileSync(join(dir, 'incarnation'), '4000000000\n');
  assert.equal(stateIdentity(dir).incarnation, 4_000_000_001);
  const now = Math.floor(Date.now() / 1000);
  assert.ok(stateIdentity(fresh()).incarnation >= now);
});

test('an incarnation that is none counts for nothing', () => {
  for (const text of ['', 'x', '-1', '1e99', 'NaN', '4294967295', '99999999999']) {
    const dir = fresh();
    writeFileSync(join(dir, 'incarnation'), text);
    const { incarnation } = stateIdentity(dir);
    assert.ok(Number.isInteger(incarnation) && Math.abs(incarnation - Date.now() / 1000) < 60, text);
    assert.equal(readFileSync(join(dir, 'incarnation'), 'utf8'), `${incarnation}\n`);
  }
});

test('a key file with something else in it is refused, and named', () => {
  for (const text of ['', 'x'.repeat(128), 'ab'.repeat(63), `${'ab'.repeat(64)}\n\n`]) {
    const dir = fresh();
    writeFileSync(join(dir, 'flow-state-key'), text);
    assert.throws(
      () => stateIdentity(dir),
      (error: Error & { code?: string }) =>
        error.code === 'WEFT_AGENT_CONFIG' && error.message.includes(join(dir, 'flow-state-key')),
      JSON.stringify(text),
    );
  }
});
