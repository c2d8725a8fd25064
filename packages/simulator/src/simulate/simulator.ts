/** The simulator: a pure function of packet and view, with its working memory. */
import { dropReason, extractKey, KEY_SIZE, newFrameLayout } from '@weft/flow';
import {
  type PacketSimulator,
  PORT_ROUTER,
  type Simulation,
  type SimulationInput,
  type SimulatorOptions,
  VERDICT_FORWARD,
} from '../contract.ts';
import { noState } from '../view/no-state.ts';
import type { VirtualTopology } from '../view/topology.ts';
import { sendError, TOO_BIG } from './icmp.ts';
import { egress, ingress } from './port.ts';
import { neighbourRequest } from './router-neighbour.ts';
import { newSimulation } from './simulation.ts';
import { Walk } from './walk.ts';

const MALFORMED = dropReason('malformed');
const DEFAULT_MAX_DEVICES = 12;

export class Simulator implements PacketSimulator {
  private readonly view: VirtualTopology;
  private readonly walk: Walk;
  private readonly key = new Uint8Array(KEY_SIZE);
  private readonly layout = newFrameLayout();
  private readonly scratch: Simulation = newSimulation();

  constructor(view: VirtualTopology, options: SimulatorOptions = {}) {
    this.view = view;
    const { maxDevices = DEFAULT_MAX_DEVICES, recorder = null, state = noState() } = options;
    this.walk = new Walk(view, maxDevices, recorder, state);
  }

  simulate(input: SimulationInput, out: Simulation): void {
    const w = this.walk;
    w.begin(input.key, input.frame, input.length, input.port, input.now, out);
    ingress(w, input.port);
    w.finish();
  }

  simulateGenerated(frame: Uint8Array, port: number, now: number, out: Simulation): void {
    const w = this.walk;
    const whole = extractKey(frame, frame.length, 0, 0, this.key, 0, this.layout);
    w.begin(this.key, frame, frame.length, 0, now, out);
    if (whole) egress(w, port);
    else w.drop(MALFORMED, port);
    w.finish();
  }

  tooBig(input: SimulationInput, out: Simulation, mtu: number): boolean {
    // The walk may have simulated other packets meanwhile: walk again, into a result of our own.
    const { scratch } = this;
    this.simulate(input, scratch);
    if (scratch.verdict !== VERDICT_FORWARD) return false;
    if (!sendError(this.walk, TOO_BIG, mtu)) return false;
    out.generated.push(scratch.generated[scratch.generated.length - 1]);
    return true;
  }

  buildNeighbourRequest(port: number, ip: Uint8Array): Uint8Array | null {
    const compiled = this.view.port(port);
    return compiled?.kind === PORT_ROUTER ? neighbourRequest(compiled, ip) : null;
  }
}
