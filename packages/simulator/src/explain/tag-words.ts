/**
 * Flow tags in words. A tag is a hash and cannot be read back; but what a simulation may have consulted can be enumerated from
 * its recording, hashed in turn, and found again.
 */
import {
  addressTag,
  isV4Mapped,
  K_ETH_DST,
  K_ETH_SRC,
  K_IP_DST,
  K_IP_SRC,
  K_VLAN,
  ROUTE_TAG_LENGTHS,
  readU16,
  TAG_ACTIVE,
  TAG_BRIDGE,
  TAG_CHAIN,
  TAG_FLOOD,
  TAG_PORT,
  TAG_PORT_GROUPS,
  TAG_ROUTE,
  TAG_ROUTER,
  tag,
} from '@weft/flow';
import { stateTag, TUPLE_WORDS, tupleOfKey } from '@weft/flowstate';
import { ipFormat, ipParse, macFormat } from '@weft/packet';
import type { StateView } from '../contract.ts';
import * as S from '../simulate/steps.ts';
import { macTag } from '../view/macs.ts';
import { neighbourTag } from '../view/neighbours.ts';
import type { Names } from './names.ts';
import type { StepRecorder } from './step-recorder.ts';
import { explainedTuple, kindName, tupleWords } from './tuple-words.ts';

/** What each tag of a recorded simulation stands for, as far as the recording tells: tag → words. */
export function tagWords(rec: StepRecorder, names: Names, state: StateView): Map<number, string> {
  const words = new Map<number, string>();
  const say = (value: number, text: () => string): void => {
    if (!words.has(value)) words.set(value, text());
  };
  for (let n = 0; n < rec.count; n++) {
    const key = rec.key(n);
    for (const handle of [rec.at[n], handleIn(rec, n)]) if (handle !== 0) ownTags(handle, names, say);
    if (rec.kind[n] === S.STEP_BRIDGE) {
      const bridge = rec.at[n];
      const vlan = readU16(key, K_VLAN) & 0xfff;
      for (const offset of [K_ETH_SRC, K_ETH_DST]) {
        say(macTag(bridge, vlan, key, offset), () => `where ${macFormat(key, offset)} is on ${names.ref(bridge).name}`);
      }
    }
    addressTags(rec, n, names, say);
    if (rec.kind[n] === S.STEP_STATE) connectionTag(rec, n, names, state, say);
  }
  return words;
}

type Say = (value: number, text: () => string) => void;

const tuple = new Int32Array(TUPLE_WORDS);

/** The key of a look-up is that of a packet with the tuple that was looked up. */
function connectionTag(rec: StepRecorder, n: number, names: Names, state: StateView, say: Say): void {
  const device = rec.at[n];
  tupleOfKey(rec.key(n), 0, rec.a[n], state.number(device), tuple, 0);
  const words = () => tupleWords(explainedTuple(tuple, 0, tuple[0]));
  say(stateTag(tuple, 0), () => `whether ${names.ref(device).name} knows the ${kindName(rec.a[n])} ${words()}`);
}

/** The step's second handle, 0 if it has none. */
function handleIn(rec: StepRecorder, n: number): number {
  switch (rec.kind[n]) {
    case S.STEP_LEARN:
    case S.STEP_MAC:
    case S.STEP_SUPPRESS:
    case S.STEP_OUTPUT:
    case S.STEP_JUMP:
      return rec.a[n];
    default:
      return 0;
  }
}

function ownTags(handle: number, names: Names, say: Say): void {
  const { name } = names.ref(handle);
  say(tag(TAG_PORT, handle), () => name);
  say(tag(TAG_BRIDGE, handle), () => name);
  say(tag(TAG_ROUTER, handle), () => name);
  say(tag(TAG_CHAIN, handle), () => name);
  say(tag(TAG_FLOOD, handle), () => `the ports of ${name}`);
  say(tag(TAG_ACTIVE, handle), () => `whether ${name} is active`);
  say(tag(TAG_PORT_GROUPS, handle), () => `the groups of ${name}`);
}

function addressTags(rec: StepRecorder, n: number, names: Names, say: Say): void {
  const kind = rec.kind[n];
  const handle = rec.at[n];
  const key = rec.key(n);
  if (kind === S.STEP_ROUTER) {
    for (const length of ROUTE_TAG_LENGTHS) {
      say(
        addressTag(TAG_ROUTE, handle, key, K_IP_DST, length),
        () => `routes of ${names.ref(handle).name} towards ${block(key, length)}`,
      );
    }
  }
  if (kind !== S.STEP_BRIDGE && kind !== S.STEP_ROUTER && kind !== S.STEP_NEIGHBOUR) return;
  const addresses: Uint8Array[] = [K_IP_SRC, K_IP_DST].map((offset) => key.slice(offset, offset + 16));
  const gateway = gatewayBefore(rec, n, names);
  if (gateway !== null) addresses.push(gateway);
  // The neighbour may be looked up at the router, at its port (link-local), or at the bridge on the other side.
  const owners = new Set([handle]);
  for (let i = 0; i < rec.count; i++) {
    if (rec.kind[i] === S.STEP_ROUTER || rec.kind[i] === S.STEP_BRIDGE) owners.add(rec.at[i]);
  }
  for (const owner of owners) {
    for (const ip of addresses) {
      say(neighbourTag(owner, ip, 0), () => `the MAC of ${ipFormat(ip)} at ${names.ref(owner).name}`);
    }
  }
}

/** The block of addresses around the destination that a route tag stands for, as a prefix of its family. */
function block(key: Uint8Array, length: number): string {
  const v4 = isV4Mapped(key, K_IP_DST) && length >= 96;
  return `${ipFormat(key, K_IP_DST)}/${v4 ? length - 96 : length}`;
}

function gatewayBefore(rec: StepRecorder, n: number, names: Names): Uint8Array | null {
  for (let i = n - 1; i >= 0; i--) {
    if (rec.kind[i] !== S.STEP_ROUTE || rec.a[i] === 0) continue;
    const hop = names.object('Route', names.ref(rec.a[i]).id)?.nextHopGateway;
    return typeof hop === 'string' ? ipParse(hop) : null;
  }
  return null;
}
