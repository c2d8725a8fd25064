/** A recorder that tells a simulation in sentences, one line a decision. */
import { DROP_REASONS, F_IP_PROTO, K_ETH_DST, K_ETH_SRC, K_IP_DST, K_IP_SRC, KEY_FIELDS } from '@weft/flow';
import { ipFormat, macFormat } from '@weft/packet';
import type { Recorder } from '../contract.ts';
import type { VirtualTopology } from '../view/topology.ts';
import * as S from './steps.ts';

/** Lines kept at most: a flood to thousands of ports need not be told port by port. */
const MAX_LINES = 2000;

const ACTIONS = ['postponed', 'accept', 'drop', 'reject', 'return', 'jump', 'continue', 'drop after too many jumps'];
const NEIGHBOURS = ['', 'is known', 'is being asked for', 'does not answer'];
const GENERATED = ['', 'an ARP reply', 'a neighbour advertisement', 'an ICMP error', 'an echo reply', 'a TCP reset'];

export class TextRecorder implements Recorder {
  readonly lines: string[] = [];
  /** Set by whoever made the simulator: what handles mean. */
  view: VirtualTopology | null = null;
  private readonly name: (id: string) => string;

  /** @param name what to call an object; default its UUID */
  constructor(name: (id: string) => string = (id) => id) {
    this.name = name;
  }

  clear(): void {
    this.lines.length = 0;
  }

  step(step: number, at: number, a: number, b: number, key: Uint8Array): void {
    if (this.lines.length < MAX_LINES) this.lines.push(this.tell(step, at, a, b, key));
    else if (this.lines.length === MAX_LINES) this.lines.push('…');
  }

  private of(handle: number): string {
    return this.name(this.view?.id(handle) ?? `#${handle}`);
  }

  private tell(step: number, at: number, a: number, b: number, key: Uint8Array): string {
    const subject = this.of(at);
    switch (step) {
      case S.STEP_INGRESS:
        return `enters by port ${subject}`;
      case S.STEP_CHAIN:
        return b === 0 ? `chain ${subject} ends` : `chain ${subject}: rule ${this.of(b)} says ${ACTIONS[a]}`;
      case S.STEP_RULE:
        return a === 1 ? `rule ${subject} matches` : `rule ${subject} does not match${fieldName(b)}`;
      case S.STEP_BRIDGE:
        return `bridge ${subject}${a === 0 ? '' : `, VLAN ${a}`}`;
      case S.STEP_LEARN:
        return `learns ${macFormat(key, K_ETH_SRC)} at port ${this.of(a)}`;
      case S.STEP_MAC:
        return `${macFormat(key, K_ETH_DST)} is ${a === 0 ? 'nowhere' : `at port ${this.of(a)}`}`;
      case S.STEP_FLOOD:
        return `bridge ${subject} floods`;
      case S.STEP_SUPPRESS:
        return `the address asked for is ${a === 0 ? 'known' : `that of the router behind port ${this.of(a)}`}`;
      case S.STEP_ROUTER:
        return `router ${subject}`;
      case S.STEP_ROUTE: {
        const pair = `${ipFormat(key, K_IP_SRC)} > ${ipFormat(key, K_IP_DST)}`;
        return a === 0
          ? `no route for ${pair}`
          : `route ${this.of(a)} for ${pair}${b > 1 ? `, one of ${b} equal ones` : ''}`;
      }
      case S.STEP_NEIGHBOUR:
        return `the next hop behind port ${subject} ${NEIGHBOURS[a]}`;
      case S.STEP_EGRESS:
        return `leaves by port ${subject}`;
      case S.STEP_OUTPUT:
        return `goes out at port ${subject}`;
      case S.STEP_DROP:
        return `dropped at ${subject}: ${DROP_REASONS[a]}`;
      case S.STEP_GENERATE:
        return `port ${subject} sends ${GENERATED[a]}`;
      case S.STEP_JUMP:
        return `rule ${subject} jumps to chain ${this.of(a)}${b === 1 ? ', which has not ended yet: passed over' : ''}`;
      case S.STEP_MISSING:
        return `${subject} is not cached`;
      default:
        return `${subject} learns a neighbour`;
    }
  }
}

/** Name of the field whose bit is set; fields that only prepare a test have none. */
function fieldName(bit: number): string {
  if (bit === 0) return '';
  const field = KEY_FIELDS[31 - Math.clz32(bit)];
  return field === undefined ? '' : `: ${bit === F_IP_PROTO ? 'protocol' : field[0]}`;
}
