/** Packets of as many new 5-tuples, sent over a path at a steady rate: what was sent, what arrived, and what is wrong with that. */
import { sleep } from './exec.ts';
import type { NetworkPath } from './paths.ts';
import { gatewayMac } from './router-mac.ts';
import { openSink, type Received, type Sent, sendFlows } from './udp-flows.ts';

/** First target port of the tuples. */
export const TUPLE_PORT = 9000;
/** A sender that takes longer than so many times its due has not kept the pace. Short delays only make its bursts longer. */
const SLOWEST_PACE = 1.01;

export interface Paced {
  readonly sent: Sent;
  readonly received: Received;
  /** Sender too slow, packets lost (with `lossPlaces` of the caller) or doubled. */
  readonly faults: string[];
}

/**
 * The path is routed, and has been used before. `settle` waits until nothing is under way any more, and says where packets
 * were dropped.
 */
export async function sendPaced(
  path: NetworkPath,
  rate: number,
  seconds: number,
  settle: () => Promise<string>,
): Promise<Paced> {
  const tuples = rate * seconds;
  const targetMac = await gatewayMac(path.client);
  const sink = await openSink(path.server, TUPLE_PORT, tuples, tuples);
  const sent = await sendFlows({
    from: path.client,
    to: path.server,
    targetMac,
    port: TUPLE_PORT,
    tuples,
    count: tuples,
    rate,
  });
  const lossPlaces = await settle();
  await sleep(200);
  const received = await sink.stop();
  const faults: string[] = [];
  if (sent.seconds > seconds * SLOWEST_PACE) faults.push(`the sender took ${sent.seconds.toFixed(1)} s`);
  if (received.unique !== sent.sent)
    faults.push(`${sent.sent - received.unique} packets lost (${lossPlaces}; ${received.overflow} at the sink)`);
  if (received.duplicates > 0) faults.push(`${received.duplicates} packets arrived twice`);
  return { sent, received, faults };
}
