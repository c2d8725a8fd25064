/** Explains packets: the simulator with a recorder, and the recording in words. */
import { DROP_REASONS, K_IP_SRC, KEY_SIZE } from '@weft/flow';
import { ipFormat } from '@weft/packet';
import {
  type Simulation,
  type SimulationInput,
  type StateView,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_POSTPONE,
} from '../contract.ts';
import { Simulator } from '../simulate/simulator.ts';
import * as S from '../simulate/steps.ts';
import { noState } from '../view/no-state.ts';
import type { VirtualTopology } from '../view/topology.ts';
import { ConditionJudge, type Miss } from './conditions.ts';
import { explainedConnections } from './connections.ts';
import { dropWords } from './drop-words.ts';
import type { ExplainedStep, Explanation, NearestRule, RuleInWords } from './explanation.ts';
import { Names } from './names.ts';
import {
  contextAt,
  decisionIn,
  filterBefore,
  filtersOf,
  letsThrough,
  nearestRule,
  type PacketContext,
  ruleInWords,
  stops,
} from './nearest.ts';
import { type Place, tell } from './sentences.ts';
import { StepRecorder } from './step-recorder.ts';
import { tagWords } from './tag-words.ts';

/** Rules that did not match whose reasons are worked out, per explanation. */
const MAX_REASONS = 512;

export interface ExplainerOptions {
  /** What to call a host; '' for the own one. */
  readonly host?: (id: string) => string;
  readonly maxDevices?: number;
  /** Connections; absent: none is known. */
  readonly state?: StateView;
}

export class Explainer {
  readonly names: Names;
  private readonly recorder = new StepRecorder();
  private readonly simulator: Simulator;
  private readonly judge: ConditionJudge;
  private readonly state: StateView;
  private readonly original = new Uint8Array(KEY_SIZE);

  constructor(view: VirtualTopology, options: ExplainerOptions = {}) {
    const { maxDevices, state = noState() } = options;
    this.names = new Names(view, options.host ?? ((id) => `host ${id.slice(0, 8)}`));
    this.simulator = new Simulator(view, {
      recorder: this.recorder,
      state,
      ...(maxDevices === undefined ? {} : { maxDevices }),
    });
    this.judge = new ConditionJudge(view, state);
    this.state = state;
  }

  /** Simulates a packet as the agent does, into `out`, and says why. */
  explain(input: SimulationInput, out: Simulation): Explanation {
    this.recorder.clear();
    this.simulator.simulate(input, out);
    this.original.set(input.key.subarray(0, KEY_SIZE));
    return this.tell(out, { original: this.original, frame: input.frame, length: input.length, origin: input.port });
  }

  /** The same for a frame that a device sends by `port`. */
  explainGenerated(frame: Uint8Array, port: number, now: number, out: Simulation): Explanation {
    this.recorder.clear();
    this.simulator.simulateGenerated(frame, port, now, out);
    if (this.recorder.count > 0) this.original.set(this.recorder.key(0));
    return this.tell(out, { original: this.original, frame, length: frame.length, origin: 0 });
  }

  /** What the tags of the packet explained last stand for, as far as its recording tells. */
  tags(): Map<number, string> {
    return tagWords(this.recorder, this.names, this.state);
  }

  /** What a router answers to a packet that does not fit; false if nothing may be sent. See `PacketSimulator.tooBig`. */
  tooBig(input: SimulationInput, out: Simulation, mtu: number): boolean {
    return this.simulator.tooBig(input, out, mtu);
  }

  private tell(out: Simulation, packet: PacketContext): Explanation {
    const { recorder, names, judge } = this;
    const filters = filtersOf(recorder);
    const steps: ExplainedStep[] = [];
    const place: Place = { chains: 0 };
    let current = -1;
    let reasons = 0;
    const misses = (n: number): readonly Miss[] => {
      const value = names.object('Rule', names.ref(recorder.at[n]).id);
      if (value === undefined || current < 0 || ++reasons > MAX_REASONS) return [];
      return judge.misses(value, contextAt(recorder, filters[current], n, packet), names);
    };
    for (let n = 0; n < recorder.count; n++) {
      if (recorder.kind[n] === S.STEP_FILTER) current++;
      const step = tell(recorder, n, place, names, misses, out);
      if (step !== null) steps.push(step);
    }
    const { decidedBy, nearest } = this.nearest(out, packet);
    const verdict =
      out.verdict === VERDICT_FORWARD ? 'forward' : out.verdict === VERDICT_POSTPONE ? 'postpone' : 'drop';
    const reason = verdict === 'drop' ? (DROP_REASONS[out.reason] ?? String(out.reason)) : '';
    return {
      verdict,
      reason,
      where: verdict === 'forward' ? null : names.ref(out.where),
      steps,
      stepsLost: recorder.lost,
      connections: explainedConnections(out, recorder, this.state, names),
      decidedBy,
      nearest,
      summary: [this.verdictWords(out, reason), nearestWords(verdict, decidedBy, nearest, filters.length)].filter(
        (line) => line !== '',
      ),
    };
  }

  private nearest(
    out: Simulation,
    packet: PacketContext,
  ): { decidedBy: RuleInWords | null; nearest: NearestRule | null } {
    const { recorder, names, judge } = this;
    const filters = filtersOf(recorder);
    if (out.verdict === VERDICT_FORWARD) {
      const nearest = nearestRule(recorder, filters, ({ last }) => last, stops, packet, judge, names);
      return { decidedBy: null, nearest };
    }
    const none = { decidedBy: null, nearest: null };
    if (out.verdict !== VERDICT_DROP) return none;
    const dropped = this.dropStep(out);
    const filter = dropped < 0 ? null : filterBefore(filters, recorder, dropped);
    const decision = filter === null ? null : decisionIn(recorder, filter);
    if (filter === null || decision === null) return none;
    const nearest = nearestRule(recorder, [filter], () => decision.step, letsThrough, packet, judge, names);
    return { decidedBy: ruleInWords(decision.rule, names), nearest };
  }

  /** The step at which what became the verdict was decided. */
  private dropStep({ reason, where }: Simulation): number {
    const { recorder } = this;
    for (let n = 0; n < recorder.count; n++) {
      if (recorder.kind[n] === S.STEP_DROP && recorder.a[n] === reason && recorder.at[n] === where) return n;
    }
    return -1;
  }

  private verdictWords(out: Simulation, reason: string): string {
    const { names, recorder } = this;
    if (out.verdict === VERDICT_FORWARD) {
      const to = names.ref(out.outputs[0]).name;
      if (out.outputCount > 1) return `The packet leaves the virtual network by ${out.outputCount} ports.`;
      return `The packet leaves the virtual network by ${to}.`;
    }
    if (out.verdict === VERDICT_DROP) {
      const words = dropWords(reason);
      return `The packet is dropped at ${names.ref(out.where).name}: ${reason}${words === '' ? '' : `, ${words}`}.`;
    }
    const wants = out.wantedNeighbours
      .slice(0, out.wantedNeighbourCount)
      .map(({ port, ip }) => `the MAC of ${ipFormat(ip)} behind ${names.ref(port).name}`);
    // Their names are for machines.
    if (out.wantedBlocks.length > 0) wants.push(`ports for a translation on ${names.ref(out.where).name}`);
    const source = recorder.count > 0 ? ` from ${ipFormat(recorder.key(0), K_IP_SRC)}` : '';
    return `The packet${source} waits for ${[...wants, ...out.needs].join(', ') || 'data'}.`;
  }
}

/** What would have changed the verdict. */
function nearestWords(
  verdict: Explanation['verdict'],
  decidedBy: RuleInWords | null,
  nearest: NearestRule | null,
  filters: number,
): string {
  if (verdict === 'postpone') return '';
  if (verdict === 'forward') {
    if (nearest !== null)
      return `Nearest rule that would have stopped it: ${ruleWords(nearest)}; ${missWords(nearest.misses)}.`;
    return filters === 0 ? 'No filter is on its way.' : 'None of the rules that it was compared with drops or rejects.';
  }
  if (decidedBy === null) return 'No rule decided that; no rule would have changed it.';
  const decided = `Decided by ${ruleWords(decidedBy)}.`;
  if (nearest === null) return `${decided} No rule before it would have let anything through.`;
  return `${decided} Nearest rule that would have let it through: ${ruleWords(nearest)}; ${missWords(nearest.misses)}.`;
}

function ruleWords({ rule, effect, condition }: RuleInWords): string {
  return `${rule.name} (${effect}: ${condition})`;
}

function missWords(misses: readonly Miss[]): string {
  return misses.map(({ wanted, seen }) => `it wants ${wanted}, the packet has ${seen}`).join('; ');
}
