/** Netlink messages and attributes as bytes (netlink(7), include/uapi/linux/netlink.h). Pure: no socket here. */
import { WeftSysError } from './errors.ts';
import { cString } from './libc.ts';

export const NLMSG_HEADER = 16;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

export const NLM_F_REQUEST = 0x001;
export const NLM_F_MULTI = 0x002;
export const NLM_F_ACK = 0x004;
export const NLM_F_DUMP_INTR = 0x010;
/** On an answer of type NLMSG_ERROR: the request is not echoed behind it. */
export const NLM_F_CAPPED = 0x100;
/** On an answer of type NLMSG_ERROR: attributes with the kernel's explanation follow. */
export const NLM_F_ACK_TLVS = 0x200;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const align4 = (n: number) => (n + 3) & ~3;

/** Writes one netlink request: header, family header, attributes. Grows as needed; host order unless said otherwise. */
export class NetlinkWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = NLMSG_HEADER;

  /** @param type message type (RTM_…); @param flags NLM_F_… besides REQUEST, which is always set */
  constructor(type: number, flags: number, capacity = 512) {
    this.#bytes = new Uint8Array(Math.max(64, capacity));
    this.#view = new DataView(this.#bytes.buffer);
    this.#view.setUint16(4, type, true);
    this.#view.setUint16(6, flags | NLM_F_REQUEST, true);
  }

  #reserve(n: number): number {
    const at = this.#length;
    const end = at + n;
    if (end > 65536) throw new WeftSysError('WEFT_SYS_ARGUMENT', 'netlink request of more than 64 KiB');
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = end;
    return at;
  }

  /** Raw bytes, padded to 4. */
  raw(data: Uint8Array): this {
    const at = this.#reserve(align4(data.length));
    this.#bytes.set(data, at);
    return this;
  }

  rawU8(...values: number[]): this {
    const at = this.#reserve(values.length);
    for (let i = 0; i < values.length; i++) this.#bytes[at + i] = values[i]!;
    return this;
  }

  rawU16(value: number): this {
    this.#view.setUint16(this.#reserve(2), value, true);
    return this;
  }

  rawU32(value: number): this {
    this.#view.setUint32(this.#reserve(4), value >>> 0, true);
    return this;
  }

  /** An attribute with any payload. */
  attr(type: number, data: Uint8Array): this {
    const at = this.#reserve(4 + align4(data.length));
    this.#view.setUint16(at, 4 + data.length, true);
    this.#view.setUint16(at + 2, type, true);
    this.#bytes.set(data, at + 4);
    return this;
  }

  attrU8(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value));
  }

  attrU16(type: number, value: number): this {
    const data = new Uint8Array(2);
    new DataView(data.buffer).setUint16(0, value, true);
    return this.attr(type, data);
  }

  /** 16 bits in network order. */
  attrU16be(type: number, value: number): this {
    return this.attr(type, Uint8Array.of(value >> 8, value & 0xff));
  }

  attrU32(type: number, value: number): this {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, value >>> 0, true);
    return this.attr(type, data);
  }

  /** Text with the terminating NUL. */
  attrString(type: number, text: string): this {
    return this.attr(type, Buffer.from(`${text}\0`, 'utf8'));
  }

  /** An attribute without payload. */
  attrFlag(type: number): this {
    return this.attr(type, new Uint8Array(0));
  }

  /** An attribute whose payload `fill` writes. */
  nest(type: number, fill: (writer: this) => void): this {
    const at = this.#reserve(4);
    this.#view.setUint16(at + 2, type, true);
    fill(this);
    const length = this.#length - at;
    if (length > 0xffff) throw new WeftSysError('WEFT_SYS_ARGUMENT', 'netlink attribute of more than 64 KiB');
    this.#view.setUint16(at, length, true);
    this.#reserve(align4(this.#length) - this.#length);
    return this;
  }

  /** Bytes written so far (struct rtnexthop carries its own length). */
  get length(): number {
    return this.#length;
  }

  /** Overwrites 16 bits written earlier. */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  /** The finished message, with its length and sequence number. */
  finish(sequence: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, this.#length, true);
    this.#view.setUint32(8, sequence >>> 0, true);
    return this.#bytes.subarray(0, this.#length);
  }

  /** Sets further NLM_F_… flags. */
  addFlags(flags: number): void {
    this.#view.setUint16(6, this.#view.getUint16(6, true) | flags, true);
  }
}

/** One received message: its family header and attributes start at `start`, and end before `end`, in `bytes`. */
export type NetlinkMessage = {
  type: number;
  flags: number;
  sequence: number;
  bytes: Uint8Array;
  view: DataView;
  start: number;
  end: number;
};

/** Splits one datagram into messages. Stops at the first that does not fit: throws WEFT_SYS_PROTOCOL. */
export function parseMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + NLMSG_HEADER <= bytes.length) {
    const length = view.getUint32(at, true);
    if (length < NLMSG_HEADER || length > bytes.length - at) {
      throw new WeftSysError('WEFT_SYS_PROTOCOL', `netlink message of ${length} bytes in ${bytes.length - at}`);
    }
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      bytes,
      view,
      start: at + NLMSG_HEADER,
      end: at + length,
    });
    at += align4(length);
  }
  return messages;
}

/** Attributes of a message or of a nested attribute, by type. A repeated type keeps the last, as the kernel does. */
export class Attributes {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #at = new Map<number, number>();

  /** Reads attributes in `bytes[start … end)`; an attribute that does not fit ends the list. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const stop = Math.min(end, bytes.length);
    let at = start;
    while (at + 4 <= stop) {
      const length = this.#view.getUint16(at, true);
      if (length < 4 || at + length > stop) break;
      this.#at.set(this.#view.getUint16(at + 2, true) & NLA_TYPE_MASK, at);
      at += align4(length);
    }
  }

  /** Attributes after a family header of `headerSize` bytes. */
  static of(message: NetlinkMessage, headerSize: number): Attributes {
    return new Attributes(message.bytes, message.start + align4(headerSize), message.end);
  }

  has(type: number): boolean {
    return this.#at.has(type);
  }

  types(): IterableIterator<number> {
    return this.#at.keys();
  }

  /** Payload, copied; undefined when absent. */
  bytes(type: number): Uint8Array | undefined {
    const at = this.#at.get(type);
    return at === undefined ? undefined : this.#bytes.slice(at + 4, at + this.#view.getUint16(at, true));
  }

  #payload(type: number, size: number): number {
    const at = this.#at.get(type);
    return at === undefined || this.#view.getUint16(at, true) < 4 + size ? -1 : at + 4;
  }

  u8(type: number): number | undefined {
    const at = this.#payload(type, 1);
    return at < 0 ? undefined : this.#view.getUint8(at);
  }

  u16(type: number): number | undefined {
    const at = this.#payload(type, 2);
    return at < 0 ? undefined : this.#view.getUint16(at, true);
  }

  u16be(type: number): number | undefined {
    const at = this.#payload(type, 2);
    return at < 0 ? undefined : this.#view.getUint16(at, false);
  }

  u32(type: number): number | undefined {
    const at = this.#payload(type, 4);
    return at < 0 ? undefined : this.#view.getUint32(at, true);
  }

  s32(type: number): number | undefined {
    const at = this.#payload(type, 4);
    return at < 0 ? undefined : this.#view.getInt32(at, true);
  }

  string(type: number): string | undefined {
    const at = this.#at.get(type);
    return at === undefined ? undefined : cString(this.#bytes, at + 4, at + this.#view.getUint16(at, true));
  }

  nested(type: number): Attributes | undefined {
    const at = this.#at.get(type);
    return at === undefined ? undefined : new Attributes(this.#bytes, at + 4, at + this.#view.getUint16(at, true));
  }
}
