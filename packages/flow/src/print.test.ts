import assert from 'node:assert/strict';
import { test } from 'node:test';
import { udpFrame } from '@weft/packet';
import { ACTION_SIZE, dropReason, OUT_DROP, OUT_TUNNEL } from './action.ts';
import { compileAction } from './build-action.ts';
import { extractKey, newFrameLayout } from './extract.ts';
import { K_ETH_DST, KEY_SIZE } from './key.ts';
import { printAction, printKey } from './print.ts';

const frame = udpFrame({
  ethSrc: '02:00:00:00:00:01',
  ethDst: '02:00:00:00:00:02',
  vlan: 5,
  src: '10.0.0.1',
  dst: '10.0.0.2',
  srcPort: 7,
  dstPort: 53,
  payload: new Uint8Array(2),
});
const key = new Uint8Array(KEY_SIZE);
extractKey(frame, frame.length, 9, 0, key, 0, newFrameLayout());

test('a key is printed as far as its mask class reaches', () => {
  const l2 = 'in_port=9,ip,dl_vlan=5,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02';
  assert.equal(printKey(key, 0), l2);
  assert.equal(printKey(key, 1), `${l2},nw_dst=10.0.0.2`);
  assert.equal(printKey(key, 5), `${l2},nw_src=10.0.0.1,nw_dst=10.0.0.2,udp,nw_frag=no,tp_src=7,tp_dst=53`);
});

test('an action is printed as rewrite and output', () => {
  const action = new Uint8Array(ACTION_SIZE);
  const final = key.slice();
  final[K_ETH_DST] = 0x06;
  compileAction(key, final, action, { output: OUT_TUNNEL, outPort: 2, tunnelKey: 17, ttlDec: 1 });
  assert.equal(printAction(action), 'dec_ttl(1),set_dl_dst=06:00:00:00:00:02,tunnel(peer=2,key=0x11)');
  compileAction(key, key, action, { output: OUT_DROP, reason: dropReason('no_route') });
  assert.equal(printAction(action), 'drop(no_route)');
});
