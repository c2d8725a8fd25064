import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError } from '../errors.ts';
import { DigestMd5 } from './digest-md5.ts';

/** RFC 2831, section 4. */
const EXAMPLE = {
  user: 'chris',
  password: 'secret',
  clientNonce: 'OA6MHXh6VqTrRk',
  service: 'imap',
  host: 'elwood.innosoft.com',
};
const CHALLENGE = Buffer.from(
  'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8',
);
const PROOF = 'rspauth=ea40f60335c427b5527b84dbabcdfffd';

const isAuthError = (error: unknown) => isZooKeeperError(error, 'WEFT_ZK_AUTH_FAILED');

describe('DIGEST-MD5', () => {
  it('answers as in the example of RFC 2831 and takes its proof', () => {
    const sasl = new DigestMd5(EXAMPLE);
    assert.equal(sasl.start().length, 0);
    const answer = sasl.step(CHALLENGE)!.toString();
    assert.match(answer, /\bresponse=d388dad90d4bbd760a152321f2143af7\b/);
    assert.match(answer, /\bdigest-uri="imap\/elwood.innosoft.com"/);
    assert.equal(sasl.done, false);
    assert.equal(sasl.step(Buffer.from(PROOF)), undefined);
    assert.equal(sasl.done, true);
  });

  it('does not take a server that cannot prove that it knows the password', () => {
    for (const proof of [PROOF.replace('ea40', 'ea41'), 'rspauth=', '', 'rspauth=ea40']) {
      const sasl = new DigestMd5(EXAMPLE);
      sasl.step(CHALLENGE);
      assert.throws(() => sasl.step(Buffer.from(proof)), isAuthError);
      assert.equal(sasl.done, false);
    }
  });

  it('refuses challenges of another kind', () => {
    for (const challenge of [
      '',
      'nonce="x"',
      'algorithm=md5-sess',
      'nonce="x",algorithm=md5',
      'nonce="x",algorithm=md5-sess,qop="auth-int"',
      'nonce="x,algorithm=md5-sess',
      `nonce="${'x'.repeat(2_100)}",algorithm=md5-sess`,
    ])
      assert.throws(() => new DigestMd5(EXAMPLE).step(Buffer.from(challenge)), isAuthError, challenge);
  });

  it('quotes what needs it, and reads what is quoted', () => {
    const sasl = new DigestMd5({ ...EXAMPLE, user: 'a"b\\c' });
    const answer = sasl
      .step(Buffer.from('realm="r\\"1\\\\", nonce="n", algorithm=md5-sess , charset=utf-8'))!
      .toString();
    assert.ok(answer.includes('username="a\\"b\\\\c"'));
    assert.ok(answer.includes('realm="r\\"1\\\\"'));
  });

  it('throws nothing else on any bytes', () => {
    const pieces = fc.constantFrom(
      'nonce="',
      'algorithm=md5-sess',
      'qop="auth',
      '"',
      ',',
      '\\',
      '=',
      'charset=utf-8',
      ' ',
      'x',
    );
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.array(pieces).map((parts) => Buffer.from(parts.join(''))),
    );
    fc.assert(
      fc.property(bytes, bytes, (first, second) => {
        const sasl = new DigestMd5(EXAMPLE);
        try {
          sasl.step(Buffer.from(first));
          sasl.step(Buffer.from(second));
        } catch (error) {
          assert.ok(isAuthError(error));
        }
        assert.equal(sasl.done, false);
      }),
    );
  });
});
