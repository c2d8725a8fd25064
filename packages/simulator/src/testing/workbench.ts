/** An agent's part in a test: subscribes to what simulations ask for, and simulates until there is a verdict. */
import { DROP_REASONS, extractKey, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { describe, ipFormat, macFormat } from '@weft/packet';
import {
  type Applied,
  type Recorder,
  type Simulation,
  type SimulationInput,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_POSTPONE,
} from '../contract.ts';
import { newSimulation } from '../simulate/simulation.ts';
import { Simulator } from '../simulate/simulator.ts';
import { VirtualTopology } from '../view/topology.ts';
import { TestState } from './state.ts';
import type { World } from './world.ts';

/** Rounds of asking for data before a test gives up. */
const MAX_ROUNDS = 50;

export class Workbench {
  readonly world: World;
  readonly view = new VirtualTopology();
  readonly simulator: Simulator;
  readonly subscribed = new Set<string>();
  readonly out: Simulation = newSimulation();
  now = 1;

  readonly state: TestState;

  /** @param host number of the host that decides: others have connections and ports of their own */
  constructor(world: World, recorder?: Recorder, host = 1) {
    this.world = world;
    this.state = new TestState(this.view.handles, host);
    this.simulator = new Simulator(this.view, { state: this.state, ...(recorder ? { recorder } : {}) });
  }

  /** Brings the view up to date with the world; asks for what that makes necessary. */
  sync(): Applied {
    const tags = new Set<number>();
    let applied = this.view.apply(this.world.changes(this.subscribed));
    let { filters } = applied;
    for (const tag of applied.tags) tags.add(tag);
    for (let round = 0; applied.wanted.length > 0; round++) {
      if (round === MAX_ROUNDS) throw new Error(`still wanted: ${applied.wanted}`);
      applied = this.subscribe(applied.wanted);
      for (const tag of applied.tags) tags.add(tag);
      filters ||= applied.filters;
    }
    return { tags: [...tags], filters, wanted: [] };
  }

  subscribe(interests: readonly string[]): Applied {
    for (const interest of interests) this.subscribed.add(interest);
    return this.view.apply(interests.map((interest) => this.world.content(interest)));
  }

  /** Input for a frame that enters by the port with this id. */
  input(frame: Uint8Array, portId: string): SimulationInput {
    const key = new Uint8Array(KEY_SIZE);
    if (!extractKey(frame, frame.length, 0, 0, key, 0, newFrameLayout())) throw new Error('malformed frame');
    return { key, frame, length: frame.length, port: this.view.handle(portId), now: this.now };
  }

  /** Simulates until all data is there. The result is reused by the next call. */
  simulate(frame: Uint8Array, portId: string): Simulation {
    return this.run(this.input(frame, portId));
  }

  run(input: SimulationInput, out: Simulation = this.out): Simulation {
    return this.settle(out, () => this.simulator.simulate(input, out));
  }

  generated(frame: Uint8Array, port: number): Simulation {
    return this.settle(this.out, () => this.simulator.simulateGenerated(frame, port, this.now, this.out));
  }

  private settle(out: Simulation, simulate: () => void): Simulation {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      simulate();
      if (out.verdict !== VERDICT_POSTPONE || out.needs.length + out.wantedBlocks.length === 0) return out;
      this.state.grant([...out.wantedBlocks]);
      this.subscribe([...out.needs]);
      this.sync();
    }
    throw new Error(`no end of needs: ${out.needs}`);
  }

  /** The result in words: verdict, outputs with rewritten headers, generated frames. Names UUIDs, never handles. */
  describe(out: Simulation = this.out): string {
    if (out.verdict === VERDICT_POSTPONE) {
      const wanted = out.wantedNeighbours
        .slice(0, out.wantedNeighbourCount)
        .map((n) => `${this.view.id(n.port)} ${ipFormat(n.ip)}`);
      return `postpone ${[...out.needs, ...wanted].join(' ')}`;
    }
    const generated = out.generated.map((g) => `\n+ ${this.view.id(g.port)}: ${describe(g.frame)}`).join('');
    if (out.verdict === VERDICT_DROP) return `drop ${DROP_REASONS[out.reason]}${generated}`;
    if (out.verdict !== VERDICT_FORWARD) return `verdict ${out.verdict}`;
    const outputs: string[] = [];
    for (let i = 0; i < out.outputCount; i++) {
      const key = out.divergent ? out.outputKeys.subarray(i * KEY_SIZE, i * KEY_SIZE + KEY_SIZE) : out.key;
      const ttlDec = out.divergent ? out.outputTtlDec[i] : out.ttlDec;
      const flood = out.outputFlood[i] ? ' flood' : '';
      const vlan = ((key[18] << 8) | key[19]) & 0xfff;
      outputs.push(
        `${this.view.id(out.outputs[i])} ${macFormat(key, 4)}>${macFormat(key, 10)}${vlan ? ` vlan ${vlan}` : ''} ttl-${ttlDec}${flood}`,
      );
    }
    return `forward ${outputs.join('; ')}${generated}`;
  }
}
