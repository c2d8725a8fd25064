/** Packets as they leave: what a simulation says, carried out on the bytes, and in words. */

import { applyRewrite, WorkFrame } from '@weft/datapath/oracle';
import { ACTION_SIZE, compileAction, extractKey, KEY_SIZE, newFrameLayout, OUT_PORT } from '@weft/flow';
import {
  checksumUpdate,
  dissectIp,
  ETHERTYPE_IPV4,
  FRAGMENT_LATER,
  ICMP_CHECKSUM,
  ICMP_ECHO_REPLY,
  ICMPV6_ECHO_REPLY,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  icmpError,
  icmpIsError,
  icmpv6IsError,
  ip4FromWire,
  ipFormat,
  ipProtocolName,
  ipv4FillChecksum,
  Layers,
  setU16,
  u16,
  verifyChecksums,
} from '@weft/packet';
import type { Simulation, SimulationInput } from '../contract.ts';

const work = new WorkFrame();

/**
 * The frame that leaves by output `n` of a FORWARD, through the datapath's own rewrite.
 * @throws when no action can express what was decided
 */
export function leaving(input: SimulationInput, out: Simulation, n = 0): Uint8Array {
  const key = out.divergent ? out.outputKeys.subarray(n * KEY_SIZE, (n + 1) * KEY_SIZE) : out.key;
  const ttlDec = out.divergent ? out.outputTtlDec[n] : out.ttlDec;
  const action = new Uint8Array(ACTION_SIZE);
  if (!compileAction(input.key, key, action, { output: OUT_PORT, ttlDec }))
    throw new Error('it cannot be rewritten so');
  const frame = out.frame ?? input.frame;
  const layout = newFrameLayout();
  extractKey(frame, input.length, 0, 0, new Uint8Array(KEY_SIZE), 0, layout);
  work.load(frame, 0, frame.length);
  if (!applyRewrite(work, input.key, layout, action)) throw new Error('it is too short to be rewritten so');
  return work.bytes.slice(work.start, work.end);
}

/** What the receiver of an untagged IP frame answers: addresses, ports and MACs the other way round, an echo's reply. */
export function answerTo(frame: Uint8Array): Uint8Array {
  const answer = frame.slice();
  swap(answer, 0, 6);
  const layers = new Layers();
  dissectIp(answer, 14, answer.length, layers);
  const { l3, l4, protocol } = layers;
  const v4 = layers.ethertype === ETHERTYPE_IPV4;
  swap(answer, l3 + (v4 ? 12 : 8), v4 ? 4 : 16);
  answer[l3 + (v4 ? 8 : 7)] = 64;
  if (v4) ipv4FillChecksum(answer, l3);
  if (l4 < 0) return answer;
  if (protocol === 6 || protocol === 17) swap(answer, l4, 2);
  if (protocol !== IPPROTO_ICMP && protocol !== IPPROTO_ICMPV6) return answer;
  const before = u16(answer, l4);
  answer[l4] = v4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  setU16(answer, l4 + ICMP_CHECKSUM, checksumUpdate(u16(answer, l4 + ICMP_CHECKSUM), before, u16(answer, l4)));
  return answer;
}

/** An ICMP error about an untagged frame, back to where it came from. */
export function errorAbout(frame: Uint8Array, src: string, type = 3, code = 1, rest = 0): Uint8Array {
  const [ethDst, ethSrc] = [frame.slice(6, 12), frame.slice(0, 6)];
  return icmpError({ ethSrc, ethDst, src, type, code, rest, packet: frame, ip: 14 });
}

function swap(bytes: Uint8Array, at: number, size: number): void {
  const first = bytes.slice(at, at + size);
  bytes.copyWithin(at, at + size, at + 2 * size);
  bytes.set(first, at + size);
}

/** The IP packet at `ip` in few words, that which an ICMP error quotes in brackets. */
export function packetWords(bytes: Uint8Array, ip = 14, end: number = bytes.length, quoted = false): string {
  const layers = new Layers();
  dissectIp(bytes, ip, end, layers, quoted);
  const { l3, l4, protocol, fragment } = layers;
  const v4 = layers.ethertype === ETHERTYPE_IPV4;
  const address = (at: number) => ipFormat(v4 ? ip4FromWire(bytes, at) : bytes.slice(at, at + 16));
  const src = address(l3 + (v4 ? 12 : 8));
  const dst = address(l3 + (v4 ? 16 : 24));
  const name = ipProtocolName(protocol);
  if (fragment === FRAGMENT_LATER || l4 < 0) return `${name} ${src} > ${dst} fragment`;
  if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
    const type = bytes[l4];
    const head = `${name} ${src} > ${dst} ${type}/${bytes[l4 + 1]}`;
    if (!(v4 ? icmpIsError(type) : icmpv6IsError(type))) return `${head} id ${u16(bytes, l4 + 4)}`;
    return `${head} [${packetWords(bytes, l4 + 8, layers.l3End, true)}]`;
  }
  if (protocol !== 6 && protocol !== 17) return `${name} ${src} > ${dst}`;
  const host = (text: string) => (v4 ? text : `[${text}]`);
  return `${name} ${host(src)}:${u16(bytes, l4)} > ${host(dst)}:${u16(bytes, l4 + 2)}`;
}

/** The wrong checksums of a frame and, if it is an ICMP error that quotes a whole packet, of that packet. */
export function wrongChecksums(frame: Uint8Array): string[] {
  const wrong = verifyChecksums(frame).map(({ layer }) => layer);
  const layers = new Layers();
  dissectIp(frame, 14, frame.length, layers);
  const { l4, protocol } = layers;
  if (l4 < 0 || (protocol !== IPPROTO_ICMP && protocol !== IPPROTO_ICMPV6)) return wrong;
  if (!(protocol === IPPROTO_ICMP ? icmpIsError(frame[l4]) : icmpv6IsError(frame[l4]))) return wrong;
  const inner = new Uint8Array(14 + layers.l3End - l4 - 8);
  inner.set(frame.subarray(0, 14));
  inner.set(frame.subarray(l4 + 8, layers.l3End), 14);
  return [...wrong, ...verifyChecksums(inner).map(({ layer }) => `quoted ${layer}`)];
}
