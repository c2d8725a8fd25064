import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionQuery, cutRequest } from './connection-requests.ts';

const asked = (text: string) => connectionQuery(new URLSearchParams(text));

test('a query is read field by field, with a limit', () => {
  assert.deepEqual(asked(''), { limit: 1_000 });
  assert.deepEqual(asked('limit=5&protocol=tcp&address=10.0.0.1%3A80'), {
    limit: 5,
    protocol: 'tcp',
    address: '10.0.0.1:80',
  });
});

test('what is misspelt, empty or out of range is refused: it must not mean more than was meant', () => {
  for (const text of ['adress=10.0.0.1', 'protocol=', 'limit=0', 'limit=x', 'limit=1.5', 'limit=100001', 'limit=']) {
    assert.throws(() => asked(text), { code: 'WEFT_AGENT_CONTROL' }, text);
  }
});

test('who ends connections says which', () => {
  assert.deepEqual(cutRequest({ protocol: 'tcp', limit: 7 }), { protocol: 'tcp', limit: 7 });
  for (const body of [{}, { limit: 7 }, { protocol: 6 }, { all: true }, { protocol: 'tcp', limit: '7' }]) {
    assert.throws(() => cutRequest(body), { code: 'WEFT_AGENT_CONTROL' }, JSON.stringify(body));
  }
});
