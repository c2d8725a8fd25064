/** Packets that nothing of their conversation can follow before they are answered. */
import { extractKey, FRAG_NONE, K_IP_FRAG, K_IP_PROTO, KEY_SIZE, newFrameLayout } from '@weft/flow';

const TCP = 6;
/** Flags of a TCP segment (RFC 9293 §3.1), in its byte 13. */
const FIN_SYN_RST = 0x07;
const SYN = 0x02;

const scratch = new Uint8Array(KEY_SIZE);
const layout = newFrameLayout();

/**
 * True for a whole TCP segment with SYN, also with ACK. It can leave after its flow has been installed: what the flow carries
 * meanwhile belongs to other connections and overtakes nothing. (Data behind a SYN by TCP Fast Open, RFC 7413, that did would be
 * sent again.)
 * @param key full flow key of `frame`, as it came up
 */
export function opensConnection(key: Uint8Array, frame: Uint8Array): boolean {
  return (tcpFlagsOf(key, frame) & FIN_SYN_RST) === SYN;
}

/** Flags of a TCP segment that is no fragment; else 0. @param key full flow key of `frame` */
export function tcpFlagsOf(key: Uint8Array, frame: Uint8Array): number {
  if (key[K_IP_PROTO] !== TCP || key[K_IP_FRAG] !== FRAG_NONE) return 0;
  if (!extractKey(frame, frame.length, 0, 0, scratch, 0, layout)) return 0;
  const { l4 } = layout;
  return l4 > 0 && l4 + 14 <= frame.length ? frame[l4 + 13] : 0;
}
