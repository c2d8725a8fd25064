/**
 * ICMP echo to tunnel endpoints of peers: their kernels answer, whether an agent runs there or not. So a host that is gone is told apart
 * from one whose agent is being restarted, and goes on forwarding meanwhile.
 */
import { randomInt } from 'node:crypto';
import type { TunnelSpec } from '@weft/datapath';
import { icmpEcho, ipFormat, ipIsV4 } from '@weft/packet';
import { close, openIpReceiver, openIpSender, receiveIp, sendIp } from '@weft/sys';

/** What the worker asks of it. */
export interface Pinger {
  /** Sends an echo request along a tunnel's way. What cannot be sent is lost. */
  ping(tunnel: TunnelSpec): void;
  /** Calls `heard` with the address (text) of each endpoint that has answered. */
  poll(heard: (address: string) => void): void;
  close(): void;
}

const ICMP = 1;
const ICMPV6 = 58;
const ETHERNET = 14;
const IPV4 = 20;
/** Answers taken per look. */
const MAX_ANSWERS = 1024;
const NO_MAC = '02:00:00:00:00:00';

/** Classic BPF: an ICMP message of this type and identifier. `at`: bytes before it. */
function echoReplies(at: number, type: number, id: number): readonly (readonly [number, number, number, number])[] {
  return [
    [0x30, 0, 0, at],
    [0x15, 0, 3, type],
    [0x28, 0, 0, at + 4],
    [0x15, 0, 1, id],
    [0x06, 0, 0, 0xffff],
    [0x06, 0, 0, 0],
  ];
}

export class IcmpPinger implements Pinger {
  private readonly id = randomInt(1, 0xffff);
  private readonly senders = new Map<string, number>();
  private readonly receivers: readonly { readonly fd: number; readonly family: 4 | 6 }[];
  private readonly buffer = new Uint8Array(2048);
  private sequence = 0;

  constructor() {
    this.receivers = [
      { family: 4, fd: openIpReceiver(4, ICMP, echoReplies(IPV4, 0, this.id)) },
      { family: 6, fd: openIpReceiver(6, ICMPV6, echoReplies(0, 129, this.id)) },
    ];
  }

  ping({ local, remote, ifindexes }: TunnelSpec): void {
    const v4 = ipIsV4(remote, 0);
    const seq = (this.sequence = (this.sequence + 1) & 0xffff);
    const frame = icmpEcho({ ethSrc: NO_MAC, ethDst: NO_MAC, src: local, dst: remote, id: this.id, seq });
    const to = v4 ? remote.slice(12) : remote;
    // Any way will do, and the first may be the broken one.
    for (const ifindex of ifindexes) {
      const fd = this.sender(v4 ? 4 : 6, ifindex);
      if (fd >= 0) sendIp(fd, frame.subarray(ETHERNET), to, ifindex);
    }
  }

  poll(heard: (address: string) => void): void {
    for (const { fd, family } of this.receivers) {
      for (let n = 0; n < MAX_ANSWERS; n++) {
        const received = receiveIp(fd, family, this.buffer);
        if (received === undefined) break;
        heard(ipFormat(family === 6 ? received.from : mapped(received.from)));
      }
    }
  }

  close(): void {
    for (const fd of [...this.senders.values(), ...this.receivers.map((one) => one.fd)]) if (fd >= 0) close(fd);
  }

  private sender(family: 4 | 6, ifindex: number): number {
    const name = `${family}/${ifindex}`;
    let fd = this.senders.get(name);
    if (fd === undefined) {
      try {
        fd = openIpSender(family, ifindex);
      } catch {
        return -1;
      }
      this.senders.set(name, fd);
    }
    return fd;
  }
}

function mapped(v4: Uint8Array): Uint8Array {
  const ip = new Uint8Array(16);
  ip.set([0xff, 0xff], 10);
  ip.set(v4, 12);
  return ip;
}
