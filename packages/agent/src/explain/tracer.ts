/**
 * Traces hypothetical packets on the worker's live view: the packet is built, simulated with a recorder, translated and
 * compiled as a real one would be, and then nothing is learned, published, installed or sent. What the view lacks is
 * subscribed to and waited for, bounded, as the waiting room does it.
 *
 * A little longer than other files because everything that a packet path does with a packet has its counterpart here.
 */
import type { ListSpec } from '@weft/datapath';
import {
  ACTION_SIZE,
  DROP_REASONS,
  extractKey,
  KEY_SIZE,
  maskKey,
  newFrameLayout,
  OUT_DROP,
  readU32le,
} from '@weft/flow';
import { describe, fromHex, toHex } from '@weft/packet';
import {
  Explainer,
  type Explanation,
  newSimulation,
  type Ref,
  type Simulation,
  type SimulationInput,
  VERDICT_FORWARD,
  VERDICT_POSTPONE,
  type VirtualTopology,
} from '@weft/simulator';
import { AgentError } from '../errors.ts';
import { type Core, want } from '../worker/core.ts';
import { FlowWriter } from '../worker/flow-writer.ts';
import { newOutput, type Output, reportTcpFlags, setDrop, Translator } from '../worker/translate.ts';
import { arrivalOf } from './arrival.ts';
import { buildPacket, type Filled } from './build-packet.ts';
import { ConnectionWords } from './connection-words.ts';
import { FlowWords } from './flow-words.ts';
import { hypotheticalState } from './hypothetical-state.ts';
import { summaryOf, whyNoFlow } from './outcome-words.ts';
import { MAX_LENGTH, parsePacket } from './packet-language.ts';
import { begins, hasRoom, stateHosts } from './state-hosts.ts';
import { missingAround, surroundingsOf } from './surroundings.ts';
import type {
  Arrival,
  ArrivalRequest,
  Destination,
  FlowInWords,
  GeneratedTrace,
  PortLink,
  Trace,
  TraceRequest,
} from './trace.ts';

/** Traces that wait for data at the same time. */
const MAX_PENDING = 64;
/** How long the defaults of a packet wait for what they are read from. */
const SURROUNDINGS_MS = 1_000;
/** A waiting trace is tried again this often at most. */
const RETRY_MS = 5;
/** Frames in answer to frames that are followed, as the packet path follows them. */
const MAX_GENERATED = 4;

interface Pending {
  readonly request: TraceRequest;
  readonly done: (answer: Trace | AgentError) => void;
  readonly since: number;
  nextTry: number;
}

/** A packet with what was decided about it; lists of `list` are not in the datapath. */
export interface Explained
  extends Pick<
    Trace,
    | 'explanation'
    | 'verdict'
    | 'reason'
    | 'summary'
    | 'destinations'
    | 'toldHosts'
    | 'askedHosts'
    | 'flow'
    | 'noFlow'
    | 'generated'
  > {
  /** Interests that it waits for; and whether it waits for ports of source NAT, which are on their way. */
  readonly needs: readonly string[];
  readonly waits: boolean;
}

export class Tracer {
  readonly words: FlowWords;
  readonly connections: ConnectionWords;
  private readonly core: Core;
  private readonly view: VirtualTopology;
  private readonly explainer: Explainer;
  private readonly translator: Translator;
  private readonly writer: FlowWriter;
  private readonly revision: () => number;
  private readonly sim = newSimulation();
  private readonly answerSim = newSimulation();
  private readonly output: Output = newOutput();
  private readonly masked = new Uint8Array(KEY_SIZE);
  private readonly layout = newFrameLayout();
  private readonly pending: Pending[] = [];
  private simulated: ReadonlyMap<number, string> = new Map();
  /** Members of the list that the translator made up last. */
  private list: ListSpec | undefined;

  constructor(core: Core, view: VirtualTopology, revision: () => number) {
    this.core = core;
    this.view = view;
    this.revision = revision;
    this.explainer = new Explainer(view, {
      host: (id) => this.words.host(id),
      state: hypotheticalState(core.connections),
    });
    this.words = new FlowWords(core, (id) => this.explainer.names.of(id));
    this.connections = new ConnectionWords(core, this.explainer.names, this.words);
    const lists = {
      intern: (ports: readonly number[], remotes: ListSpec['remotes']) => {
        this.list = { id: 0, ports, remotes };
        return 0;
      },
    };
    this.translator = new Translator(view, core.bindings, core.tunnels, lists, core.hostId);
    this.writer = new FlowWriter(core);
  }

  /** Answers now or, when something has to be fetched, in a later turn. */
  trace(request: TraceRequest, now: number, done: (answer: Trace | AgentError) => void): void {
    if (this.pending.length === MAX_PENDING) {
      done(new AgentError('WEFT_AGENT_CONTROL', `${MAX_PENDING} traces are waiting already; try again`));
      return;
    }
    const pending = { request, done, since: now, nextTry: now + RETRY_MS };
    if (!this.attempt(pending, now)) this.pending.push(pending);
  }

  /** Tries again what waits. */
  tick(now: number): void {
    for (let i = 0; i < this.pending.length; i++) {
      const pending = this.pending[i];
      if (now < pending.nextTry) continue;
      pending.nextTry = now + RETRY_MS;
      if (this.attempt(pending, now)) this.pending.splice(i--, 1);
    }
  }

  /** @returns false: it waits. */
  private attempt(pending: Pending, now: number): boolean {
    try {
      const answer = this.tryTrace(pending.request, now - pending.since, now);
      if (answer === null) return false;
      pending.done(answer);
    } catch (error) {
      pending.done(
        error instanceof AgentError
          ? error
          : new AgentError('WEFT_AGENT_PACKET', (error as Error).message, { cause: error }),
      );
    }
    return true;
  }

  private tryTrace(request: TraceRequest, waitedMs: number, now: number): Trace | null {
    const { core, view } = this;
    const bound = this.bindingOf(request.port);
    const handle = view.handle(bound.portId);
    const missing = missingAround(view, handle);
    if (missing.length > 0 && waitedMs < SURROUNDINGS_MS) {
      want(core, missing);
      return null;
    }
    const { frame, filled } = this.packetOf(request, handle);
    const length = Math.max(frame.length, request.length ?? 0);
    const key = new Uint8Array(KEY_SIZE);
    if (!extractKey(frame, length, bound.ifindex, 0, key, 0, this.layout)) {
      throw new AgentError(
        'WEFT_AGENT_PACKET',
        'the datapath drops such a frame: its headers are cut off or malformed',
      );
    }
    const input = { key, frame, length, port: handle, now };
    const explained = this.explain(input, bound.ifindex, this.segmentLength(request, frame, length));
    if ((explained.needs.length > 0 || explained.waits) && waitedMs < core.limits.waitingMs) {
      want(core, explained.needs);
      return null;
    }
    const { needs: _, waits: __, ...told } = explained;
    return {
      hostId: core.hostId,
      revision: this.revision(),
      port: this.explainer.names.of(bound.portId),
      interface: bound.interfaceName,
      packet: describe(frame),
      ...(request.payload === true ? { frame: toHex(frame) } : {}),
      filled,
      waitedMs: Math.round(waitedMs),
      ...told,
      installed: this.installed(key, explained.flow),
    };
  }

  /** L3 bytes of the largest piece of the packet on the wire. */
  private segmentLength({ gsoSize = 0 }: TraceRequest, frame: Uint8Array, length: number): number {
    const { l3, l4 } = this.layout;
    if (gsoSize === 0 || l4 === 0 || l4 + 13 > frame.length) return length - l3;
    const tcp = frame[l3] >>> 4 === 4 ? frame[l3 + 9] === 6 : frame[l3 + 6] === 6;
    return l4 - l3 + (tcp ? (frame[l4 + 12] >>> 4) * 4 : 8) + gsoSize;
  }

  private packetOf(request: TraceRequest, port: number): { frame: Uint8Array; filled: Filled[] } {
    if (request.frame === undefined)
      return buildPacket(parsePacket(request.packet ?? ''), surroundingsOf(this.view, port));
    if (!/^([0-9a-fA-F]{2})*$/.test(request.frame) || request.frame.length > 2 * MAX_LENGTH) {
      throw new AgentError(
        'WEFT_AGENT_PACKET',
        `a frame is an even number of hexadecimal digits, ${MAX_LENGTH} bytes at most`,
      );
    }
    return { frame: fromHex(request.frame), filled: [] };
  }

  private bindingOf(port: string): { portId: string; interfaceName: string; ifindex: number } {
    const list = this.core.bindings.list();
    const found =
      list.find(({ portId, interfaceName }) => portId === port || interfaceName === port) ??
      (port.length >= 4 ? only(list.filter(({ portId }) => portId.startsWith(port))) : undefined);
    if (found === undefined) {
      const known = list.map(({ interfaceName }) => interfaceName).join(', ');
      throw new AgentError(
        'WEFT_AGENT_NO_PORT',
        `no port "${port}" is bound on this host; its interfaces: ${known || 'none'}`,
      );
    }
    return found;
  }

  /** Who is known behind a port of this host. @throws AgentError WEFT_AGENT_NO_PORT */
  link(port: string): PortLink {
    const bound = this.bindingOf(port);
    const { stations } = surroundingsOf(this.view, this.view.handle(bound.portId));
    const { interfaceName, ifindex, portId } = bound;
    return { port: this.explainer.names.of(portId), interface: interfaceName, ifindex, stations };
  }

  /** What becomes of a tunnel packet that arrives here. */
  arrival(request: ArrivalRequest): Arrival {
    return arrivalOf(this.core, this.explainer.names, request);
  }

  /**
   * Simulates a packet and says what would become of it here. `segmentLength`: L3 bytes of its largest piece on the wire;
   * 0: not known, taken to fit.
   */
  explain(input: SimulationInput, inPort: number, segmentLength: number): Explained {
    const { explainer, sim, output } = this;
    this.list = undefined;
    const explanation = explainer.explain(input, sim);
    const simulated = explainer.tags();
    this.simulated = simulated;
    if (sim.verdict === VERDICT_POSTPONE) {
      return {
        explanation,
        verdict: 'postpone',
        reason: '',
        summary: explanation.summary,
        destinations: [],
        toldHosts: [],
        askedHosts: [],
        flow: null,
        noFlow: 'the packet waits',
        generated: [],
        needs: [...sim.needs],
        waits: sim.wantedBlocks.length > 0,
      };
    }
    const { needs, ...hosts } = stateHosts(this.core, this.connections, sim, input);
    if (begins(sim) && !hasRoom(this.core, sim, input.port)) return this.noRoom(explanation, hosts);
    const destinations: Destination[] = [];
    let verdict = 'drop';
    let { reason } = explanation;
    if (sim.verdict !== VERDICT_FORWARD) setDrop(output, sim.reason);
    else {
      for (let i = 0; i < (sim.divergent ? sim.outputCount : 1); i++) {
        this.translator.translate(sim, sim.divergent ? i : -1, inPort, output);
        if (!sim.divergent) reportTcpFlags(sim, input.key, output);
        if (output.output === OUT_DROP) reason = DROP_REASONS[output.reason] ?? '';
        else if (!sim.divergent && output.mtu !== 0 && segmentLength > output.mtu) {
          reason = 'too_big';
          explainer.tooBig(input, sim, output.mtu);
        } else {
          verdict = 'forward';
          reason = '';
          destinations.push(...this.words.destinations(output, this.list, this.keysOf(sim)));
        }
      }
    }
    const generated = this.generated(sim, input.now);
    const flow = this.flow(sim, input.key, inPort, simulated);
    const noFlow = flow === null ? whyNoFlow(sim) : '';
    const summary = summaryOf(explanation, verdict, reason);
    const outcome = { verdict, reason, summary, destinations, ...hosts };
    return { explanation, ...outcome, flow, noFlow, generated, needs, waits: false };
  }

  /** A packet whose connections cannot be remembered is dropped, whatever was decided. */
  private noRoom(explanation: Explanation, hosts: Pick<Trace, 'toldHosts' | 'askedHosts'>): Explained {
    const reason = 'cap_connections';
    return {
      explanation,
      verdict: 'drop',
      reason,
      summary: summaryOf(explanation, 'drop', reason),
      destinations: [],
      ...hosts,
      toldHosts: [],
      flow: null,
      noFlow: 'there is no room for the connection that it would begin',
      generated: [],
      needs: [],
      waits: false,
    };
  }

  /** The flow of a cacheable simulation whose output was translated last. */
  private flow(
    sim: Simulation,
    key: Uint8Array,
    inPort: number,
    simulated: ReadonlyMap<number, string>,
  ): FlowInWords | null {
    if (!sim.cacheable) return null;
    const { cls, action, tags } = this.writer.preview(sim, this.output, key, inPort);
    maskKey(key, 0, cls, this.masked, 0);
    return {
      match: this.words.match(this.masked, cls),
      maskClass: this.words.maskClass(cls),
      action: this.words.action(action, this.list),
      tags: this.tagWords(tags, simulated),
    };
  }

  /** Tags in words; by default as the packet explained last tells them. */
  tagWords(tags: Iterable<number>, simulated: ReadonlyMap<number, string> = this.simulated): string[] {
    const own = this.words.ownTags();
    const out: string[] = [];
    let other = 0;
    for (const t of tags) {
      const text = own.get(t) ?? simulated.get(t);
      if (text === undefined) other++;
      else out.push(text);
    }
    if (other > 0) out.push(`${other} more`);
    return out;
  }

  /** The installed flow that the packet would meet. */
  private installed(key: Uint8Array, flow: FlowInWords | null): Trace['installed'] {
    const { installer } = this.core;
    const slot = installer.table.match(key);
    if (slot < 0) return null;
    const { table } = installer;
    const masked = new Uint8Array(KEY_SIZE);
    table.maskedKey(slot, masked);
    const value = table.actions.subarray(slot * ACTION_SIZE, (slot + 1) * ACTION_SIZE);
    const cls = table.classOf(slot);
    const match = this.words.match(masked, cls);
    const action = this.words.action(value, this.words.installedList(value));
    return {
      id: readU32le(value, 0) + readU32le(value, 4) * 2 ** 32,
      match,
      maskClass: this.words.maskClass(cls),
      action,
      tags: [],
      // A flow that waits to be simulated anew may differ for a moment.
      agrees: flow !== null && flow.action === action,
    };
  }

  /** Simulates an installed flow again from the key of its first packet. */
  explainFlow(slot: number, now: number): Explained | null {
    const { core, view } = this;
    const key = core.installer.table.firstKeys.slice(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
    const inPort = readU32le(key, 0);
    const portId = core.bindings.portAt(inPort);
    if (portId === '') return null;
    return this.explain({ key, frame: NO_FRAME, length: 0, port: view.handle(portId), now }, inPort, 0);
  }

  private generated(sim: Simulation, now: number): GeneratedTrace[] {
    const { explainer, answerSim } = this;
    const out: GeneratedTrace[] = [];
    for (const { frame, port } of sim.generated.slice(0, MAX_GENERATED)) {
      const explanation = explainer.explainGenerated(frame, port, now, answerSim);
      const destinations: Destination[] = [];
      if (answerSim.verdict === VERDICT_FORWARD) {
        const output = newOutput();
        const kept = this.list;
        for (let i = 0; i < (answerSim.divergent ? answerSim.outputCount : 1); i++) {
          this.translator.translate(answerSim, answerSim.divergent ? i : -1, 0, output);
          if (output.output === OUT_DROP) continue;
          destinations.push(...this.words.destinations(output, this.list, this.keysOf(answerSim)));
        }
        this.list = kept;
      }
      out.push({ packet: describe(frame), explanation, destinations });
    }
    return out;
  }

  /** What the tunnel keys that the packet may take are of. */
  private keysOf(sim: Simulation): Map<number, Ref> {
    const { view, explainer } = this;
    const keys = new Map<number, Ref>();
    for (let i = 0; i < sim.outputCount; i++) {
      const port = view.port(sim.outputs[i]);
      if (port !== undefined && port.tunnelKey !== 0) keys.set(port.tunnelKey, explainer.names.ref(port.handle));
      const bridge = sim.outputFlood[i];
      if (bridge !== 0 && view.floodKey(bridge) !== 0) keys.set(view.floodKey(bridge), explainer.names.ref(bridge));
    }
    return keys;
  }
}

const NO_FRAME = new Uint8Array(0);

function only<T>(list: readonly T[]): T | undefined {
  return list.length === 1 ? list[0] : undefined;
}
