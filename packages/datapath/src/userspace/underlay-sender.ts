/**
 * Outer packets to the underlay over raw IP sockets: the kernel resolves the neighbour and queues meanwhile, which a packet
 * socket would have to do by itself. One socket per interface and family, bound to the interface, so that the agent's choice
 * of path holds.
 */
import {
  AF_INET,
  AF_INET6,
  cfunc,
  close,
  ERRNO,
  errno,
  NativeBuffer,
  SO_SNDBUF,
  SOCK_RAW,
  SOL_SOCKET,
  setsockopt,
  socket,
} from '@weft/sys';
import { copyFrame, type WorkFrame } from '../oracle/index.ts';
import type { TunnelEntry } from './tables.ts';

/** Raw IP with our own header; on IPv6 it implies IPV6_HDRINCL (net/ipv6/af_inet6.c). */
const IPPROTO_RAW = 255;
const SO_BINDTOIFINDEX = 62;
const SOCK_NONBLOCK = 0o4000;
const MSG_DONTWAIT = 0x40;

/** struct mmsghdr, two struct iovec, and room for a sockaddr_in6 each. */
const MMSGHDR = 64;
const IOVEC = 16;
const IOVECS = 2 * IOVEC;
const NAME = 32;
const SOCKADDR_IN = 16;
const SOCKADDR_IN6 = 28;

const MESSAGES = 128;
const ARENA = 512 * 1024;

const sendmmsg = cfunc('sendmmsg', 'int', ['int', 'size_t', 'uint', 'int']);

export class UnderlaySender {
  readonly #headers = NativeBuffer.alloc(MESSAGES * (MMSGHDR + IOVECS + NAME));
  readonly #arena = NativeBuffer.alloc(ARENA);
  /** Socket by ifindex × 2 + (IPv6 ? 1 : 0). */
  readonly #sockets = new Map<number, number>();
  readonly #failed: (errno: number) => void;
  #fd = -1;
  #count = 0;
  #used = 0;

  /** @param failed called once for each packet that the kernel would not take. */
  constructor(failed: (errno: number) => void) {
    this.#failed = failed;
    const view = this.#headers.view;
    for (let i = 0; i < MESSAGES; i++) {
      const m = i * MMSGHDR;
      setPointer(view, m, this.#headers.address + this.#nameAt(i));
      setPointer(view, m + 16, this.#headers.address + this.#iovecAt(i));
    }
  }

  #iovecAt(i: number): number {
    return MESSAGES * MMSGHDR + i * IOVECS;
  }

  #nameAt(i: number): number {
    return MESSAGES * (MMSGHDR + IOVECS) + i * NAME;
  }

  /**
   * Queues `bytes[from … end)`, an IP packet with its header, for the tunnel's remote address by interface `ifindex`. Of a segment
   * that is the headers; its payload, `size` bytes from `at` on in `whole`, is not copied if it has an address: it must stay as
   * it is until {@link flush}.
   */
  add(
    ifindex: number,
    tunnel: TunnelEntry,
    bytes: Uint8Array,
    from: number,
    end: number,
    whole: WorkFrame | null,
    at: number,
    size: number,
  ): void {
    const inPlace = whole !== null && whole.address !== 0;
    const head = end - from;
    const length = inPlace ? head : head + size;
    const fd = this.#socket(ifindex, tunnel.ipv6);
    if (fd < 0) return;
    if (fd !== this.#fd || this.#count === MESSAGES || this.#used + length > ARENA) this.flush();
    this.#fd = fd;
    const i = this.#count++;
    copyFrame(bytes, from, this.#arena.bytes, this.#used, head);
    if (whole !== null && !inPlace) copyFrame(whole.bytes, at, this.#arena.bytes, this.#used + head, size);
    const view = this.#headers.view;
    const iovec = this.#iovecAt(i);
    setPointer(view, iovec, this.#arena.address + this.#used);
    view.setUint32(iovec + 8, length, true);
    view.setUint32(i * MMSGHDR + 24, inPlace ? 2 : 1, true);
    if (inPlace) {
      setPointer(view, iovec + IOVEC, whole.address + at);
      view.setUint32(iovec + IOVEC + 8, size, true);
    }
    this.#used += (length + 63) & ~63;
    const name = this.#nameAt(i);
    const { remote } = tunnel.spec;
    view.setUint32(name + 2, 0, true);
    if (tunnel.ipv6) {
      view.setUint16(name, AF_INET6, true);
      view.setUint32(name + 4, 0, true);
      for (let k = 0; k < 16; k++) view.setUint8(name + 8 + k, remote[k]);
      // The scope matters for link-local addresses only.
      view.setUint32(name + 24, ifindex, true);
    } else {
      view.setUint16(name, AF_INET, true);
      for (let k = 0; k < 4; k++) view.setUint8(name + 4 + k, remote[12 + k]);
    }
    view.setUint32(i * MMSGHDR + 8, tunnel.ipv6 ? SOCKADDR_IN6 : SOCKADDR_IN, true);
  }

  /** Sends what is queued. */
  flush(): void {
    let i = 0;
    while (i < this.#count) {
      const n = sendmmsg(this.#fd, this.#headers.address + i * MMSGHDR, this.#count - i, MSG_DONTWAIT);
      if (n > 0) {
        i += n;
        continue;
      }
      const e = errno();
      if (e === ERRNO.EINTR) continue;
      // The packet at the front is the one refused; the rest may still go.
      this.#failed(e);
      i++;
    }
    this.#count = 0;
    this.#used = 0;
  }

  /** The interface is gone or no longer used: its sockets are closed. */
  forget(ifindex: number): void {
    this.flush();
    for (const key of [ifindex * 2, ifindex * 2 + 1]) {
      const fd = this.#sockets.get(key);
      if (fd === undefined) continue;
      this.#sockets.delete(key);
      close(fd);
    }
    this.#fd = -1;
  }

  /** -1 if there can be none (the interface is gone, no IPv6); counted as failed. */
  #socket(ifindex: number, ipv6: boolean): number {
    const key = ifindex * 2 + (ipv6 ? 1 : 0);
    const known = this.#sockets.get(key);
    if (known !== undefined) return known;
    let fd = -1;
    try {
      fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW);
      setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex);
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, 4 << 20);
    } catch (error) {
      if (fd >= 0) close(fd);
      this.#failed((error as { errno?: number }).errno ?? ERRNO.EIO);
      return -1;
    }
    this.#sockets.set(key, fd);
    return fd;
  }

  close(): void {
    this.flush();
    for (const fd of this.#sockets.values()) close(fd);
    this.#sockets.clear();
    this.#headers.close();
    this.#arena.close();
  }
}

function setPointer(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
