import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Mac } from './mac.ts';

test('RFC 4231, test cases 1 and 2', () => {
  const first = new Mac(new Uint8Array(20).fill(0x0b));
  const hex = (mac: Mac, text: string) => Buffer.from(mac.of(Buffer.from(text), text.length)).toString('hex');
  assert.equal(hex(first, 'Hi There'), 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7');
  const second = new Mac(new Uint8Array(Buffer.from('Jefe')));
  assert.equal(
    hex(second, 'what do ya want for nothing?'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
});

test('the same as the HMAC of node:crypto, message after message of every length of a datagram', () => {
  const key = randomBytes(32);
  const mac = new Mac(new Uint8Array(key));
  const message = randomBytes(1400);
  for (let length = 0; length <= message.length; length++) {
    const expected = createHmac('sha256', key).update(message.subarray(0, length)).digest();
    assert.deepEqual(Buffer.from(mac.of(message, length)), expected, `${length} bytes`);
  }
});
