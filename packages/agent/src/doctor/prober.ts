/**
 * Probes the way to one peer through one underlay interface: what size passes, and where it ends. Several source ports, so that
 * the fabric's equal paths are all likely to be met; the errors of routers, silence and full-size answers are told apart.
 */
import { ipFormat, ipIsV4, ipParse } from '@weft/packet';
import { close, ERRNO, openIpReceiver, openIpSender, receiveIp, sendIp } from '@weft/sys';
import {
  type Answer,
  acknowledgedSize,
  buildProbe,
  type ProbeKind,
  type ProbeTarget,
  readIcmp,
  readReset,
} from './probe-packets.ts';

/** Source ports per interface: a path that takes half of the flows is missed once in 2^12 times. */
const FLOWS = 12;
const WAIT_MS = 400;
const POLL_MS = 4;
const ATTEMPTS = 3;
/** What must pass for a path to count as there at all: RFC 791, RFC 8200 §5. */
const SMALL = { 4: 576, 6: 1280 } as const;
/** Rounds of the search for the size that passes where nobody says it. */
const SEARCH_ROUNDS = 10;
const BUFFER = 2048;

const ACCEPT = 0x40000;
/** Source ports that may be used, as tunnels use them; probers that run side by side must not share any. */
const PORTS = { first: 49_152, count: 16_384 } as const;
let taken = Math.floor(Math.random() * PORTS.count);

/** First of FLOWS ports that nobody in this process has had lately. */
function takePorts(): number {
  taken = taken + FLOWS > PORTS.count ? 0 : taken;
  const first = PORTS.first + taken;
  taken += FLOWS;
  return first;
}

/** Outcome of one interface towards one peer. Sizes are L3 bytes on the underlay. */
export interface PathResult {
  readonly ifindex: number;
  readonly size: number;
  /** How the peer answered: none: nothing at all came back, not even for small probes. */
  readonly by: ProbeKind | 'none';
  readonly flows: number;
  readonly passed: number;
  /** Flows that a router refused, the least MTU that one told, and who. */
  readonly refused: number;
  readonly mtu: number;
  readonly router: string;
  /** Flows whose small probes pass and whose full ones vanish, and the largest size that passed on one of them. */
  readonly swallowed: number;
  readonly passes: number;
  /** errno of the host's own refusal to send, 0: none. */
  readonly errno: number;
}

interface Flow {
  passed: number;
  mtu: number;
  router: string;
}

/** Sockets for one peer and one interface. Close it. */
class PathProber {
  readonly #target: ProbeTarget;
  readonly #family: 4 | 6;
  readonly #remote: Uint8Array;
  readonly #ifindex: number;
  readonly #fds: number[] = [];
  readonly #sender: number;
  readonly #tcp: number;
  readonly #icmp: number;
  readonly #buffer = new Uint8Array(BUFFER);
  readonly #firstId: number;
  readonly flows: Flow[] = [];
  errno = 0;

  constructor(target: ProbeTarget, ifindex: number) {
    this.#target = target;
    const remote = ipParse(target.remote);
    this.#family = ipIsV4(remote) ? 4 : 6;
    this.#remote = this.#family === 4 ? remote.subarray(12) : remote;
    this.#ifindex = ifindex;
    this.#firstId = takePorts();
    try {
      this.#sender = this.#open(openIpSender(this.#family, ifindex));
      this.#tcp = this.#open(openIpReceiver(this.#family, 6, resetFilter(this.#family, target.port)));
      const icmp = this.#family === 4 ? 1 : 58;
      this.#icmp = this.#open(openIpReceiver(this.#family, icmp, [[0x06, 0, 0, ACCEPT]]));
    } catch (error) {
      this.close();
      throw error;
    }
    for (let i = 0; i < FLOWS; i++) this.flows.push({ passed: 0, mtu: 0, router: '' });
  }

  #open(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }

  /** Sends one size on the flows named, and waits until each has an answer or the time is over. */
  async round(kind: ProbeKind, size: number, flows: readonly number[]): Promise<void> {
    this.errno = 0;
    for (const i of flows) {
      const packet = buildProbe(kind, this.#target, this.#firstId + i, size);
      const e = sendIp(this.#sender, packet, this.#remote, this.#ifindex);
      if (e !== 0 && e !== ERRNO.ENOBUFS && e !== ERRNO.EAGAIN) this.errno = e;
    }
    if (this.errno !== 0) return;
    const until = performance.now() + WAIT_MS;
    const settled = (i: number) => this.flows[i]!.passed >= size || this.flows[i]!.mtu > 0;
    while (performance.now() < until) {
      this.#receive(kind);
      if (flows.every(settled)) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  #receive(kind: ProbeKind): void {
    const at = this.#family;
    for (let n = 0; n < 256; n++) {
      const got = receiveIp(this.#tcp, this.#family, this.#buffer);
      if (!got) break;
      if (!same(got.from, this.#remote)) continue;
      const answer = readReset(got.bytes, transportAt(got.bytes, at), this.#target.port);
      if (answer?.kind === 'passed') this.#note({ ...answer, bytes: acknowledgedSize(answer.bytes, this.#family) }, '');
    }
    for (let n = 0; n < 256; n++) {
      const got = receiveIp(this.#icmp, this.#family, this.#buffer);
      if (!got) break;
      const answer = readIcmp(got.bytes, transportAt(got.bytes, at), this.#family, this.#target.remote);
      if (!answer || (answer.kind === 'passed' && (kind !== 'echo' || !same(got.from, this.#remote)))) continue;
      this.#note(answer, textOf(got.from));
    }
  }

  #note(answer: Answer, router: string): void {
    const flow = this.flows[answer.id - this.#firstId];
    if (!flow) return;
    if (answer.kind === 'passed') flow.passed = Math.max(flow.passed, answer.bytes);
    else if (answer.mtu >= 68 && (flow.mtu === 0 || answer.mtu < flow.mtu)) {
      flow.mtu = answer.mtu;
      flow.router = router;
    }
  }

  close(): void {
    for (const fd of this.#fds) close(fd);
  }
}

const textOf = (address: Uint8Array) => (address.length === 4 ? address.join('.') : ipFormat(address));

const same = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Raw sockets show the IP header over IPv4 only. */
function transportAt(bytes: Uint8Array, family: 4 | 6): number {
  return family === 6 ? 0 : (bytes[0] & 0x0f) * 4;
}

/** TCP from `port` with RST set: what else the host receives is not even queued. */
function resetFilter(family: 4 | 6, port: number): (readonly [number, number, number, number])[] {
  const index = family === 4 ? [[0xb1, 0, 0, 0] as const] : [[0x01, 0, 0, 0] as const]; // X = header length, or 0
  return [
    ...index,
    [0x48, 0, 0, 0], // ldh [x]
    [0x15, 0, 3, port],
    [0x50, 0, 0, 13], // ldb [x + 13]
    [0x45, 0, 1, 0x04],
    [0x06, 0, 0, ACCEPT],
    [0x06, 0, 0, 0],
  ];
}

/**
 * Probes one path.
 * @param size L3 bytes that the path ought to carry
 */
export async function probePath(target: ProbeTarget, ifindex: number, size: number): Promise<PathResult> {
  const prober = new PathProber(target, ifindex);
  const family = ipIsV4(ipParse(target.remote)) ? 4 : 6;
  const small = Math.min(size, SMALL[family]);
  const all = prober.flows.map((_, i) => i);
  const open = () => all.filter((i) => prober.flows[i]!.passed < size && prober.flows[i]!.mtu === 0);
  try {
    let by: ProbeKind | 'none' = 'none';
    for (const kind of ['tcp', 'echo'] as const) {
      for (let attempt = 0; attempt < ATTEMPTS && open().length > 0 && prober.errno === 0; attempt++) {
        await prober.round(kind, size, open());
        // Who answers nothing twice does not answer this kind.
        if (attempt === 1 && open().length === all.length) break;
      }
      if (prober.errno !== 0) break;
      // Silence about the full size means something only where small ones are answered.
      if (open().length > 0) await prober.round(kind, small, open());
      if (prober.flows.some((flow) => flow.passed > 0 || flow.mtu > 0)) {
        by = kind;
        break;
      }
    }
    const swallowed = open().filter((i) => prober.flows[i]!.passed > 0);
    const passes = swallowed.length > 0 && by !== 'none' ? await search(prober, by, swallowed[0]!, small, size) : 0;
    const refused = prober.flows.filter((flow) => flow.mtu > 0);
    const narrowest = refused.reduce(
      (least, flow) => (least === undefined || flow.mtu < least.mtu ? flow : least),
      refused[0],
    );
    return {
      ifindex,
      size,
      by,
      flows: all.length,
      passed: prober.flows.filter((flow) => flow.passed >= size).length,
      refused: refused.length,
      mtu: narrowest?.mtu ?? 0,
      router: narrowest?.router ?? '',
      swallowed: swallowed.length,
      passes,
      errno: prober.errno,
    };
  } finally {
    prober.close();
  }
}

/** Largest size that is answered on a flow that swallows large ones in silence. */
async function search(prober: PathProber, kind: ProbeKind, flow: number, least: number, most: number): Promise<number> {
  let low = least;
  let high = most;
  for (let n = 0; n < SEARCH_ROUNDS && high - low > 1; n++) {
    const size = (low + high) >> 1;
    await prober.round(kind, size, [flow]);
    if (prober.flows[flow]!.passed >= size) low = size;
    else high = size;
  }
  return low;
}
