/**
 * A network with an outside, for rules with state:
 *
 *   VMs A and B (10.0.1.10, .11; fd00:1::10, ::11) – bridge – router – exit port (192.0.2.1/24, 2001:db8::1/64) – outside
 *
 * Everything outside is behind the next hop 192.0.2.254 or 2001:db8::254.
 */
import assert from 'node:assert/strict';
import { DROP_REASONS, extractKey, K_TP_SRC, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { type Simulation, type SimulationInput, VERDICT_DROP, VERDICT_FORWARD } from '../contract.ts';
import { newSimulation } from '../simulate/simulation.ts';
import { leaving, packetWords, wrongChecksums } from './leaving.ts';
import { attach, boundPort, LEFT_MAC, MAC_A, MAC_B } from './networks.ts';
import { Workbench } from './workbench.ts';
import { World } from './world.ts';

export const EXIT_MAC = 'ac:ca:ba:00:00:ee';
export const OUTSIDE_MAC = '02:00:00:00:00:ff';

type Rule = Record<string, unknown>;

/** What became of a packet. */
export interface Passage {
  readonly input: SimulationInput;
  readonly out: Simulation;
  /** The packet as it leaves by its first output, or ''. */
  readonly text: string;
  /** The same, the frame; empty unless it left. */
  readonly frame: Uint8Array;
  /** Records made of what it created; negative: refused. */
  readonly records: readonly number[];
  /** Frames that devices sent in answer, as they left the network, in words. */
  readonly answers: readonly string[];
  readonly answerFrames: readonly Uint8Array[];
}

export class Edge {
  readonly world = new World();
  readonly router = this.world.put('Router', {});
  readonly bridge = this.world.put('Bridge', {});
  readonly a = boundPort(this.world, { bridgeId: this.bridge });
  readonly b = boundPort(this.world, { bridgeId: this.bridge });
  readonly inside: string;
  readonly exit: string;
  readonly bench: Workbench;

  constructor(host = 1) {
    const { world, router } = this;
    this.inside = attach(world, router, this.bridge, ['10.0.1.1/24', 'fd00:1::1/64'], LEFT_MAC);
    const portSubnet = ['192.0.2.1/24', '2001:db8::1/64'];
    this.exit = boundPort(world, { routerId: router, portSubnet, portMac: EXIT_MAC });
    for (const [dstSubnet, nextHopGateway] of [
      ['0.0.0.0/0', '192.0.2.254'],
      ['::/0', '2001:db8::254'],
    ]) {
      world.put('Route', { routerId: router, dstSubnet, nextHopPort: this.exit, nextHopGateway });
      world.entry(`arp/${router}`, nextHopGateway, OUTSIDE_MAC);
    }
    for (const [n, mac, port] of [
      [10, MAC_A, this.a],
      [11, MAC_B, this.b],
    ] as const) {
      world.entry(`mac/${this.bridge}`, mac, port);
      for (const ip of [`10.0.1.${n}`, `fd00:1::${n}`]) world.entry(`arp/${router}`, ip, mac);
    }
    this.bench = new Workbench(world, undefined, host);
  }

  /** Gives the router's filters these rules; [] leaves one without. */
  rules({ in: inbound = [], out = [] }: { in?: readonly Rule[]; out?: readonly Rule[] }): this {
    const chain = (rules: readonly Rule[]) => (rules.length === 0 ? undefined : this.world.chain(rules));
    this.world.patch('Router', this.router, { inboundFilterId: chain(inbound), outboundFilterId: chain(out) });
    this.bench.sync();
    return this;
  }

  /** From A (or B) towards the router, and from outside towards it. */
  readonly fromA = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10' } as const;
  readonly fromB = { ethSrc: MAC_B, ethDst: LEFT_MAC, src: '10.0.1.11' } as const;
  readonly fromOutside = { ethSrc: OUTSIDE_MAC, ethDst: EXIT_MAC } as const;

  /**
   * Sends a frame in by a port: simulates it, does the agent's part with what it created, and checks that what leaves has the right
   * checksums. @param later ports that the datapath knows of a later fragment
   */
  send(frame: Uint8Array, port: string, later?: readonly [src: number, dst: number]): Passage {
    const { bench } = this;
    const input = bench.input(frame, port);
    if (later !== undefined) new DataView(input.key.buffer).setUint32(K_TP_SRC, (later[0] << 16) | later[1]);
    const out = bench.run(input, newSimulation());
    const records = settled(out) ? bench.state.commit(out) : [];
    let left: Uint8Array = new Uint8Array(0);
    if (out.verdict === VERDICT_FORWARD) {
      left = leaving(input, out);
      assert.deepEqual(wrongChecksums(left), [], packetWords(left));
    }
    const answerFrames = out.generated
      .map((one) => this.sendGenerated(one.frame, one.port))
      .filter((one) => one !== null);
    for (const answer of answerFrames) assert.deepEqual(wrongChecksums(answer), [], packetWords(answer));
    const answers = answerFrames.map((answer) => packetWords(answer));
    const text = out.verdict === VERDICT_FORWARD ? packetWords(left) : verdictWords(out);
    return { input, out, text, frame: left, records, answers, answerFrames };
  }

  /** A device's own frame; what leaves, or null. */
  private sendGenerated(frame: Uint8Array, port: number): Uint8Array | null {
    const { bench } = this;
    const out = bench.generated(frame, port);
    if (out.verdict !== VERDICT_FORWARD) return null;
    bench.state.commit(out);
    const key = new Uint8Array(KEY_SIZE);
    extractKey(frame, frame.length, 0, 0, key, 0, newFrameLayout());
    return leaving({ key, frame, length: frame.length, port: 0, now: bench.now }, out);
  }
}

/** Whether what the result created counts. */
export function settled(out: Simulation): boolean {
  return out.verdict === VERDICT_FORWARD || (out.verdict === VERDICT_DROP && out.generated.length > 0);
}

function verdictWords(out: Simulation): string {
  return out.verdict === VERDICT_DROP ? `drop ${DROP_REASONS[out.reason]}` : 'postpone';
}
