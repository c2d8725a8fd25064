/** Sockets in general, and AF_PACKET sockets (packet(7)). Batched frames are in packet-batch.ts. */
import { ERRNO, SysError, WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { cfunc, check, errno } from './libc.ts';

export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_PEERCRED = 17;
export const SO_RCVTIMEO = 20;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_MARK = 36;

export const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_AUXDATA = 8;
const PACKET_VNET_HDR = 15;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;

/** Every ethertype, for {@link openPacketSocket} (include/uapi/linux/if_ether.h). */
export const ETH_P_ALL = 0x0003;

/** struct sockaddr_ll (include/uapi/linux/if_packet.h). */
export const SOCKADDR_LL_SIZE = 20;

const cSocket = cfunc('socket', 'int', ['int', 'int', 'int']);
const cBind = cfunc('bind', 'int', ['int', 'void *', 'uint32_t']);
const cSetsockopt = cfunc('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']);
const cGetsockopt = cfunc('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);
const cIfNameToIndex = cfunc('if_nametoindex', 'uint', ['str']);

/** socket(2), always close-on-exec. Throws SysError (EPERM without CAP_NET_RAW, EAFNOSUPPORT). */
export function socket(family: number, type: number, protocol: number): number {
  return check('socket', cSocket(family, type | SOCK_CLOEXEC, protocol), `family ${family}`);
}

/** bind(2) to a raw sockaddr. */
export function bind(fd: number, address: Uint8Array, detail?: string): void {
  check('bind', cBind(fd, address, address.byteLength), detail);
}

/** setsockopt(2) with an int, or with the bytes of a structure. */
export function setsockopt(fd: number, level: number, option: number, value: number | Uint8Array): void {
  const data = typeof value === 'number' ? new Uint8Array(new Int32Array([value]).buffer) : value;
  check('setsockopt', cSetsockopt(fd, level, option, data, data.byteLength), `level ${level}, option ${option}`);
}

/** getsockopt(2) of at most `size` bytes; returns what the kernel wrote. */
export function getsockopt(fd: number, level: number, option: number, size: number): Uint8Array {
  const data = new Uint8Array(size);
  const length = new Uint32Array([size]);
  check('getsockopt', cGetsockopt(fd, level, option, data, length), `level ${level}, option ${option}`);
  return data.subarray(0, length[0]);
}

/** Sets SO_RCVBUF beyond net.core.rmem_max where the process may (SO_RCVBUFFORCE), else as far as allowed. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  try {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes);
  } catch (error) {
    if (!(error instanceof SysError) || error.errno !== ERRNO.EPERM) throw error;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, bytes);
  }
}

/** Index of the named interface in the calling thread's namespace, or 0 when there is none. */
export function ifNameToIndex(name: string): number {
  const index = cIfNameToIndex(name);
  if (index !== 0) return index;
  const e = errno();
  if (e === ERRNO.ENODEV || e === ERRNO.ENXIO || e === ERRNO.EINVAL) return 0;
  throw new SysError('if_nametoindex', e, name);
}

/** Who is at the other end of a connected Unix socket (unix(7), struct ucred), as of connect(2). */
export type PeerCredentials = { pid: number; uid: number; gid: number };

/**
 * SO_PEERCRED of a connected AF_UNIX descriptor. For a Node socket pass `socket._handle.fd`.
 * A peer outside our pid namespace has pid 0. Throws SysError; WEFT_SYS_ARGUMENT when it is no connected Unix socket.
 */
export function peerCredentials(fd: number): PeerCredentials {
  const raw = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, 12);
  if (raw.length < 12) throw new WeftSysError('WEFT_SYS_ARGUMENT', `fd ${fd} is not a Unix socket`);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const uid = view.getUint32(4, true);
  if (uid === 0xffffffff) throw new WeftSysError('WEFT_SYS_ARGUMENT', `fd ${fd} is not a connected Unix socket`);
  return { pid: view.getInt32(0, true), uid, gid: view.getUint32(8, true) };
}

/** How to open a packet socket. */
export type PacketSocketOptions = {
  /** Receive from, and send by default to, this interface. Without it frames of every interface arrive. */
  ifindex?: number;
  /** Ethertype in host order; default ETH_P_ALL. 0: send only, nothing is ever received. */
  protocol?: number;
  /** Each frame, both ways, is preceded by a 10-byte virtio_net_hdr (offload state, GSO). Default false. */
  vnetHeader?: boolean;
  /** Deliver PACKET_AUXDATA with each frame: VLAN tag taken out of the bytes, checksum state. Default true. */
  auxdata?: boolean;
  /** Do not deliver frames that this host sends (Linux ≥ 4.20). Default true. */
  ignoreOutgoing?: boolean;
  /** Sent frames skip the queueing discipline, and with it every tc/tcx egress program of the interface. Default false. */
  qdiscBypass?: boolean;
  /** Receive also what is not addressed to us; needs `ifindex`. Default false. */
  promiscuous?: boolean;
  /** Receive buffer in bytes; default 4 MiB. */
  receiveBuffer?: number;
};

/**
 * An AF_PACKET SOCK_RAW socket, non-blocking and close-on-exec, in the calling thread's network namespace.
 * Needs CAP_NET_RAW. Throws SysError (EPERM, ENODEV, ENETDOWN). Close it with {@link close}.
 */
export function openPacketSocket(options: PacketSocketOptions = {}): number {
  const protocol = options.protocol ?? ETH_P_ALL;
  // Protocol 0 until bound: otherwise frames of other interfaces queue up between socket() and bind().
  const fd = check('socket', cSocket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'AF_PACKET');
  try {
    if (options.vnetHeader) setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
    if (options.auxdata !== false) setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, 1);
    if (options.ignoreOutgoing !== false) setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
    if (options.qdiscBypass) setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
    setReceiveBuffer(fd, options.receiveBuffer ?? 4 << 20);
    if (options.promiscuous) {
      if (!options.ifindex) throw new WeftSysError('WEFT_SYS_ARGUMENT', 'promiscuous needs an ifindex');
      addPromiscuous(fd, options.ifindex);
    }
    bindPacket(fd, options.ifindex ?? 0, protocol);
    return fd;
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Binds a packet socket to an interface (0: all of them) and an ethertype in host order. */
export function bindPacket(fd: number, ifindex: number, protocol = ETH_P_ALL): void {
  const address = new Uint8Array(SOCKADDR_LL_SIZE);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, false);
  view.setInt32(4, ifindex, true);
  bind(fd, address, `AF_PACKET, ifindex ${ifindex}`);
}

/** Makes an interface promiscuous for as long as the socket is open (PACKET_ADD_MEMBERSHIP). */
export function addPromiscuous(fd: number, ifindex: number): void {
  const request = new Uint8Array(16); // struct packet_mreq
  const view = new DataView(request.buffer);
  view.setInt32(0, ifindex, true);
  view.setUint16(4, PACKET_MR_PROMISC, true);
  setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, request);
}

/** Frames received and dropped since the last call (PACKET_STATISTICS clears both). */
export function packetStatistics(fd: number): { packets: number; drops: number } {
  const raw = getsockopt(fd, SOL_PACKET, 6, 8);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length);
  return { packets: view.getUint32(0, true), drops: view.getUint32(4, true) };
}
