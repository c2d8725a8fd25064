import { stateTag, TUPLE_WORDS, tupleDevice } from '../tuple.ts';
import { MSG_ANSWER, MSG_ASK, WIRE_OK, type WireHeader } from '../wire/header.ts';
import { Ask, readAsk, writeAsk } from '../wire/messages.ts';
import type { Core } from './core.ts';
import type { Intake } from './intake.ts';
import { TokenBucket } from './pace.ts';
import type { Peer } from './peer.ts';
import type { ExchangeSettings } from './settings.ts';

/** Most asks under way. */
export const MAX_ASKS = 1_024;
/** Most peers that one ask goes to. */
export const MAX_ASKED = 32;
const PLACE_BITS = 10;

const FREE = 0;
const WAITING = 1;
const AGAIN = 2;
/** Answers that come late are still taken in, until the place is needed. */
const ENDED = 3;

/** How many answers a peer gets. */
export class AnswerState {
  readonly bucket: TokenBucket;

  constructor(settings: ExchangeSettings) {
    this.bucket = new TokenBucket(settings.answerRate, settings.answerRate);
  }
}

/** Asks for tuples that were not found here, and answers to those of peers. A number of an ask is serial << 10 | place. */
export class Asks {
  private readonly core: Core;
  private readonly intake: Intake;
  private readonly bucket: TokenBucket;
  private underWay = 0;
  private hand = 0;
  private serial = 0;
  private readonly states = new Uint8Array(MAX_ASKS);
  private readonly numbers = new Uint32Array(MAX_ASKS);
  private readonly words = new Int32Array(MAX_ASKS * TUPLE_WORDS);
  private readonly times = new Float64Array(MAX_ASKS);
  /** Numbers of the peers that were asked, and a bit for each that has not answered. */
  private readonly asked = new Int32Array(MAX_ASKS * MAX_ASKED);
  private readonly counts = new Uint8Array(MAX_ASKS);
  private readonly unanswered = new Int32Array(MAX_ASKS);
  /** Asks under way by the tag of their tuple; several of one tag are chained. */
  private readonly tags = new Int32Array(MAX_ASKS);
  private readonly byTag = new Map<number, number>();
  private readonly next = new Int32Array(MAX_ASKS);
  private readonly incoming = new Ask();

  constructor(core: Core, intake: Intake) {
    this.core = core;
    this.intake = intake;
    this.bucket = new TokenBucket(core.settings.askRate, core.settings.askRate);
  }

  // ---- asking

  /** See Exchange.ask. */
  ask(words: Int32Array, at: number, peers: readonly number[]): number {
    const { counters, outbox } = this.core;
    const tag = stateTag(words, at) | 0;
    for (let p = this.byTag.get(tag) ?? -1; p >= 0; p = this.next[p])
      if (this.isAbout(p, words, at)) return this.numbers[p];
    if (!peers.some((number) => this.core.peers.get(number)?.acquainted)) return 0;
    if (this.underWay >= MAX_ASKS || !this.bucket.take(outbox.now)) {
      counters.asksRefused++;
      return 0;
    }
    counters.asks++;
    const place = this.freePlace();
    this.serial = (this.serial + 1) & (0xffffffff >>> PLACE_BITS) || 1;
    this.numbers[place] = (this.serial << PLACE_BITS) | place;
    this.states[place] = WAITING;
    this.times[place] = outbox.now;
    for (let i = 0; i < TUPLE_WORDS; i++) this.words[place * TUPLE_WORDS + i] = words[at + i];
    this.core.table.uuids.retain(tupleDevice(words[at]));
    this.tags[place] = tag;
    this.next[place] = this.byTag.get(tag) ?? -1;
    this.byTag.set(tag, place);
    this.underWay++;
    let count = 0;
    for (let i = 0; i < peers.length && count < MAX_ASKED; i++) {
      if (this.core.peers.get(peers[i])?.acquainted) this.asked[place * MAX_ASKED + count++] = peers[i];
    }
    this.counts[place] = count;
    this.unanswered[place] = count === 32 ? -1 : (1 << count) - 1;
    this.send(place);
    return this.numbers[place];
  }

  tick(): void {
    if (this.underWay === 0) return;
    const { outbox, settings } = this.core;
    for (let place = 0; place < MAX_ASKS; place++) {
      const state = this.states[place];
      if (state !== WAITING && state !== AGAIN) continue;
      const age = outbox.now - this.times[place];
      if (age >= settings.askTimeout) this.end(place);
      else if (state === WAITING && age >= settings.askRetry) {
        this.states[place] = AGAIN;
        this.send(place);
      }
    }
  }

  /** An answer came. Returns how many records were applied, or WIRE_…. */
  onAnswer(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { counters } = this.core;
    const opened = this.intake.open(bytes, header);
    if (opened !== WIRE_OK) return opened;
    const number = this.intake.reader.about;
    const place = number & (MAX_ASKS - 1);
    const bit = this.numbers[place] === number ? this.bitOf(place, peer.number) : 0;
    if (bit === 0) {
      counters.refusedRecords.unasked += header.count;
      return 0;
    }
    const result = this.intake.take(peer, this.words, place * TUPLE_WORDS);
    // A callback may have ended it, and begun another.
    if (result < 0 || this.numbers[place] !== number || this.states[place] === ENDED) return result;
    this.unanswered[place] &= ~bit;
    if (this.unanswered[place] === 0 || this.isFound(place)) this.end(place);
    return result;
  }

  private send(place: number): void {
    const { outbox, table, peers } = this.core;
    for (let i = 0; i < this.counts[place]; i++) {
      const peer = peers.get(this.asked[place * MAX_ASKED + i]);
      if (((this.unanswered[place] >>> i) & 1) === 0 || !peer?.acquainted) continue;
      const size = writeAsk(outbox.bytes, this.numbers[place], this.words, place * TUPLE_WORDS, table.uuids);
      outbox.post(peer, MSG_ASK, 0, size);
    }
  }

  private end(place: number): void {
    const { counters, table } = this.core;
    const found = this.isFound(place);
    if (found) counters.asksFound++;
    this.states[place] = ENDED;
    this.underWay--;
    this.unchain(place);
    table.uuids.release(tupleDevice(this.words[place * TUPLE_WORDS]));
    this.core.onAnswered(this.numbers[place], found);
  }

  private isFound(place: number): boolean {
    return this.core.table.find(this.words, place * TUPLE_WORDS) >= 0;
  }

  private isAbout(place: number, words: Int32Array, at: number): boolean {
    for (let i = 0; i < TUPLE_WORDS; i++) if (this.words[place * TUPLE_WORDS + i] !== words[at + i]) return false;
    return true;
  }

  /** The bit of a peer among those asked; 0 if it was not. */
  private bitOf(place: number, peer: number): number {
    for (let i = 0; i < this.counts[place]; i++) if (this.asked[place * MAX_ASKED + i] === peer) return 1 << i;
    return 0;
  }

  private freePlace(): number {
    let place = this.hand;
    while (this.states[place] !== FREE && this.states[place] !== ENDED) place = (place + 1) % MAX_ASKS;
    this.hand = (place + 1) % MAX_ASKS;
    return place;
  }

  private unchain(place: number): void {
    const tag = this.tags[place];
    const first = this.byTag.get(tag)!;
    if (first === place) {
      if (this.next[place] >= 0) this.byTag.set(tag, this.next[place]);
      else this.byTag.delete(tag);
      return;
    }
    let p = first;
    while (this.next[p] !== place) p = this.next[p];
    this.next[p] = this.next[place];
  }

  // ---- answering

  /** A peer asks: the record that a packet with this tuple would find, or none. */
  onAsk(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { table, outbox, counters } = this.core;
    const { incoming } = this;
    const result = readAsk(bytes, header, table.uuids, incoming);
    if (result !== WIRE_OK) return result;
    if (!peer.answers.bucket.take(outbox.now)) {
      counters.answersRefused++;
      return 0;
    }
    counters.answers++;
    const match = incoming.deviceKnown ? table.find(incoming.words, 0) : -1;
    outbox.begin(peer, MSG_ANSWER, incoming.number);
    if (match >= 0) outbox.add(peer, match >>> 1);
    outbox.end(peer, true);
    return 0;
  }
}
