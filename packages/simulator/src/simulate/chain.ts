/** Runs a packet through a filter. Reads no field that a rule did not get to compare. */
import {
  F_ETHER_TYPE,
  F_IP_FRAG,
  F_IP_PROTO,
  F_TP_DST,
  F_TP_SRC,
  FRAG_LATER,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_TP_DST,
  K_TP_SRC,
  readU16,
} from '@weft/flow';
import { icmpIsError, icmpv6IsError } from '@weft/packet';
import { MAX_RULE_HITS, MAX_RULE_LOGS, type Recorder, RULE_HIT_WORDS, RULE_LOG_WORDS } from '../contract.ts';
import {
  ACTION_ACCEPT,
  ACTION_CONTINUE,
  ACTION_DROP,
  ACTION_JUMP,
  ACTION_LIMIT,
  ACTION_REJECT,
  ACTION_RETURN,
  ACTION_SNAT,
  ICMP_DATA_SRC,
  LOG_ACCEPT,
  LOG_DROP,
  NEEDS_ADDRESSES,
  NEEDS_FLOW,
  NEEDS_IP,
  NEEDS_IPV4,
  NEEDS_IPV6,
  NEEDS_L4,
  NEEDS_NOTHING,
  OP_ADDRESS_GROUP,
  OP_BYTES,
  OP_DST_REWRITTEN,
  OP_FRAGMENT,
  OP_ICMP_DATA,
  OP_IN_PORT,
  OP_IN_PORT_GROUP,
  OP_OUT_PORT,
  OP_OUT_PORT_GROUP,
  OP_PORT_GROUP,
  OP_RANGE,
  OP_RETURN_FLOW,
  OP_TRAVERSED,
  OP_UNTAGGED,
  OP_VLAN,
  RULE_STRIDE,
  type SimChain,
  TEST_STRIDE,
} from '../view/chain.ts';
import type { SimNat } from '../view/nat.ts';
import { inAddressGroup, inPortGroup } from './groups.ts';
import {
  assumeQuotedSource,
  concernsError,
  keepTranslation,
  NAT_DONE,
  NAT_NOTHING,
  NAT_POSTPONED,
  restoreSource,
  translate,
} from './nat.ts';
import { STEP_CHAIN, STEP_FILTER, STEP_JUMP, STEP_KEPT, STEP_PASSED, STEP_RULE } from './steps.ts';
import { RETURN } from './track.ts';
import type { Walk } from './walk.ts';

/** Chains inside each other, and jumps in one evaluation: beyond, the packet is dropped. */
export const MAX_DEPTH = 25;
export const MAX_JUMPS = 256;

/**
 * The chains being evaluated, outermost first. A jump to one of them is passed over: its rules up to the jump would do again
 * what they just did, and come to the same jump without end. A chain that has ended may be visited again.
 */
const stack = new Int32Array(MAX_DEPTH + 1);
let jumps = 0;

/**
 * Number of the evaluation under way. Within one, the packet and the ports are the same, so that a test that several rules have
 * is carried out once.
 */
let evaluation = 0;
/** By NEEDS_…: what `missingFor` says of the packet; NOT_ASKED before. */
const missing = new Int32Array(NEEDS_FLOW + 1);
const NOT_ASKED = -1;

function beginEvaluation(): void {
  evaluation++;
  missing.fill(NOT_ASKED);
}

/** Something is missing: the packet is postponed. */
export const ACTION_POSTPONED = 0;
/** It must be translated and cannot be: `w.natReason`. */
export const ACTION_UNTRANSLATED = -1;

/** Whether a rule of the filter that is run has translated the packet. */
let hasTranslated = false;

/**
 * Verdict of a chain: ACTION_ACCEPT, ACTION_DROP, ACTION_REJECT, ACTION_LIMIT, ACTION_POSTPONED or ACTION_UNTRANSLATED. The end of the
 * chain accepts.
 * @param inPort port by which the packet entered the device, 0: none; @param outPort by which it leaves, 0: not known
 */
export function runFilter(w: Walk, chain: number, inPort: number, outPort: number): number {
  if (chain === 0) return ACTION_ACCEPT;
  jumps = 0;
  w.filter = chain;
  w.hasKept = false;
  hasTranslated = false;
  beginEvaluation();
  if (w.rec !== null) tellFilter(w, w.rec, chain, inPort, outPort);
  const verdict = run(w, chain, inPort, outPort, 0);
  const stopped = verdict === ACTION_DROP || verdict === ACTION_REJECT;
  if (!stopped && verdict !== ACTION_CONTINUE && verdict !== ACTION_RETURN && verdict !== ACTION_ACCEPT) return verdict;
  if (!hasTranslated) keepTranslation(w, chain);
  if (!stopped) return ACTION_ACCEPT;
  if (!w.hasKept && !w.track.isKept(w, chain)) return verdict;
  if (w.rec !== null) w.rec.step(STEP_KEPT, chain, 0, 0, w.key);
  return ACTION_ACCEPT;
}

/** What the filter's rules may look at beside the packet. */
function tellFilter(w: Walk, rec: Recorder, chain: number, inPort: number, outPort: number): void {
  rec.step(STEP_FILTER, chain, inPort, outPort, w.key);
  for (let i = 0; i < w.passedCount; i++) rec.step(STEP_PASSED, w.passed[i], 0, 0, w.key);
}

function run(w: Walk, handle: number, inPort: number, outPort: number, depth: number): number {
  const chain = w.chain(handle);
  if (chain === undefined) {
    if (w.isPostponed) return ACTION_POSTPONED;
    // The store keeps a chain that something names; one that is not there all the same lets nothing through.
    return ACTION_DROP;
  }
  stack[depth] = handle;
  const { rules, nats } = chain;
  for (let r = 0; r < rules.length; r += RULE_STRIDE) {
    let action = rules[r];
    if (!matches(w, chain, r, inPort, outPort)) {
      if (action < ACTION_SNAT) continue;
      const nat = nats[rules[r + 9]];
      if (!concernsError(w, nat) && !matchesQuoted(w, chain, r, nat, inPort, outPort)) continue;
    }
    if (action >= ACTION_SNAT) {
      action = translateBy(w, chain, r, outPort);
      if (action === ACTION_CONTINUE) continue;
    } else hit(w, rules[r + 6], action);
    if (action === ACTION_JUMP) {
      const target = rules[r + 1];
      const again = onStack(target, depth);
      if (w.rec !== null) w.rec.step(STEP_JUMP, rules[r + 6], target, again ? 1 : 0, w.key);
      if (again) continue;
      if (depth + 1 === MAX_DEPTH || ++jumps > MAX_JUMPS) return ACTION_LIMIT;
      action = run(w, target, inPort, outPort, depth + 1);
      if (action === ACTION_RETURN) continue;
    }
    if (action === ACTION_CONTINUE) continue;
    if (action === ACTION_ACCEPT || action === ACTION_RETURN) {
      w.track.rule = rules[r + 6];
      if (rules[r + 7] === 1) w.track.keptBy = w.filter;
    }
    if (chain.logs !== 0) log(w, chain, rules[r + 6], action);
    if (w.rec !== null) w.rec.step(STEP_CHAIN, handle, action, rules[r + 6], w.key);
    return action;
  }
  if (w.rec !== null) w.rec.step(STEP_CHAIN, handle, ACTION_CONTINUE, 0, w.key);
  return ACTION_CONTINUE;
}

/** Whether a 1:1 rule matches the machine whose packet an ICMP error quotes: then the error counts as that machine's. */
function matchesQuoted(w: Walk, chain: SimChain, r: number, nat: SimNat, inPort: number, outPort: number): boolean {
  if (!assumeQuotedSource(w, nat)) return false;
  beginEvaluation();
  if (matches(w, chain, r, inPort, outPort)) return true;
  restoreSource(w);
  beginEvaluation();
  return false;
}

/** Carries out a rule that translates. @returns what follows: ACTION_CONTINUE also when it had nothing to translate */
function translateBy(w: Walk, { rules, nats }: SimChain, r: number, outPort: number): number {
  w.keep = rules[r + 7] === 1;
  w.rule = w.keep ? w.filter : rules[r + 6];
  const done = translate(w, nats[rules[r + 9]], outPort);
  if (done === NAT_NOTHING) return ACTION_CONTINUE;
  hit(w, rules[r + 6], rules[r]);
  if (done !== NAT_DONE) return done === NAT_POSTPONED ? ACTION_POSTPONED : ACTION_UNTRANSLATED;
  hasTranslated ||= !nats[rules[r + 9]].reverse;
  // The packet is another one now.
  beginEvaluation();
  return rules[r + 8];
}

/** Notes a rule that matched. */
function hit(w: Walk, rule: number, action: number): void {
  const { out } = w;
  if (out.ruleHitCount === MAX_RULE_HITS) return;
  const at = out.ruleHitCount++ * RULE_HIT_WORDS;
  out.ruleHits[at] = rule;
  out.ruleHits[at + 1] = action;
}

/** Notes which rule decided for a chain, if a logger wants to know. */
function log(w: Walk, chain: SimChain, rule: number, action: number): void {
  const { out } = w;
  // Nothing was decided while something is missing, and no rule says that there were too many jumps.
  if (action <= ACTION_POSTPONED || action === ACTION_LIMIT || out.ruleLogCount === MAX_RULE_LOGS) return;
  const event = action === ACTION_ACCEPT || action === ACTION_RETURN ? LOG_ACCEPT : LOG_DROP;
  if ((chain.logs & event) === 0) return;
  const at = out.ruleLogCount++ * RULE_LOG_WORDS;
  out.ruleLogs[at] = chain.handle;
  out.ruleLogs[at + 1] = rule;
  out.ruleLogs[at + 2] = action;
}

function onStack(handle: number, depth: number): boolean {
  for (let i = 0; i <= depth; i++) if (stack[i] === handle) return true;
  return false;
}

/** Whether the rule at word `r` of the chain's rules matches. Exported for explanations, which ask about single conditions. */
export function ruleMatches(w: Walk, chain: SimChain, r: number, inPort: number, outPort: number): boolean {
  beginEvaluation();
  return matches(w, chain, r, inPort, outPort);
}

function matches(w: Walk, chain: SimChain, r: number, inPort: number, outPort: number): boolean {
  const { rules, order, evaluated, passed } = chain;
  const last = rules[r + 2] + rules[r + 3];
  let matched = true;
  let failedAt = 0;
  for (let i = rules[r + 2]; i < last; i++) {
    const test = order[i];
    if (evaluated[test] !== evaluation) {
      const t = test * TEST_STRIDE;
      const inverted = chain.tests[t + 1] === 1;
      passed[test] = testHolds(w, chain, t, inPort, outPort) === inverted ? 0 : 1;
      evaluated[test] = evaluation;
    }
    if (passed[test] === 0) {
      matched = false;
      failedAt = chain.tests[test * TEST_STRIDE + 5];
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
  let read = tests[t + 7];
  if (needs !== NEEDS_NOTHING) {
    if (missing[needs] === NOT_ASKED) missing[needs] = missingFor(key, needs);
    if (missing[needs] !== EXISTS) {
      w.read(missing[needs]);
      return false;
    }
    read |= needs === NEEDS_L4 || needs === NEEDS_FLOW ? F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG : F_ETHER_TYPE;
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
    case OP_OUT_PORT:
      return inSet(chain.sets, a, b, outPort);
    case OP_PORT_GROUP:
      return inPortGroup(w, w.origin, a);
    case OP_IN_PORT_GROUP:
      return inPortGroup(w, inPort, a);
    case OP_OUT_PORT_GROUP:
      return inPortGroup(w, outPort, a);
    case OP_TRAVERSED:
      return w.hasPassed(a);
    case OP_ADDRESS_GROUP:
      return inAddressGroup(w, a, offset);
    case OP_DST_REWRITTEN:
      return isDstRewritten(w);
    case OP_RETURN_FLOW:
      return (w.track.ask(w) === RETURN) === (a === 1);
    case OP_ICMP_DATA:
      return icmpDataMatches(w, chain, offset, a, b);
    default:
      throw new RangeError(`test ${tests[t]}`);
  }
}

function isDstRewritten({ key, original }: Walk): boolean {
  for (let i = K_IP_DST; i < K_IP_DST + 16; i++) if (key[i] !== original[i]) return true;
  return false;
}

/** An address of the packet that an ICMP or ICMPv6 error quotes (its header stands behind 8 bytes of ICMP) under a mask. */
function icmpDataMatches(w: Walk, { values, masks }: SimChain, which: number, at: number, count: number): boolean {
  const { key } = w;
  w.read(F_ETHER_TYPE);
  const v4 = count === 4;
  if (readU16(key, K_ETHER_TYPE) !== (v4 ? 0x0800 : 0x86dd)) return false;
  w.read(F_IP_PROTO);
  if (key[K_IP_PROTO] !== (v4 ? 1 : 58)) return false;
  w.read(F_IP_FRAG);
  if (key[K_IP_FRAG] === FRAG_LATER) return false;
  w.read(F_TP_SRC);
  const type = readU16(key, K_TP_SRC);
  if (!(v4 ? icmpIsError(type) : icmpv6IsError(type)) || !w.headers()) return false;
  const { frame } = w;
  const { l3, l3Length, l4 } = w.layout;
  const quoted = l4 + 8;
  const from = quoted + (v4 ? 12 : 8) + (which === ICMP_DATA_SRC ? 0 : count);
  if (l4 === 0 || from + count > Math.min(w.have, l3 + l3Length) || frame[quoted] >>> 4 !== (v4 ? 4 : 6)) return false;
  for (let i = 0; i < count; i++) if ((frame[from + i] & masks[at + i]) !== values[at + i]) return false;
  return true;
}

const EXISTS = 0;

/** EXISTS, or the fields that showed that the packet has no such field. */
function missingFor(key: Uint8Array, needs: number): number {
  const type = (key[K_ETHER_TYPE] << 8) | key[K_ETHER_TYPE + 1];
  if (needs === NEEDS_IPV4) return type === 0x0800 || type === 0x0806 ? EXISTS : F_ETHER_TYPE;
  if (needs === NEEDS_ADDRESSES) {
    return type === 0x0800 || type === 0x86dd || type === 0x0806 ? EXISTS : F_ETHER_TYPE;
  }
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
      if (key[K_IP_FRAG] !== FRAG_LATER) return EXISTS;
      // The datapath fills in the first fragment's ports where it has seen it.
      if (needs === NEEDS_FLOW && (readU16(key, K_TP_SRC) | readU16(key, K_TP_DST)) !== 0) return EXISTS;
      return F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG | (needs === NEEDS_FLOW ? F_TP_SRC | F_TP_DST : 0);
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
