/**
 * The exchange of flow state between hosts: the parts of this folder, put together behind the order of work that makes a datagram believed.
 */
import { FlowStateError } from '../errors.ts';
import { PeerKeys } from '../peer-keys.ts';
import { SESSION_NEW_LIFE, SESSION_OTHER_LIFE, SESSION_UNACQUAINTED } from '../session.ts';
import type { FlowStateTable } from '../table.ts';
import {
  MSG_ANSWER,
  MSG_ASK,
  MSG_DIGEST,
  MSG_HELLO,
  MSG_LIST,
  MSG_LIST_REQUEST,
  MSG_RESEND,
  MSG_STATE,
  MSG_SYNC_DATA,
  MSG_SYNC_END,
  MSG_SYNC_REQUEST,
  MSG_WANT,
  readHeader,
  WIRE_LENGTH,
  WIRE_OK,
  WIRE_TYPE,
  WireHeader,
} from '../wire/header.ts';
import { Asks } from './asks.ts';
import { Compare } from './compare.ts';
import type { Core, PeerEvent } from './core.ts';
import {
  ExchangeCounters,
  RECEIVE_AUTHENTICATION,
  RECEIVE_REPLAY,
  RECEIVE_UNKNOWN_SENDER,
  refusalReason,
} from './counters.ts';
import { Intake } from './intake.ts';
import { Outbox, type Transport } from './outbox.ts';
import { Peer } from './peer.ts';
import { PublishQueue } from './publish.ts';
import { Resend } from './resend.ts';
import { type ExchangeSettings, settingsOf } from './settings.ts';
import { Sync } from './sync.ts';
import { Walk } from './walk.ts';

export interface ExchangeOptions {
  readonly table: FlowStateTable;
  /** X25519 key of this host, 32 bytes. */
  readonly privateKey: Uint8Array;
  /**
   * Sends a finished datagram to a host (number in `table.uuids`). The bytes are valid during the call. It must not throw, and not call
   * the exchange; what it cannot send is lost like any datagram.
   */
  readonly send: Transport;
  /**
   * A peer's record was applied: APPLY_NEW, APPLY_NEWER or APPLY_JOINED; `table` has it at `record`. This is the place to set its audience.
   * Neither this nor the other callbacks may call `receive`, `flush`, `tick`, or `uuids.reclaim`; `publish` and `ask` are fine.
   */
  onApplied(record: number, result: number): void;
  /** An ask has ended: a record was found, all asked peers have answered, or its time was up. `found`: the tuple is found now. */
  onAnswered(ask: number, found: boolean): void;
  /** For logs. */
  onPeer?(peer: number, event: PeerEvent): void;
  readonly settings?: Partial<ExchangeSettings>;
}

/** A peer as it is shown to people. */
export interface PeerStatus {
  readonly peer: number;
  /** It knows this host's life, and this host its. */
  readonly acquainted: boolean;
  /** Incarnation that is believed; 0: none. */
  readonly incarnation: number;
  /** Time of the last datagram that was authentic and not replayed; -Infinity: none. */
  readonly lastHeard: number;
  readonly receivedDatagrams: number;
  readonly sentDatagrams: number;
  /** Datagrams that were lost for good, and made a synchronisation necessary. */
  readonly lost: number;
  /** Records of this host that it should have; and of it that are here. */
  readonly outgoing: number;
  readonly incoming: number;
  /** A synchronisation was asked of it, or is given to it. */
  readonly synchronising: boolean;
}

/**
 * Tells peers of this host's connections, and takes in theirs. Pure: datagrams come and go by calls, times (`now`, milliseconds) are
 * of the table's clock and never go back. Not for use by several threads.
 */
export class Exchange {
  readonly counters = new ExchangeCounters();
  private readonly table: FlowStateTable;
  private readonly privateKey: Uint8Array;
  private readonly core: Core;
  private readonly byNumber = new Map<number, Peer>();
  /** The same, for ticks: to walk over it costs next to nothing. */
  private readonly all: Peer[] = [];
  private readonly header = new WireHeader();
  private readonly outbox: Outbox;
  private readonly queue: PublishQueue;
  private readonly intake: Intake;
  private readonly walk: Walk;
  private readonly syncs: Sync;
  private readonly resend: Resend;
  private readonly compare: Compare;
  private readonly asks: Asks;

  /** @throws FlowStateError for settings out of range, or a key of a wrong length */
  constructor(options: ExchangeOptions) {
    const { table, privateKey } = options;
    if (privateKey.length !== 32) throw new FlowStateError('WEFT_FLOWSTATE_KEY', 'An X25519 key has 32 bytes.');
    const settings = settingsOf(options.settings);
    this.table = table;
    this.privateKey = privateKey.slice();
    this.outbox = new Outbox(table, settings, this.counters, options.send);
    this.core = {
      table,
      settings,
      counters: this.counters,
      outbox: this.outbox,
      budget: { repairs: settings.repairPerTick },
      peers: this.byNumber,
      onApplied: (record, result) => options.onApplied(record, result),
      onAnswered: (ask, found) => options.onAnswered(ask, found),
      onPeer: (peer, event) => options.onPeer?.(peer, event),
    };
    this.queue = new PublishQueue(this.core);
    this.intake = new Intake(this.core, this.queue);
    this.walk = new Walk(this.core);
    this.syncs = new Sync(this.core, this.walk);
    this.resend = new Resend(this.core, this.syncs);
    this.compare = new Compare(this.core, this.walk, this.syncs, this.queue);
    this.asks = new Asks(this.core, this.intake);
    this.walk.serve(this.syncs, this.compare);
  }

  // ---- peers

  /**
   * Makes a host a peer, or gives it another key. The same again changes nothing.
   * @param host UUID, 16 bytes @param publicKey X25519, 32 bytes
   * @returns its number in `table.uuids`, which the exchange retains
   * @throws FlowStateError for a key that is none, this host itself, or when there is no room for its UUID
   */
  setPeer(host: Uint8Array, publicKey: Uint8Array): number {
    const { table } = this;
    const known = this.byNumber.get(table.uuids.find(host));
    const sameKey = known !== undefined && Buffer.compare(known.publicKey, publicKey) === 0;
    if (known?.active && sameKey) return known.number;
    const own = new Uint8Array(16);
    table.uuids.write(table.self, own);
    const keys = sameKey ? known.keys : new PeerKeys(this.privateKey, publicKey, own, host);
    if (known !== undefined) {
      known.keys = keys;
      known.publicKey = publicKey.slice();
      if (!known.active || !sameKey) this.start(known);
      return known.number;
    }
    const number = table.uuids.intern(host);
    if (number === 0 || number === table.self) {
      throw new FlowStateError(
        'WEFT_FLOWSTATE_CONFIG',
        'A peer must be another host, and there must be room for its UUID.',
      );
    }
    table.uuids.retain(number);
    const peer = new Peer(number, publicKey, keys, table.incarnation, this.core.settings);
    this.byNumber.set(number, peer);
    this.all.push(peer);
    return number;
  }

  /**
   * Whether anything leads to a peer; with a new one that is taken for granted. Without a path nothing is said to it, and what it should have
   * been told is missing there like what was lost on the way. With the next tick after the path has come it is greeted.
   */
  setPath(peer: number, hasPath: boolean): void {
    const known = this.byNumber.get(peer);
    if (known === undefined || known.hasPath === hasPath) return;
    known.hasPath = hasPath;
    // Whether acquainted or not: by the number of the next datagram it sees what it has missed.
    known.lastSent = Number.NEGATIVE_INFINITY;
    this.greetAnew(known);
  }

  private greetAnew(peer: Peer): void {
    peer.nextHello = Number.NEGATIVE_INFINITY;
    peer.helloPause = this.core.settings.helloRetry;
    peer.wake();
  }

  /** A host is no peer any more: nothing is sent to it or taken from it. Its records stay until they expire. */
  removePeer(peer: number): void {
    const known = this.byNumber.get(peer);
    if (known === undefined) return;
    known.active = false;
    known.log = undefined;
    this.reset(known);
  }

  /** All peers, for status. Allocates. */
  peers(): PeerStatus[] {
    const { outgoing, incoming } = this.table;
    return [...this.byNumber.values()]
      .filter(({ active }) => active)
      .map((peer) => ({
        peer: peer.number,
        acquainted: peer.acquainted,
        incarnation: peer.session.incarnation,
        lastHeard: peer.lastHeard,
        receivedDatagrams: peer.receivedDatagrams,
        sentDatagrams: peer.sentDatagrams,
        lost: peer.lost,
        outgoing: outgoing.count(peer.number),
        incoming: incoming.count(peer.number),
        synchronising: peer.sync.waiting || peer.sync.giving,
      }));
  }

  /**
   * Time of the last datagram of a peer that was authentic and not replayed, so sent in its present life; -Infinity if there was none.
   * Replays and unproven hellos do not count: a dead host cannot be made to look alive.
   */
  lastHeard(peer: number): number {
    return this.byNumber.get(peer)?.lastHeard ?? Number.NEGATIVE_INFINITY;
  }

  /** Nothing of what a peer has sent is known to be missing, and no synchronisation with it is under way. */
  isLevel(peer: number): boolean {
    const known = this.byNumber.get(peer);
    return known?.acquainted === true && !known.gaps.suspected && !known.sync.waiting && !known.sync.giving;
  }

  // ---- telling

  /**
   * A record was made, changed or buried here, or a packet of it was seen: tells all of its audience and its owner, but this host, with
   * the next flush. The audience of a peer's record is what `table.setAudience` was given on this host; if that is nobody, its owner alone
   * is told. Set it before a peer's record is buried or taken over: then this host is the owner, and nobody else would hear of it.
   */
  publish(record: number): void {
    this.queue.add(record);
  }

  /** Sends what was published, many records a datagram: before the packets leave that the records are about. Marks them as told. */
  flush(now: number): void {
    this.outbox.now = now;
    this.queue.flush();
  }

  /**
   * Everything between this host and a peer is to be told anew, both ways: it is new in a group, or audiences changed. It begins at the next
   * tick; called again meanwhile, it is done once more afterwards, after pauses that grow.
   */
  sync(peer: number): void {
    const known = this.byNumber.get(peer);
    // Who is not acquainted yet synchronises when it is.
    if (!known?.acquainted) return;
    known.sync.called = true;
    known.wake();
  }

  /**
   * Asks peers for the record of a tuple that was not found here. Another ask for the same tuple joins the one under way.
   * @param peers the first {@link MAX_ASKED} of them that are acquainted are asked
   * @returns number of the ask, which {@link ExchangeOptions.onAnswered} gives back; 0: nobody could be asked, or it was too much
   */
  ask(words: Int32Array, at: number, peers: readonly number[], now: number): number {
    this.outbox.now = now;
    return this.asks.ask(words, at, peers);
  }

  // ---- hearing

  /**
   * Takes in a datagram. Nothing of it is believed before its authentication and the session have said yes; nothing unauthentic is
   * answered or makes state.
   * @returns how many records were applied; or why it was refused: WIRE_… or RECEIVE_…, see {@link refusalReason}
   */
  receive(bytes: Uint8Array, length: number, now: number): number {
    const { header, counters } = this;
    this.outbox.now = now;
    counters.receivedDatagrams++;
    counters.receivedBytes += length;
    const read = readHeader(bytes, length, header);
    if (read !== WIRE_OK) return this.refuse(read);
    const peer = this.byNumber.get(this.table.uuids.find(header.sender));
    if (!peer?.active) return this.refuse(RECEIVE_UNKNOWN_SENDER);
    if (!peer.keys.verify(bytes, length)) return this.refuse(RECEIVE_AUTHENTICATION);
    const { session } = peer;
    const before = session.highest;
    const life = session.incarnation;
    const accepted = session.accept(header.senderIncarnation, header.receiverIncarnation, header.sequence);
    if (accepted === SESSION_UNACQUAINTED) {
      counters.unacquainted++;
      this.greet(peer);
      return 0;
    }
    if (accepted < 0) {
      if (accepted === SESSION_OTHER_LIFE) this.greet(peer);
      return this.refuse(RECEIVE_REPLAY + 1 + accepted);
    }
    peer.wake();
    const silence = now - peer.lastHeard;
    peer.lastHeard = now;
    peer.receivedDatagrams++;
    if (accepted === SESSION_NEW_LIFE) this.meet(peer, life === 0 ? 'met' : 'restarted');
    else {
      this.resend.note(peer, before);
      if (silence > this.core.settings.silence) this.core.onPeer(peer.number, 'back');
    }
    const result = this.work(peer, bytes);
    return result < 0 ? this.refuse(result) : result;
  }

  /** Works on a datagram that is believed. */
  private work(peer: Peer, bytes: Uint8Array): number {
    const { header, intake } = this;
    switch (header.type) {
      case MSG_HELLO:
        return header.bodySize === 0 ? 0 : WIRE_LENGTH;
      case MSG_STATE: {
        const opened = intake.open(bytes, header);
        if (opened !== WIRE_OK) return opened;
        const { about } = intake.reader;
        const applied = intake.take(peer);
        if (applied >= 0) this.resend.confirmed(peer, about);
        return applied;
      }
      case MSG_SYNC_DATA: {
        const opened = intake.open(bytes, header);
        if (opened !== WIRE_OK) return opened;
        this.syncs.progress(peer, intake.reader.about);
        return intake.take(peer);
      }
      case MSG_ANSWER:
        return this.asks.onAnswer(peer, bytes, header);
      case MSG_SYNC_REQUEST:
        return this.syncs.onRequest(peer, bytes, header);
      case MSG_SYNC_END:
        return this.syncs.onEnd(peer, bytes, header);
      case MSG_DIGEST:
        return this.compare.onDigest(peer, bytes, header);
      case MSG_LIST_REQUEST:
        return this.compare.onListRequest(peer, bytes, header);
      case MSG_LIST:
        return this.compare.onList(peer, bytes, header);
      case MSG_WANT:
        return this.compare.onWant(peer, bytes, header);
      case MSG_RESEND:
        return this.resend.onRequest(peer, bytes, header);
      case MSG_ASK:
        return this.asks.onAsk(peer, bytes, header);
      default:
        return WIRE_TYPE;
    }
  }

  private refuse(result: number): number {
    this.counters.refused[refusalReason(result)]++;
    return result;
  }

  // ---- time

  /** To be called every 10 to 50 ms: hellos, repairs, digests, a slice of synchronisations, ends of asks; then flushes. */
  tick(now: number): void {
    const { core, outbox } = this;
    outbox.now = now;
    core.budget.repairs = core.settings.repairPerTick;
    for (let i = 0; i < this.all.length; i++) if (now >= this.all[i].dueAt) this.look(this.all[i]);
    this.walk.step();
    this.asks.tick();
    this.queue.flush();
  }

  /** Does what is due about a peer, and notes when something will be next. */
  private look(peer: Peer): void {
    if (!peer.active || !peer.hasPath) {
      peer.dueAt = Number.POSITIVE_INFINITY;
      return;
    }
    this.counters.looks++;
    if (peer.acquainted) {
      this.resend.tick(peer);
      this.syncs.tick(peer);
      this.compare.tick(peer);
    }
    this.sayHello(peer);
    peer.dueAt = this.nextDue(peer);
  }

  private nextDue(peer: Peer): number {
    if (!peer.acquainted) return peer.nextHello;
    if (peer.gaps.suspected || peer.sync.isBusy || peer.compare.isBusy) return Number.NEGATIVE_INFINITY;
    return Math.min(this.helloAt(peer), peer.compare.nextDigest);
  }

  /** When a peer that is acquainted is to hear something. */
  private helloAt({ lastSent, tail }: Peer): number {
    const { heartbeat, tailProbe } = this.core.settings;
    return lastSent + (tail ? Math.min(heartbeat, tailProbe) : heartbeat);
  }

  private sayHello(peer: Peer): void {
    const { settings, outbox } = this.core;
    const { now } = outbox;
    if (peer.acquainted) {
      if (now >= this.helloAt(peer)) outbox.hello(peer);
    } else if (now >= peer.nextHello) {
      outbox.hello(peer);
      peer.nextHello = now + peer.helloPause;
      peer.helloPause = Math.min(peer.helloPause * 2, settings.helloRetryMost);
    }
  }

  /** Answers a peer that does not know this host's life, or has an old one in mind. */
  private greet(peer: Peer): void {
    const { now } = this.outbox;
    if (now - peer.greeted < this.core.settings.helloAnswer) return;
    peer.greeted = now;
    this.outbox.hello(peer);
  }

  /** A peer's life is proven: all that was under way with the one before is void. The request also proves this host's life to it. */
  private meet(peer: Peer, event: PeerEvent): void {
    this.reset(peer);
    this.compare.begin(peer);
    this.syncs.request(peer);
    this.core.onPeer(peer.number, event);
  }

  /** A peer that was removed, or has another key, begins anew, but for its session. */
  private start(peer: Peer): void {
    const { session, sync, compare } = peer;
    this.reset(peer);
    peer.active = true;
    this.greetAnew(peer);
    if (session.incarnation === 0) return;
    sync.called = true;
    compare.nextDigest = Number.NEGATIVE_INFINITY;
  }

  private reset(peer: Peer): void {
    this.walk.drop(peer);
    peer.gaps.reset();
    peer.sync.reset();
    peer.compare.reset();
  }
}
