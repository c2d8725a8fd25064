import { ConnectionRecord } from '../record.ts';
import { SentLog } from '../sent-log.ts';
import type { FlowStateTable } from '../table.ts';
import { DATAGRAM_SIZE, HEADER_SIZE, MSG_HELLO, WireHeader, writeHeader } from '../wire/header.ts';
import { RecordWriter } from '../wire/records.ts';
import type { ExchangeCounters } from './counters.ts';
import type { Peer } from './peer.ts';
import type { ExchangeSettings } from './settings.ts';

/** Sends a finished datagram, valid during the call, to the host of this number. It must not call the exchange. */
export type Transport = (peer: number, bytes: Uint8Array, length: number) => void;

/** Finishes datagrams: header, number, note of what stands in them, authentication. */
export class Outbox {
  /** Time of the call that is being worked on. */
  now = 0;
  /** For datagrams without records: the body is written here, then {@link post}. */
  readonly bytes = new Uint8Array(DATAGRAM_SIZE);
  private readonly table: FlowStateTable;
  private readonly settings: ExchangeSettings;
  private readonly counters: ExchangeCounters;
  private readonly transport: Transport;
  private readonly header = new WireHeader();
  private readonly writer: RecordWriter;
  private readonly scratch = new ConnectionRecord();
  private type = 0;
  private about = 0;
  private sequence = 0;

  constructor(table: FlowStateTable, settings: ExchangeSettings, counters: ExchangeCounters, transport: Transport) {
    this.table = table;
    this.settings = settings;
    this.counters = counters;
    this.transport = transport;
    this.writer = new RecordWriter(table.uuids);
    table.uuids.write(table.self, this.header.sender);
    this.header.senderIncarnation = table.incarnation;
  }

  /** Sends the body in `bytes`. Returns the number of the datagram. */
  post(peer: Peer, type: number, count: number, bodySize: number): number {
    const sequence = this.next(peer);
    this.seal(peer, type, count, bodySize, this.bytes, sequence);
    return sequence;
  }

  hello(peer: Peer): void {
    this.post(peer, MSG_HELLO, 0, 0);
    peer.tail = false;
  }

  /** Begins to send records to a peer; then {@link add}, then {@link end}. One peer at a time. */
  begin(peer: Peer, type: number, about: number): void {
    if (peer.log === undefined) {
      peer.log = new SentLog(this.table, this.settings.sentDatagrams, this.settings.sentRecords);
      peer.logFrom = peer.lastSequence + 1;
    }
    this.type = type;
    this.about = about;
    this.sequence = 0;
  }

  /** Adds a record of the table as it is now; a full datagram is sent. */
  add(peer: Peer, record: number): void {
    const { writer, scratch } = this;
    this.table.read(record, this.now, scratch);
    if (this.sequence === 0) this.open(peer);
    if (!writer.add(scratch)) {
      this.end(peer);
      this.open(peer);
      writer.add(scratch);
    }
    peer.log!.note(this.sequence, record);
  }

  /** Sends what was added. @param always also a datagram without records, if none was added */
  end(peer: Peer, always = false): void {
    if (this.sequence === 0) {
      if (!always) return;
      this.open(peer);
    }
    const { writer } = this;
    const size = writer.finish();
    this.counters.sentRecords += writer.count;
    if (writer.count > 0) {
      peer.tail = true;
      peer.wake();
    }
    this.seal(peer, this.type, writer.count, size, writer.bytes, this.sequence);
    this.sequence = 0;
  }

  private open(peer: Peer): void {
    this.sequence = this.next(peer);
    this.writer.begin(this.about);
  }

  private next(peer: Peer): number {
    const sequence = peer.session.next();
    peer.lastSequence = sequence;
    peer.log?.begin(sequence);
    return sequence;
  }

  private seal(peer: Peer, type: number, count: number, size: number, bytes: Uint8Array, sequence: number): void {
    if (!peer.hasPath) {
      // As if it were lost on the way, without the work.
      this.counters.unsentDatagrams++;
      return;
    }
    const { header } = this;
    header.type = type;
    header.count = count;
    header.bodySize = size;
    header.receiverIncarnation = peer.session.addressee;
    header.sequence = sequence;
    writeHeader(header, bytes);
    const length = peer.keys.seal(bytes, HEADER_SIZE + size);
    peer.lastSent = this.now;
    peer.sentDatagrams++;
    this.counters.sentDatagrams++;
    this.counters.sentBytes += length;
    this.transport(peer.number, bytes, length);
  }
}
