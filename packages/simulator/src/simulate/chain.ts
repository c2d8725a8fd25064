/** Runs a packet through a filter. Reads no field that a rule did not get to compare. */
import { F_ETHER_TYPE, F_IP_FRAG, F_IP_PROTO, FRAG_LATER, K_ETHER_TYPE, K_IP_FRAG, K_IP_PROTO } from '@weft/flow';
import {
  ACTION_ACCEPT,
  ACTION_CONTINUE,
  ACTION_DROP,
  ACTION_JUMP,
  ACTION_RETURN,
  NEEDS_IP,
  NEEDS_IPV4,
  NEEDS_IPV6,
  NEEDS_L4,
  NEEDS_NOTHING,
  OP_BYTES,
  OP_FRAGMENT,
  OP_IN_PORT,
  OP_RANGE,
  OP_UNTAGGED,
  OP_VLAN,
  RULE_STRIDE,
  type SimChain,
  TEST_STRIDE,
} from '../view/chain.ts';
import { STEP_CHAIN, STEP_RULE } from './steps.ts';
import type { Walk } from './walk.ts';

/** Chains inside each other, and jumps in one evaluation: beyond, the packet is dropped. */
const MAX_DEPTH = 25;
const MAX_JUMPS = 256;

/** The chains being evaluated, outermost first: a jump to one of them is ignored. */
const stack = new Int32Array(MAX_DEPTH + 1);
let jumps = 0;

/** Something is missing: the packet is postponed. */
export const ACTION_POSTPONED = 0;

/**
 * Verdict of a chain: ACTION_ACCEPT, ACTION_DROP, ACTION_REJECT or ACTION_POSTPONED. The end of the chain accepts.
 * @param inPort port by which the packet entered the device, 0: none; @param outPort by which it leaves, 0: not known
 */
export function runFilter(w: Walk, chain: number, inPort: number, outPort: number): number {
  if (chain === 0) return ACTION_ACCEPT;
  jumps = 0;
  const verdict = run(w, chain, inPort, outPort, 0);
  return verdict === ACTION_CONTINUE || verdict === ACTION_RETURN ? ACTION_ACCEPT : verdict;
}

function run(w: Walk, handle: number, inPort: number, outPort: number, depth: number): number {
  const chain = w.chain(handle);
  if (chain === undefined) {
    if (w.isPostponed) return ACTION_POSTPONED;
    // A jump into nothing goes on behind it; a filter that does not exist lets nothing through.
    return depth > 0 ? ACTION_CONTINUE : ACTION_DROP;
  }
  stack[depth] = handle;
  const { rules } = chain;
  for (let r = 0; r < rules.length; r += RULE_STRIDE) {
    if (!ruleMatches(w, chain, r, inPort, outPort)) continue;
    let action = rules[r];
    if (action === ACTION_JUMP) {
      const target = rules[r + 1];
      if (target === 0 || onStack(target, depth)) continue;
      if (depth === MAX_DEPTH || ++jumps > MAX_JUMPS) return ACTION_DROP;
      action = run(w, target, inPort, outPort, depth + 1);
      if (action === ACTION_RETURN) continue;
    }
    if (action === ACTION_CONTINUE) continue;
    if (w.rec !== null) w.rec.step(STEP_CHAIN, handle, action, rules[r + 6], w.key);
    return action;
  }
  if (w.rec !== null) w.rec.step(STEP_CHAIN, handle, ACTION_CONTINUE, 0, w.key);
  return ACTION_CONTINUE;
}

function onStack(handle: number, depth: number): boolean {
  for (let i = 0; i <= depth; i++) if (stack[i] === handle) return true;
  return false;
}

function ruleMatches(w: Walk, chain: SimChain, r: number, inPort: number, outPort: number): boolean {
  const { rules, tests } = chain;
  const last = (rules[r + 2] + rules[r + 3]) * TEST_STRIDE;
  let matched = true;
  let failedAt = 0;
  for (let t = rules[r + 2] * TEST_STRIDE; t < last; t += TEST_STRIDE) {
    if (testHolds(w, chain, t, inPort, outPort) === (tests[t + 1] === 1)) {
      matched = false;
      failedAt = tests[t + 5];
      break;
    }
  }
  if (rules[r + 4] === 1) {
    matched = !matched;
    if (matched && rules[r + 5] !== 7) matched = fragmentAllowed(w, rules[r + 5]);
  }
  if (w.rec !== null) w.rec.step(STEP_RULE, rules[r + 6], matched ? 1 : 0, failedAt, w.key);
  return matched;
}

/** A frame that is not IP is whole. */
function fragmentAllowed(w: Walk, allowed: number): boolean {
  w.read(F_ETHER_TYPE | F_IP_FRAG);
  return (allowed & (1 << w.key[K_IP_FRAG])) !== 0;
}

function testHolds(w: Walk, chain: SimChain, t: number, inPort: number, outPort: number): boolean {
  const { tests } = chain;
  const { key } = w;
  const needs = tests[t + 6];
  let read = tests[t + 5];
  if (needs !== NEEDS_NOTHING) {
    const missing = missingFor(key, needs);
    if (missing !== EXISTS) {
      w.read(missing);
      return false;
    }
    read |= needs === NEEDS_L4 ? F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG : F_ETHER_TYPE;
  }
  w.read(read);
  const offset = tests[t + 2];
  const a = tests[t + 3];
  const b = tests[t + 4];
  switch (tests[t]) {
    case OP_BYTES: {
      const { values, masks } = chain;
      for (let i = 0; i < b; i++) if ((key[offset + i] & masks[a + i]) !== values[a + i]) return false;
      return true;
    }
    case OP_RANGE: {
      const value = (key[offset] << 8) | key[offset + 1];
      return value >= a && value <= b;
    }
    case OP_FRAGMENT:
      return fragmentAllowed(w, a);
    case OP_VLAN:
      return w.vlanId() === a;
    case OP_UNTAGGED:
      return w.untagged();
    case OP_IN_PORT:
      return inSet(chain.sets, a, b, inPort);
    default:
      return inSet(chain.sets, a, b, outPort);
  }
}

const EXISTS = 0;

/** EXISTS, or the fields that showed that the packet has no such field. */
function missingFor(key: Uint8Array, needs: number): number {
  const type = (key[K_ETHER_TYPE] << 8) | key[K_ETHER_TYPE + 1];
  if (needs === NEEDS_IPV4) return type === 0x0800 || type === 0x0806 ? EXISTS : F_ETHER_TYPE;
  if (needs === NEEDS_IPV6) return type === 0x86dd ? EXISTS : F_ETHER_TYPE;
  if (type !== 0x0800 && type !== 0x86dd) return F_ETHER_TYPE;
  if (needs === NEEDS_IP) return EXISTS;
  switch (key[K_IP_PROTO]) {
    case 1:
    case 6:
    case 17:
    case 58:
    case 132:
    case 136:
      return key[K_IP_FRAG] === FRAG_LATER ? F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG : EXISTS;
    default:
      return F_ETHER_TYPE | F_IP_PROTO;
  }
}

/** Binary search in one ascending run of the sets. */
function inSet(sets: Int32Array, from: number, count: number, value: number): boolean {
  let low = from;
  let high = from + count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = sets[middle];
    if (found === value) return true;
    if (found < value) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
