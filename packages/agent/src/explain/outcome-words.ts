/** What becomes of a packet in the end, in sentences. */
import { dropWords, type Explanation, type Simulation } from '@weft/simulator';

/** What the virtual network lets out may still be dropped by the physical one. */
export function summaryOf(
  { verdict: simulated, summary }: Explanation,
  verdict: string,
  reason: string,
): readonly string[] {
  if (simulated !== 'forward' || verdict === 'forward') return summary;
  const words = dropWords(reason);
  return [`${summary[0]} There it is dropped: ${reason}${words === '' ? '' : `, ${words}`}.`, ...summary.slice(1)];
}

/** Why a decision makes no flow. */
export function whyNoFlow(sim: Simulation): string {
  if (sim.divergent) return 'its copies differ: every such packet is decided by itself';
  if (sim.generated.length > 0) return 'a device answers it: every such packet comes up';
  return 'the decision read more of the packet than flows match on';
}
