/**
 * Connection tracking on the device at hand. A connection is known by the packet as it came to the device and by the answer
 * to what left it, so that it is one record whatever rules of the device have translated in between.
 */
import {
  F_ETH_DST,
  F_ETHER_TYPE,
  F_IP_FRAG,
  K_ETH_DST,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  KEY_SIZE,
  readU16,
  writeU16,
} from '@weft/flow';
import {
  DIR_FORWARD,
  FLAG_KEEP,
  KIND_CONNTRACK,
  R_RULE,
  RECORD_WORDS,
  reverseTuple,
  stateTag,
  T_DST,
  T_PORTS,
  T_SRC,
  TUPLE_ADDRESSES,
  TUPLE_NONE,
  TUPLE_PORTS,
  TUPLE_QUOTE,
  TUPLE_WORDS,
  tupleKind,
  tupleOfKey,
  tupleOfQuote,
  tupleProtocol,
  tupleReads,
  wordsToAddress,
} from '@weft/flowstate';
import { ICMP_ECHO_REQUEST, ICMPV6_ECHO_REQUEST, IPPROTO_ICMP, IPPROTO_ICMPV6 } from '@weft/packet';
import { STEP_DIRECTION, STEP_STATE, STEP_STATE_CREATE } from './steps.ts';
import type { Walk } from './walk.ts';

/** A packet goes in the direction that opens a connection, or is part of none. */
export const FORWARD = 1;
/** It is an answer within a known connection, or an ICMP error about one. */
export const RETURN = 2;
const NOT_ASKED = 0;
const NOT_CAPTURED = -1;

/** What is known of a packet's connection on one device. */
export class Track {
  /** Handle of the device. */
  device = 0;
  direction = NOT_ASKED;
  /** Known connection whose forward direction the packet goes in, or -1. */
  record = -1;
  /** A rule has asked, and the connection begins here if the packet leaves the device. */
  private pending = false;
  private asked = false;
  /** Nobody knows the connection, and it is one that can begin. */
  private begins = false;
  /** Rule that let it pass last, and the filter of the last one whose `onChange` is to let it finish. */
  rule = 0;
  keptBy = 0;
  /** TUPLE_… of the packet as it came, and the tuple: of an ICMP error that of the answers to what it quotes. */
  private entry = NOT_CAPTURED;
  private readonly words = new Int32Array(TUPLE_WORDS);
  private readonly came = new Uint8Array(KEY_SIZE);
  /** Of an ICMP error the frame as it came: what it quotes is read when somebody asks. */
  private frame: Uint8Array | null = null;

  begin(device: number): void {
    this.device = device;
    this.direction = NOT_ASKED;
    this.record = -1;
    this.pending = false;
    this.asked = false;
    this.begins = false;
    this.rule = 0;
    this.keptBy = 0;
    this.entry = NOT_CAPTURED;
    this.frame = null;
  }

  /** Notes what came, before a rule of the device changes it. */
  capture(w: Walk): void {
    if (this.entry !== NOT_CAPTURED) return;
    for (let i = 0; i < KEY_SIZE; i++) this.came[i] = w.key[i];
    const device = w.state.number(this.device);
    this.entry = device === 0 ? TUPLE_NONE : tupleOfKey(w.key, 0, KIND_CONNTRACK, device, this.words, 0);
    if (this.entry === TUPLE_QUOTE) this.frame = w.frame;
  }

  /** The packet's key as it was before rules of the device translated. */
  keyBefore(w: Walk): Uint8Array {
    return this.entry === NOT_CAPTURED ? w.key : this.came;
  }

  /** FORWARD or RETURN; looked up when a rule asks first. */
  ask(w: Walk): number {
    if (this.asked) return this.direction;
    this.asked = true;
    if (this.direction === NOT_ASKED) this.direction = this.lookUp(w);
    this.pending = this.begins;
    if (w.rec !== null) w.rec.step(STEP_DIRECTION, this.device, this.direction, 0, w.key);
    return this.direction;
  }

  private lookUp(w: Walk): number {
    // What devices send themselves is in answer to something.
    if (w.origin === 0) return RETURN;
    this.capture(w);
    readTuple(w);
    if (this.frame !== null) {
      const device = w.state.number(this.device);
      if (quotedTuple(w, this.frame, KIND_CONNTRACK, device, this.words) === TUPLE_NONE) this.entry = TUPLE_NONE;
      this.frame = null;
    }
    const { entry, words } = this;
    if (entry === TUPLE_NONE) {
      if (this.device !== 0 && w.state.number(this.device) === 0) w.failFull();
      return FORWARD;
    }
    const match = w.lookUpState(words, 0);
    if (match < 0) {
      this.begins = (entry === TUPLE_PORTS || entry === TUPLE_ADDRESSES) && !isForGroup(w);
      return FORWARD;
    }
    if (entry === TUPLE_QUOTE || (match & 1) !== DIR_FORWARD) return RETURN;
    this.record = match >>> 1;
    return FORWARD;
  }

  /** The packet leaves the device: what was asked about and is not known begins here. */
  leave(w: Walk): void {
    if (!this.pending) return;
    this.pending = false;
    const { words } = this;
    // It has been here before, and comes again from elsewhere.
    if (w.createdAs(words) >= 0) return;
    const record = w.create(this.keptBy !== 0 ? this.keptBy : this.rule);
    if (record === null) return;
    record.begin(words, 0);
    if (this.keptBy !== 0) record.flags |= FLAG_KEEP;
    tupleOfKey(w.key, 0, KIND_CONNTRACK, w.state.number(this.device), left, 0);
    reverseTuple(left, 0, answer, 0);
    record.setReturn(answer, 0);
    if (w.rec !== null) w.rec.step(STEP_STATE_CREATE, this.device, KIND_CONNTRACK, w.out.createdCount - 1, w.key);
  }

  /** Whether a connection that the filter `chain` once let begin is to finish, although its rules now say otherwise. */
  isKept(w: Walk, chain: number): boolean {
    const number = w.state.number(chain);
    // Perhaps no rule asks any more: that one has gone, too.
    if (this.direction === NOT_ASKED && w.state.keeps(number)) this.direction = this.lookUp(w);
    if (this.record < 0 || (w.state.table.flags(this.record) & FLAG_KEEP) === 0) return false;
    return w.state.table.words[this.record * RECORD_WORDS + R_RULE] === number;
  }
}

const left = new Int32Array(TUPLE_WORDS);
const answer = new Int32Array(TUPLE_WORDS);

/** An answer to a multicast or broadcast packet does not come from its destination. */
function isForGroup(w: Walk): boolean {
  const { key } = w;
  w.read(F_ETH_DST);
  if ((key[K_ETH_DST] & 1) !== 0) return true;
  return readU16(key, K_ETHER_TYPE) === 0x86dd ? key[K_IP_DST] === 0xff : key[K_IP_DST + 12] >= 224;
}

/** Notes the fields that a packet's tuple is made of as read. */
export function readTuple(w: Walk): void {
  const type = readU16(w.key, K_ETHER_TYPE);
  w.read(type === 0x0800 || type === 0x86dd ? F_ETHER_TYPE | F_IP_FRAG | tupleReads(w.key[K_IP_PROTO]) : F_ETHER_TYPE);
}

/**
 * Writes the tuple of the answers to the packet that an ICMP error quotes: the way in which the error itself travels.
 * @param frame as it is, or was before translations @returns TUPLE_NONE if what it quotes cannot be told
 */
export function quotedTuple(w: Walk, frame: Uint8Array, kind: number, device: number, words: Int32Array): number {
  if (!w.headers() || w.layout.l4 === 0) return TUPLE_NONE;
  const { l3, l3Length, l4 } = w.layout;
  const end = Math.min(w.have, l3 + l3Length);
  return tupleOfQuote(frame, l4 + QUOTE, end, true, kind, device, w.quoted, words, 0);
}

/** Bytes of an ICMP header before what it quotes. */
export const QUOTE = 8;

const told = new Uint8Array(KEY_SIZE);

/** The key of a packet that `tupleOfKey` makes this tuple of; apart from what it looks at as the packet at hand. */
function keyOfTuple(key: Uint8Array, words: Int32Array, at: number): Uint8Array {
  const protocol = tupleProtocol(words[at]);
  const ports = words[at + T_PORTS];
  told.set(key);
  wordsToAddress(words, at + T_SRC, told, K_IP_SRC);
  wordsToAddress(words, at + T_DST, told, K_IP_DST);
  told[K_IP_PROTO] = protocol;
  told[K_IP_FRAG] = 0;
  writeU16(told, K_TP_SRC, ports >>> 16);
  writeU16(told, K_TP_DST, ports & 0xffff);
  if (protocol !== IPPROTO_ICMP && protocol !== IPPROTO_ICMPV6) return told;
  // What is no echo has the same tuple as one with identifier 0.
  writeU16(told, K_TP_SRC, protocol === IPPROTO_ICMP ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST);
  writeU16(told, K_TP_DST, 0);
  writeU16(told, K_ICMP_ID, ports & 0xffff);
  return told;
}

/** Looks a tuple up, tells the recorder, and leaves its tag. Called by `Walk`. */
export function findState(w: Walk, words: Int32Array, at: number): number {
  w.tag(stateTag(words, at));
  const match = w.state.table.find(words, at);
  if (w.rec !== null) {
    const direction = match < 0 ? 0 : (match & 1) === DIR_FORWARD ? FORWARD : RETURN;
    w.rec.step(STEP_STATE, w.track.device, tupleKind(words[at]), direction, keyOfTuple(w.key, words, at));
  }
  return match;
}
