/**
 * A rule's condition, part by part: what each part wants in words, what the packet has, and whether it holds. Parts are
 * judged by compiling each as a rule of its own and asking the simulator's own matcher: there is no second opinion here.
 */
import {
  FRAG_FIRST,
  FRAG_NONE,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  readU16,
} from '@weft/flow';
import { ipFormat, ipProtocolName, macFormat } from '@weft/packet';
import type { StateView } from '../contract.ts';
import { ruleMatches } from '../simulate/chain.ts';
import { newSimulation } from '../simulate/simulation.ts';
import { Walk } from '../simulate/walk.ts';
import { compileChain, type SimChain } from '../view/chain.ts';
import type { Handles } from '../view/handles.ts';
import type { VirtualTopology } from '../view/topology.ts';
import type { Names } from './names.ts';

type Value = Record<string, unknown>;

/** What a filter's rules look at, at the moment when they did. */
export interface FilterContext {
  /** The packet at that moment, and as it came. */
  readonly key: Uint8Array;
  readonly original: Uint8Array;
  readonly frame: Uint8Array;
  readonly length: number;
  /** Handles: port of entry into the virtual network, into the device, out of it; 0: none. */
  readonly origin: number;
  readonly inPort: number;
  readonly outPort: number;
  /** Ports and devices passed so far. */
  readonly passed: readonly number[];
  /** FORWARD or RETURN, if some rule of the device had asked; else 0. */
  readonly direction: number;
}

/** A part of a condition that does not hold. */
export interface Miss {
  /** Field of the rule, as in the API. */
  readonly field: string;
  /** What the rule wants, in words. */
  readonly wanted: string;
  /** What the packet has, in words. */
  readonly seen: string;
}

interface Part {
  readonly field: string;
  /** Name of the inversion flag; '' if there is none. */
  readonly inversion: string;
  /** Fields that belong to it. */
  readonly with: readonly string[];
  readonly words: (value: Value, names: Names) => string;
  readonly seen: (context: FilterContext, names: Names) => string;
}

const part = (field: string, words: Part['words'], seen: Part['seen'], extra: readonly string[] = []): Part => ({
  field,
  inversion: `inv${field[0].toUpperCase()}${field.slice(1)}`,
  with: extra,
  words,
  seen,
});

const ports = (field: string, label: string, which: 'inPort' | 'outPort'): Part =>
  part(
    field,
    (value, names) => `${label} ${(value[field] as string[]).map((id) => names.of(id).name).join(' or ')}`,
    (context, names) => `${label} ${names.ref(context[which]).name}`,
  );

const portGroup = (field: string, label: string, which: 'origin' | 'inPort' | 'outPort'): Part =>
  part(
    field,
    (value) => `${label} in port group ${value[field]}`,
    (context, names) => `${label} ${names.ref(context[which]).name}`,
  );

const address = (field: string, label: string, offset: number, group = false): Part =>
  part(
    field,
    (value) => (group ? `${label} in address group ${value[field]}` : `${label} ${value[field]}`),
    ({ key }) => (hasAddresses(key) ? `${label} ${ipFormat(key, offset)}` : `no IP address (${etherTypeName(key)})`),
  );

const transport = (field: string, offset: number): Part =>
  part(
    field,
    (value) => {
      const { start, end } = value[field] as { start: number; end: number };
      return `${field} ${start === end ? start : `${start}-${end}`}`;
    },
    ({ key }) => (hasPorts(key) ? `${field} ${readU16(key, offset)}` : `no ${field} (${protocolName(key)})`),
  );

const mac = (field: string, offset: number): Part =>
  part(
    field,
    (value) => `${field} ${value[field]}${value[`${field}Mask`] === undefined ? '' : `/${value[`${field}Mask`]}`}`,
    ({ key }) => `${field} ${macFormat(key, offset)}`,
    [`${field}Mask`],
  );

/** What a quoted packet has is not in the key: the words say only that. */
const quoted = (field: string, label: string): Part =>
  part(
    field,
    (value) => `${label} of the quoted packet ${value[field]}`,
    ({ key }) => `no such quoted packet (${protocolName(key)})`,
  );

export const PARTS: readonly Part[] = [
  ports('inPorts', 'in by', 'inPort'),
  ports('outPorts', 'out by', 'outPort'),
  portGroup('portGroup', 'from', 'origin'),
  portGroup('inPortGroup', 'in by', 'inPort'),
  portGroup('outPortGroup', 'out by', 'outPort'),
  part(
    'traversedDevice',
    (value, names) => `has come to ${names.of(String(value.traversedDevice)).name}`,
    ({ passed }, names) => `has come to ${passed.map((handle) => names.ref(handle).name).join(', ')}`,
  ),
  part(
    'dlType',
    (value) => `ethertype ${hex4(value.dlType as number)}`,
    ({ key }) => `ethertype ${hex4(readU16(key, K_ETHER_TYPE))}`,
  ),
  part('noVlan', () => 'untagged', vlanOf),
  part('vlan', (value) => `VLAN ${value.vlan}`, vlanOf),
  mac('dlSrc', K_ETH_SRC),
  mac('dlDst', K_ETH_DST),
  address('nwDst', 'destination', K_IP_DST),
  address('nwSrc', 'source', K_IP_SRC),
  address('ipAddrGroupDst', 'destination', K_IP_DST, true),
  address('ipAddrGroupSrc', 'source', K_IP_SRC, true),
  part(
    'matchNwDstRewritten',
    () => 'destination was rewritten',
    ({ key }) => `destination is still ${ipFormat(key, K_IP_DST)}`,
  ),
  part(
    'nwProto',
    (value) => `protocol ${protocol(value.nwProto as number)}`,
    ({ key }) => `protocol ${protocolName(key)}`,
  ),
  part(
    'fragmentPolicy',
    (value) => `fragments: ${value.fragmentPolicy}`,
    ({ key }) =>
      key[K_IP_FRAG] === FRAG_NONE
        ? 'a whole packet'
        : `a ${key[K_IP_FRAG] === FRAG_FIRST ? 'first' : 'later'} fragment`,
  ),
  transport('tpDst', K_TP_DST),
  transport('tpSrc', K_TP_SRC),
  part(
    'matchReturnFlow',
    () => 'an answer within a known connection',
    () => 'no answer within a known connection',
  ),
  part(
    'matchForwardFlow',
    () => 'not an answer within a known connection',
    () => 'an answer within a known connection',
  ),
  part(
    'nwTos',
    (value) => `TOS ${value.nwTos}`,
    ({ key }) => `TOS ${key[K_IP_TOS]}`,
  ),
  quoted('icmpDataSrcIp', 'source'),
  quoted('icmpDataDstIp', 'destination'),
];

/** Flags that say something only when they are set. */
const TRUE_ONLY: ReadonlySet<string> = new Set([
  'noVlan',
  'matchNwDstRewritten',
  'matchReturnFlow',
  'matchForwardFlow',
]);

function present(value: Value, { field }: Part): boolean {
  if (field === 'fragmentPolicy') return value.fragmentPolicy !== undefined && value.fragmentPolicy !== 'any';
  if (TRUE_ONLY.has(field)) return value[field] === true;
  const given = value[field];
  return given !== undefined && !(Array.isArray(given) && given.length === 0);
}

function wantedBy(value: Value, one: Part, names: Names): string {
  return `${value[one.inversion] === true ? 'not ' : ''}${one.words(value, names)}`;
}

/** The condition of a rule in words. */
export function conditionWords(value: Value, names: Names): string {
  const parts = PARTS.filter((one) => present(value, one));
  if (parts.length === 0) return value.conjunctionInv === true ? 'nothing' : 'everything';
  const outside = value.conjunctionInv === true ? parts.filter(({ field }) => field === 'fragmentPolicy') : [];
  const inside = parts.filter((one) => !outside.includes(one));
  const words = (list: readonly Part[]) => list.map((one) => wantedBy(value, one, names)).join(', ');
  if (value.conjunctionInv !== true) return words(inside);
  return [`all but (${words(inside)})`, words(outside)].filter((text) => text !== '').join(', ');
}

/** Says which parts of rules hold for a packet. Reads and tags of its evaluations go nowhere. */
export class ConditionJudge {
  private readonly walk: Walk;
  private readonly handles: Handles;
  private readonly view: VirtualTopology;
  private readonly scratch = newSimulation();
  private readonly programs = new WeakMap<Value, ReadonlyMap<Part, SimChain>>();

  constructor(view: VirtualTopology, state: StateView, maxDevices = 64) {
    this.walk = new Walk(view, maxDevices, null, state);
    this.handles = view.handles;
    this.view = view;
  }

  /** The parts that keep the rule from matching; [] if it matches. */
  misses(value: Value, context: FilterContext, names: Names): Miss[] {
    const misses: Miss[] = [];
    const held: string[] = [];
    let conjunctionHeld = true;
    for (const [one, program] of this.programsOf(value)) {
      const holds = this.holds(program, context);
      const miss = { field: one.field, wanted: wantedBy(value, one, names), seen: one.seen(context, names) };
      if (value.conjunctionInv === true && one.field !== 'fragmentPolicy') {
        if (!holds) conjunctionHeld = false;
        held.push(miss.wanted);
      } else if (!holds) misses.push(miss);
    }
    if (value.conjunctionInv === true && conjunctionHeld) {
      misses.push({ field: 'conjunctionInv', wanted: `not (${held.join(', ')})`, seen: 'all of that holds' });
    }
    return misses;
  }

  private holds(program: SimChain, context: FilterContext): boolean {
    const { walk } = this;
    walk.begin(context.key, context.frame, context.length, context.origin, 0, this.scratch);
    walk.original = context.original;
    for (const handle of context.passed) walk.pass(handle);
    const port = this.view.ports[context.inPort || context.outPort];
    walk.beginDevice(port?.device ?? 0);
    if (context.direction !== 0) walk.track.direction = context.direction;
    return ruleMatches(walk, program, 0, context.inPort, context.outPort);
  }

  private programsOf(value: Value): ReadonlyMap<Part, SimChain> {
    const known = this.programs.get(value);
    if (known !== undefined) return known;
    const made = new Map<Part, SimChain>();
    for (const one of PARTS) {
      if (!present(value, one)) continue;
      const single: Value = { id: value.id, chainId: value.chainId, type: 'accept', fragmentPolicy: 'any' };
      // Whether later fragments have ports is a matter of the rule's policy.
      if (one.field === 'tpDst' || one.field === 'tpSrc') single.fragmentPolicy = value.fragmentPolicy;
      for (const field of [one.field, one.inversion, ...one.with]) {
        if (value[field] !== undefined) single[field] = value[field];
      }
      made.set(one, compileChain(String(value.chainId), [single], 0, this.handles));
    }
    this.programs.set(value, made);
    return made;
  }
}

function hasAddresses(key: Uint8Array): boolean {
  const type = readU16(key, K_ETHER_TYPE);
  return type === 0x0800 || type === 0x86dd || type === 0x0806;
}

function hasPorts(key: Uint8Array): boolean {
  return [1, 6, 17, 58, 132, 136].includes(key[K_IP_PROTO]) && key[K_IP_FRAG] !== 2 && isIp(key);
}

function isIp(key: Uint8Array): boolean {
  const type = readU16(key, K_ETHER_TYPE);
  return type === 0x0800 || type === 0x86dd;
}

function etherTypeName(key: Uint8Array): string {
  return `ethertype ${hex4(readU16(key, K_ETHER_TYPE))}`;
}

function protocolName(key: Uint8Array): string {
  return isIp(key) ? protocol(key[K_IP_PROTO]) : etherTypeName(key);
}

function protocol(number: number): string {
  return ipProtocolName(number);
}

function hex4(value: number): string {
  return `0x${value.toString(16).padStart(4, '0')}`;
}

function vlanOf({ key }: FilterContext): string {
  const tci = readU16(key, K_VLAN);
  return tci === 0 ? 'untagged' : `VLAN ${tci & 0xfff}`;
}
