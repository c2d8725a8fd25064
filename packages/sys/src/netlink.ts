/** A netlink socket: requests with their answers, dumps, and notifications (netlink(7)). */
import { ERRNO, SysError, WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { cfunc, check, errno } from './libc.ts';
import {
  Attributes,
  type NetlinkMessage,
  type NetlinkWriter,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HEADER,
  NLMSG_OVERRUN,
  parseMessages,
} from './netlink-message.ts';
import { AF_NETLINK, bind, SO_RCVTIMEO, SOCK_RAW, SOL_SOCKET, setReceiveBuffer, setsockopt, socket } from './socket.ts';

export const NETLINK_ROUTE = 0;

const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const NLMSGERR_ATTR_MSG = 1;

const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

const cSend = cfunc('send', 'intptr_t', ['int', 'void *', 'size_t', 'int']);
const cRecv = cfunc('recv', 'intptr_t', ['int', 'void *', 'size_t', 'int']);
const cGetsockname = cfunc('getsockname', 'int', ['int', 'void *', 'void *']);

/** Largest datagram the kernel makes for a dump is 32 KiB (netlink_dump); some room for a big single message. */
const RECEIVE_SIZE = 128 * 1024;
/** The kernel answers within the send call; the timeout only guards against a lost answer. */
const ANSWER_TIMEOUT_S = 10;
const DUMP_ATTEMPTS = 8;

/** How to open a netlink socket. */
export type NetlinkOptions = {
  /** Netlink family; default NETLINK_ROUTE. */
  protocol?: number;
  /** Multicast groups to listen to (RTNLGRP_… numbers, not bits). Read them by {@link NetlinkSocket.drain}. */
  groups?: readonly number[];
  /** Receive buffer in bytes; default 1 MiB. */
  receiveBuffer?: number;
};

/** What happened to a drain. `overrun`: notifications were lost; list everything again. */
export type DrainResult = { messages: number; overrun: boolean };

/**
 * A netlink socket in the network namespace of the thread that opens it, for good: to work in another namespace, open
 * one there (`runIn(ns, () => new NetlinkSocket())`) and use it from anywhere.
 *
 * Requests are synchronous: the kernel executes them inside the call. Do not mix requests and multicast groups on one
 * socket.
 */
export class NetlinkSocket {
  readonly fd: number;
  /** Port id the kernel gave. */
  readonly portId: number;
  readonly #receive = new Uint8Array(RECEIVE_SIZE);
  readonly #subscribed: boolean;
  #sequence = 1;
  #closed = false;

  /** Throws SysError (EPROTONOSUPPORT, EPERM). */
  constructor(options: NetlinkOptions = {}) {
    this.#subscribed = (options.groups?.length ?? 0) > 0;
    this.fd = socket(AF_NETLINK, SOCK_RAW, options.protocol ?? NETLINK_ROUTE);
    try {
      setsockopt(this.fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
      setsockopt(this.fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      setsockopt(this.fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
      setReceiveBuffer(this.fd, options.receiveBuffer ?? 1 << 20);
      const timeout = new Uint8Array(16); // struct timeval
      new DataView(timeout.buffer).setUint32(0, ANSWER_TIMEOUT_S, true);
      setsockopt(this.fd, SOL_SOCKET, SO_RCVTIMEO, timeout);
      const address = new Uint8Array(12); // struct sockaddr_nl
      const view = new DataView(address.buffer);
      view.setUint16(0, AF_NETLINK, true);
      bind(this.fd, address, 'AF_NETLINK');
      const length = new Uint32Array([address.length]);
      check('getsockname', cGetsockname(this.fd, address, length));
      this.portId = view.getUint32(4, true);
      for (const group of options.groups ?? []) setsockopt(this.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    } catch (error) {
      close(this.fd);
      throw error;
    }
  }

  #send(writer: NetlinkWriter): number {
    if (this.#closed) throw new WeftSysError('WEFT_SYS_CLOSED', 'netlink socket used after close()');
    if (this.#subscribed) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', 'requests need a netlink socket without multicast groups');
    }
    const sequence = (this.#sequence = (this.#sequence % 0x7fffffff) + 1);
    const message = writer.finish(sequence);
    for (;;) {
      if (cSend(this.fd, message, message.length, 0) >= 0) return sequence;
      const e = errno();
      if (e !== ERRNO.EINTR) throw new SysError('send', e, 'netlink');
    }
  }

  /** One datagram, copied; undefined when none waits (only with MSG_DONTWAIT). */
  #receiveDatagram(flags: number): Uint8Array | undefined {
    for (;;) {
      const n = cRecv(this.fd, this.#receive, this.#receive.length, flags | MSG_TRUNC);
      if (n >= 0) {
        if (n > this.#receive.length) {
          throw new WeftSysError('WEFT_SYS_PROTOCOL', `netlink datagram of ${n} bytes is larger than ${RECEIVE_SIZE}`);
        }
        return this.#receive.slice(0, n);
      }
      const e = errno();
      if (e === ERRNO.EINTR) continue;
      if (e === ERRNO.EAGAIN && flags & MSG_DONTWAIT) return undefined;
      throw new SysError('recv', e === ERRNO.EAGAIN ? ERRNO.ETIMEDOUT! : e, 'netlink');
    }
  }

  /**
   * Sends a request and waits for its acknowledgement.
   * @param what for error messages: "create link weft-x0"
   * @returns messages that came before the acknowledgement (the object, for requests that return one)
   * Throws SysError with code WEFT_SYS_NETLINK and the kernel's explanation.
   */
  request(writer: NetlinkWriter, what: string): NetlinkMessage[] {
    return this.#exchange(writer, NLM_F_ACK, what).messages;
  }

  /**
   * Lists objects. A dump that changed under way is repeated, and after eight attempts given as it is.
   * @returns every message of the dump
   */
  dump(writer: NetlinkWriter, what: string): NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const { messages, interrupted } = this.#exchange(writer, NLM_F_DUMP, what);
      if (!interrupted || attempt === DUMP_ATTEMPTS) return messages;
    }
  }

  #exchange(writer: NetlinkWriter, flags: number, what: string): { messages: NetlinkMessage[]; interrupted: boolean } {
    writer.addFlags(flags);
    const sequence = this.#send(writer);
    const messages: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      const datagram = this.#receiveDatagram(0)!;
      for (const message of parseMessages(datagram)) {
        if (message.sequence !== sequence) continue; // answer to an earlier request that failed half-way
        if (message.flags & NLM_F_DUMP_INTR) interrupted = true;
        if (message.type === NLMSG_ERROR) {
          throwIfError(message, what);
          return { messages, interrupted };
        }
        if (message.type === NLMSG_DONE) {
          if (message.end - message.start >= 4) {
            const code = message.view.getInt32(message.start, true);
            if (code < 0) throw netlinkError(-code, what, explanation(message, 4));
          }
          return { messages, interrupted };
        }
        if (message.type === NLMSG_OVERRUN) throw netlinkError(ERRNO.ENOBUFS!, what, undefined);
        messages.push(message);
        if (flags !== NLM_F_ACK && !(message.flags & NLM_F_MULTI)) return { messages, interrupted };
      }
    }
  }

  /**
   * Takes the notifications that wait, without blocking, at most `max` datagrams. Call it when {@link fd} is readable
   * (epoll in a worker), or from a timer.
   * On `overrun` the socket's buffer was full and the kernel dropped some: list everything anew.
   */
  drain(handler: (message: NetlinkMessage) => void, max = 256): DrainResult {
    if (this.#closed) throw new WeftSysError('WEFT_SYS_CLOSED', 'netlink socket used after close()');
    let messages = 0;
    let overrun = false;
    for (let i = 0; i < max; i++) {
      let datagram: Uint8Array | undefined;
      try {
        datagram = this.#receiveDatagram(MSG_DONTWAIT);
      } catch (error) {
        if (error instanceof SysError && error.errno === ERRNO.ENOBUFS) {
          overrun = true;
          continue;
        }
        throw error;
      }
      if (datagram === undefined) break;
      for (const message of parseMessages(datagram)) {
        messages++;
        handler(message);
      }
    }
    return { messages, overrun };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function throwIfError(message: NetlinkMessage, what: string): void {
  if (message.end - message.start < 4) throw new WeftSysError('WEFT_SYS_PROTOCOL', 'netlink error without a number');
  const code = message.view.getInt32(message.start, true);
  if (code === 0) return;
  let attributes = 4 + NLMSG_HEADER;
  if (!(message.flags & NLM_F_CAPPED) && message.end - message.start >= 8) {
    attributes = 4 + message.view.getUint32(message.start + 4, true);
  }
  throw netlinkError(-code, what, message.flags & NLM_F_ACK_TLVS ? explanation(message, attributes) : undefined);
}

/** The kernel's own sentence about the error (struct netlink_ext_ack). */
function explanation(message: NetlinkMessage, offset: number): string | undefined {
  const start = message.start + ((offset + 3) & ~3);
  return start < message.end ? new Attributes(message.bytes, start, message.end).string(NLMSGERR_ATTR_MSG) : undefined;
}

function netlinkError(errno: number, what: string, sentence: string | undefined): SysError {
  return new SysError('netlink', errno, what, sentence, 'WEFT_SYS_NETLINK');
}
