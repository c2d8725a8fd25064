/** Raw IP sockets one packet at a time (raw(7)): for probes, not for forwarding. */
import { ERRNO, SysError } from './errors.ts';
import { cfunc, errno } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import { AF_INET, AF_INET6, SOCK_NONBLOCK, SOCK_RAW, SOL_SOCKET, setsockopt, socket } from './socket.ts';

const SO_ATTACH_FILTER = 26;
const SO_BINDTOIFINDEX = 62;
/** Raw IP with our own header; on IPv6 it implies IPV6_HDRINCL (net/ipv6/af_inet6.c). */
const IPPROTO_RAW = 255;
const MSG_DONTWAIT = 0x40;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
/** Neither heeds what the kernel knows of path MTUs; INTERFACE does not teach it either (ip(7); IPv6 learns all the same). */
const PMTUDISC = { probe: 3, interface: 4 } as const;

function ignorePathMtu(fd: number, family: 4 | 6, how: keyof typeof PMTUDISC): void {
  if (family === 6) setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC[how]);
  else setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC[how]);
}

const cSendto = cfunc('sendto', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32_t']);
const cRecvfrom = cfunc('recvfrom', 'long', ['int', 'void *', 'size_t', 'int', 'void *', 'void *']);

/** sockaddr_in or sockaddr_in6 of a 4- or 16-byte address. */
function sockaddr(address: Uint8Array, scope: number): Uint8Array {
  const v6 = address.length === 16;
  const name = new Uint8Array(v6 ? 28 : 16);
  const view = new DataView(name.buffer);
  view.setUint16(0, v6 ? AF_INET6 : AF_INET, true);
  name.set(address, v6 ? 8 : 4);
  if (v6) view.setUint32(24, scope, true);
  return name;
}

/** A socket that sends whole IP packets out of one interface, up to its MTU. Throws SysError (EPERM without CAP_NET_RAW, ENODEV). */
export function openIpSender(family: 4 | 6, ifindex: number): number {
  const fd = socket(family === 6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_NONBLOCK, IPPROTO_RAW);
  setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, ifindex);
  ignorePathMtu(fd, family, 'probe');
  return fd;
}

/**
 * Sends one IP packet with its header.
 * @param to 4 or 16 bytes
 * @returns 0, or the errno of the refusal: EMSGSIZE (longer than the interface's MTU), EPERM (the host's own firewall) …
 */
export function sendIp(fd: number, packet: Uint8Array, to: Uint8Array, ifindex: number): number {
  const name = sockaddr(to, ifindex);
  return cSendto(fd, packet, packet.length, MSG_DONTWAIT, name, name.length) === -1 ? errno() : 0;
}

/**
 * A socket that receives what arrives of one IP protocol: over IPv4 with the IP header, over IPv6 without.
 * @param filter classic BPF: [code, jt, jf, k] each; what it refuses is not even queued
 */
export function openIpReceiver(
  family: 4 | 6,
  protocol: number,
  filter: readonly (readonly [number, number, number, number])[],
): number {
  const fd = socket(family === 6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_NONBLOCK, protocol);
  // Else the errors that answer probes would narrow the host's own traffic for minutes.
  ignorePathMtu(fd, family, 'interface');
  using program = NativeBuffer.alloc(filter.length * 8 || 8);
  filter.forEach(([code, jt, jf, k], i) => {
    program.view.setUint16(i * 8, code, true);
    program.view.setUint8(i * 8 + 2, jt);
    program.view.setUint8(i * 8 + 3, jf);
    program.view.setUint32(i * 8 + 4, k, true);
  });
  const fprog = new Uint8Array(16);
  const view = new DataView(fprog.buffer);
  view.setUint16(0, filter.length, true);
  view.setUint32(8, program.address % 0x1_0000_0000, true);
  view.setUint32(12, Math.floor(program.address / 0x1_0000_0000), true);
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, fprog);
  return fd;
}

/** A received packet: its bytes (a view into the caller's buffer), and who sent it (4 or 16 bytes). */
export type ReceivedIp = { readonly bytes: Uint8Array; readonly from: Uint8Array };

/** Takes one packet, or undefined when there is none. A pending error of the socket counts as none. */
export function receiveIp(fd: number, family: 4 | 6, buffer: Uint8Array): ReceivedIp | undefined {
  const name = new Uint8Array(28);
  const length = new Uint32Array([28]);
  const n = cRecvfrom(fd, buffer, buffer.length, MSG_DONTWAIT, name, length);
  if (n === -1) {
    const e = errno();
    if (e === ERRNO.EBADF || e === ERRNO.ENOTSOCK) throw new SysError('recvfrom', e, `fd ${fd}`);
    return undefined;
  }
  return { bytes: buffer.subarray(0, n), from: family === 6 ? name.slice(8, 24) : name.slice(4, 8) };
}
