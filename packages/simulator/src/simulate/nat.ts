/**
 * Network address translation by rules. A translation with state is a connection of its own on the device: its tuples are the packet
 * before it and the answer to the packet behind it. What goes the other way is translated back by reverse rules, which look that
 * answer up; ICMP errors go by the connection of the packet that they quote, and are translated inside and out.
 */
import {
  dropReason,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_SRC,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  readU16,
  writeU16,
} from '@weft/flow';
import {
  type ConnectionRecord,
  chooseTarget,
  DIR_FORWARD,
  DIR_RETURN,
  FLAG_KEEP,
  KIND_DNAT,
  KIND_SNAT,
  NAT_CHOSEN,
  NAT_NO_BLOCK,
  R_RETURN,
  R_RULE,
  RECORD_WORDS,
  stateTag,
  T_DST,
  T_PORTS,
  T_SRC,
  TUPLE_ADDRESSES,
  TUPLE_NONE,
  TUPLE_QUOTE,
  TUPLE_WORDS,
  tupleKind,
  tupleMeta,
  tupleOfKey,
  tupleProtocol,
  wordsToAddress,
} from '@weft/flowstate';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, icmpIsError, icmpv6IsError } from '@weft/packet';
import { masqueradeTarget, type NatTarget, type SimNat } from '../view/nat.ts';
import { quotedAddress, quotes, rewriteQuote } from './rewrite-packet.ts';
import { STEP_STATE_CREATE, STEP_TRANSLATE } from './steps.ts';
import { quotedTuple, readTuple } from './track.ts';
import { ERROR_DROP_MS, type Walk } from './walk.ts';

/** The rule says nothing about this packet: evaluation goes on. */
export const NAT_NOTHING = 0;
export const NAT_DONE = 1;
/** It waits for ports. */
export const NAT_POSTPONED = 2;
/** It cannot be translated, and must not go on without: `w.natReason`. */
export const NAT_FAILED = 3;

const EXHAUSTED = dropReason('nat_exhausted');
const FRAGMENT = dropReason('nat_fragment');

const tuple = new Int32Array(TUPLE_WORDS);
const address = new Uint8Array(16);
const oldAddress = new Uint8Array(16);
const ownSource = new Uint8Array(16);

/** Carries a NAT rule out that matched. @param outPort by which the packet leaves the device, 0: not known */
export function translate(w: Walk, nat: SimNat, outPort: number): number {
  const { key } = w;
  w.read(F_ETHER_TYPE);
  const type = readU16(key, K_ETHER_TYPE);
  const v6 = type === 0x86dd;
  if (!v6 && type !== 0x0800) return NAT_NOTHING;
  // Filters of the device may ask later about the packet as it came.
  w.track.capture(w);
  if (nat.reverse) return back(w, nat.source);
  if (nat.masquerade) {
    const port = outPort === 0 ? undefined : w.port(outPort);
    const target = port === undefined ? null : masqueradeTarget(port, v6);
    return target === null ? NAT_NOTHING : source(w, [target]);
  }
  if (nat.v6 !== v6) return NAT_NOTHING;
  if (nat.isStatic) return oneForOne(w, nat.source, nat.targets[0].from);
  return nat.source ? source(w, nat.targets) : destination(w, nat.targets);
}

/**
 * Whether the packet is an ICMP error about a connection whose packets a rule like this translates. It goes by that connection whatever the
 * conditions of the rule: they are about its packets, not about errors. (1:1 translations know no connections.)
 */
export function concernsError(w: Walk, { source: ofSource, reverse, isStatic }: SimNat): boolean {
  if (isStatic || !isError(w)) return false;
  w.track.capture(w);
  const match = find(w, ofSource ? KIND_SNAT : KIND_DNAT);
  return match >= 0 && (match & 1) === (reverse ? DIR_RETURN : DIR_FORWARD);
}

/**
 * Whether a 1:1 source rule may concern the packet as an ICMP error from a router before the machine that it translates. Then the packet's
 * source becomes that machine's address, whose packets the rule's conditions are about; `restoreSource` takes that back.
 */
export function assumeQuotedSource(w: Walk, { source: ofSource, isStatic }: SimNat): boolean {
  if (!isStatic || !ofSource || !isError(w) || !quotedAddress(w, false, address)) return false;
  for (let i = 0; i < 16; i++) {
    ownSource[i] = w.key[K_IP_SRC + i];
    w.key[K_IP_SRC + i] = address[i];
  }
  w.groupMemo.forget();
  return true;
}

export function restoreSource(w: Walk): void {
  for (let i = 0; i < 16; i++) w.key[K_IP_SRC + i] = ownSource[i];
  w.groupMemo.forget();
}

/** Both directions of a 1:1 translation are rules of their own: neither needs to know of the other's packets. */
function oneForOne(w: Walk, isSource: boolean, to: Uint8Array): number {
  const { key } = w;
  const offset = isSource ? K_IP_SRC : K_IP_DST;
  // Whoever has another address gets another rewrite.
  w.read(isSource ? F_IP_SRC : F_IP_DST);
  if (isError(w) && w.headers()) {
    for (let i = 0; i < 16; i++) oldAddress[i] = key[offset + i];
    // An error travels against the packet that it quotes: what is its source stands there as destination.
    if (quotes(w, !isSource, oldAddress, 0)) rewriteQuote(w, !isSource, to, 0, -1);
  }
  for (let i = 0; i < 16; i++) key[offset + i] = to[i];
  translated(w, isSource);
  return NAT_DONE;
}

function isError(w: Walk): boolean {
  const { key } = w;
  w.read(F_IP_PROTO);
  const protocol = key[K_IP_PROTO];
  if (protocol !== IPPROTO_ICMP && protocol !== IPPROTO_ICMPV6) return false;
  w.read(F_TP_SRC);
  const type = readU16(key, K_TP_SRC);
  return protocol === IPPROTO_ICMP ? icmpIsError(type) : icmpv6IsError(type);
}

/** Looks the packet's own connection up; its tuple is in `tuple` then. @returns record << 1 | direction, -1: none, or a NAT_… as -2 - it */
function find(w: Walk, kind: number): number {
  const device = w.state.number(w.track.device);
  if (device === 0 && w.track.device !== 0) {
    w.failFull();
    return -2 - NAT_FAILED;
  }
  readTuple(w);
  const what = device === 0 ? TUPLE_ADDRESSES : tupleOfKey(w.key, 0, kind, device, tuple, 0);
  if (what === TUPLE_ADDRESSES) return -2 - NAT_NOTHING;
  if (what === TUPLE_NONE) {
    w.natReason = FRAGMENT;
    return -2 - NAT_FAILED;
  }
  if (what === TUPLE_QUOTE) {
    if (quotedTuple(w, w.frame, kind, device, tuple) === TUPLE_NONE) return -2 - NAT_NOTHING;
    const match = w.lookUpState(tuple, 0);
    return match < 0 ? -2 - NAT_NOTHING : match;
  }
  return w.lookUpState(tuple, 0);
}

/** Translates the source to one of `targets`. */
function source(w: Walk, targets: readonly NatTarget[]): number {
  const match = find(w, KIND_SNAT);
  if (match < -1) return -2 - match;
  if (match >= 0) return (match & 1) === DIR_FORWARD ? apply(w, KIND_SNAT, match) : NAT_NOTHING;
  const known = w.createdAs(tuple);
  if (known >= 0) return applyCreated(w, known, true);
  const record = w.create(w.rule);
  if (record === null) return NAT_FAILED;
  begin(w, record);
  const first = spread() % targets.length;
  let waits = false;
  for (let i = 0; i < targets.length; i++) {
    const target = targets[(first + i) % targets.length];
    const chosen = w.state.chooseSource(record.device, target, record);
    if (chosen === NAT_CHOSEN) return applyCreated(w, w.out.createdCount - 1, true);
    if (chosen !== NAT_NO_BLOCK) continue;
    waits = true;
    w.out.wantedBlocks.push(w.state.sourceNeed(record.device, target));
  }
  w.uncreate();
  if (waits) {
    w.postpone(w.track.device);
    return NAT_POSTPONED;
  }
  return exhausted(w);
}

/** Translates the destination to one of `targets`, by a hash of the packet's tuple: the same one on every host. */
function destination(w: Walk, targets: readonly NatTarget[]): number {
  const match = find(w, KIND_DNAT);
  if (match < -1) return -2 - match;
  if (match >= 0) return (match & 1) === DIR_FORWARD ? apply(w, KIND_DNAT, match) : NAT_NOTHING;
  const known = w.createdAs(tuple);
  if (known >= 0) return applyCreated(w, known, false);
  const record = w.create(w.rule);
  if (record === null) return NAT_FAILED;
  begin(w, record);
  const hash = spread();
  const first = hash % targets.length;
  for (let i = 0; i < targets.length; i++) {
    const target = targets[(first + i) % targets.length];
    const random = Math.floor(hash / targets.length);
    if (chooseTarget(w.state.table, target, record, random) !== NAT_CHOSEN) continue;
    return applyCreated(w, w.out.createdCount - 1, false);
  }
  w.uncreate();
  return exhausted(w);
}

/** Nothing is left to translate to: for the moment, since other connections end. */
function exhausted(w: Walk): number {
  w.natReason = EXHAUSTED;
  w.out.shortLived = ERROR_DROP_MS;
  return NAT_FAILED;
}

/** A hash of `tuple` without the number of the device, which is another one on every host. */
function spread(): number {
  const meta = tuple[0];
  tuple[0] = tupleMeta(tupleKind(meta), 0, tupleProtocol(meta));
  const hash = stateTag(tuple, 0);
  tuple[0] = meta;
  return hash;
}

function begin(w: Walk, record: ConnectionRecord): void {
  record.begin(tuple, 0);
  if (w.keep) record.flags |= FLAG_KEEP;
}

/** Translates a packet as a rule of this filter once began to that has gone, or does not match any more, and said so. */
export function keepTranslation(w: Walk, filter: number): void {
  const number = w.state.number(filter);
  if (!w.state.keeps(number)) return;
  w.track.capture(w);
  for (const kind of [KIND_SNAT, KIND_DNAT]) {
    const match = find(w, kind);
    if (match < 0 || (match & 1) !== DIR_FORWARD) continue;
    if (isKept(w, match >>> 1, number)) apply(w, kind, match);
  }
}

/** Whether a rule of the filter with this number began the translation, and it is to finish without it. */
function isKept({ state }: Walk, record: number, filter: number): boolean {
  if ((state.table.flags(record) & FLAG_KEEP) === 0) return false;
  return state.table.words[record * RECORD_WORDS + R_RULE] === filter;
}

/** Undoes a translation that is known. */
function back(w: Walk, isSource: boolean): number {
  const kind = isSource ? KIND_SNAT : KIND_DNAT;
  const match = find(w, kind);
  if (match === -1) w.out.missedBack = true;
  // A fragment of nobody knows what: filters decide what becomes of it.
  if (match < 0 || (match & 1) !== DIR_RETURN) return NAT_NOTHING;
  if (isOwnAnswer(w, match)) return NAT_NOTHING;
  return apply(w, kind, match);
}

/**
 * Whether the packet has just been translated forth by the connection whose answer it looks like now: it calls itself, by an address that
 * stands for it. As with its first packet, which no connection was known of, nothing is to be undone.
 */
function isOwnAnswer({ out }: Walk, match: number): boolean {
  const { states } = out;
  let forth = false;
  for (let i = 0; i < out.stateCount; i++) if (states[i] === (match ^ 1)) forth = true;
  if (forth && states[out.stateCount - 1] === match) out.stateCount--;
  return forth;
}

/** Translates as a connection says that this packet begins, on this way or on that of another copy. @param n place in `created` */
function applyCreated(w: Walk, n: number, isSource: boolean): number {
  const { words } = w.out.created[n];
  if (w.rec !== null) w.rec.step(STEP_STATE_CREATE, w.track.device, isSource ? KIND_SNAT : KIND_DNAT, n, w.key);
  setEnd(w, isSource, words, R_RETURN + (isSource ? 5 : 1), answerPort(words, R_RETURN, isSource));
  return NAT_DONE;
}

/** Of the answer's ports the one that is the translated end. */
function answerPort(words: Int32Array, ports: number, isSource: boolean): number {
  return isSource ? words[ports] & 0xffff : words[ports] >>> 16;
}

/** Translates as a known connection says, in the direction of the match. */
function apply(w: Walk, kind: number, match: number): number {
  const { words } = w.state.table;
  const base = (match >>> 1) * RECORD_WORDS;
  const forward = (match & 1) === DIR_FORWARD;
  if (forward && isKept(w, match >>> 1, w.state.number(w.filter))) w.hasKept = true;
  const ofSource = kind === KIND_SNAT;
  // Forward, the end that the kind is named after changes; on the way back what stands there as the other end.
  const isSource = ofSource === forward;
  let at = 0;
  let port = 0;
  if (forward) {
    at = base + R_RETURN + (ofSource ? 5 : 1);
    port = answerPort(words, base + R_RETURN, ofSource);
  } else {
    at = base + (ofSource ? T_SRC : T_DST);
    port = ofSource ? words[base + T_PORTS] >>> 16 : words[base + T_PORTS] & 0xffff;
  }
  if (isError(w)) {
    wordsToAddress(words, at, address, 0);
    rewriteQuote(w, !isSource, address, 0, port);
    setAddress(w, isSource, words, at);
    return NAT_DONE;
  }
  setEnd(w, isSource, words, at, port);
  return NAT_DONE;
}

function setEnd(w: Walk, isSource: boolean, words: Int32Array, at: number, port: number): void {
  const { key } = w;
  const protocol = key[K_IP_PROTO];
  const echo = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6;
  writeU16(key, echo ? K_ICMP_ID : isSource ? K_TP_SRC : K_TP_DST, port);
  setAddress(w, isSource, words, at);
}

function setAddress(w: Walk, isSource: boolean, words: Int32Array, at: number): void {
  wordsToAddress(words, at, w.key, isSource ? K_IP_SRC : K_IP_DST);
  translated(w, isSource);
}

function translated(w: Walk, isSource: boolean): void {
  w.groupMemo.forget();
  if (w.rec !== null) w.rec.step(STEP_TRANSLATE, w.track.device, isSource ? 1 : 0, 0, w.key);
}
