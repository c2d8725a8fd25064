/** Recorded steps → sentences. */
import { DROP_REASONS, K_ETH_DST, K_ETH_SRC, K_IP_DST, K_IP_SRC } from '@weft/flow';
import { ipFormat, macFormat } from '@weft/packet';
import type { Simulation } from '../contract.ts';
import { ACTION_UNTRANSLATED } from '../simulate/chain.ts';
import * as S from '../simulate/steps.ts';
import type { Miss } from './conditions.ts';
import { dropWords } from './drop-words.ts';
import type { ExplainedStep } from './explanation.ts';
import type { Names } from './names.ts';
import { ruleInWords } from './nearest.ts';
import { stateSentence } from './state-sentences.ts';
import type { StepRecorder } from './step-recorder.ts';

const ACTIONS = ['postponed', 'accept', 'drop', 'reject', 'return', 'jump', 'continue', 'too many jumps'];
const GENERATED = ['', 'an ARP reply', 'a neighbour advertisement', 'an ICMP error', 'an echo reply', 'a TCP reset'];

/** Where the packet is while steps are told: chains inside each other indent. */
export interface Place {
  chains: number;
}

/** The step's line, or null: it says nothing to a person. `misses`: why a rule did not match, asked only then. `out`: what the simulation came to. */
export function tell(
  rec: StepRecorder,
  n: number,
  place: Place,
  names: Names,
  misses: (n: number) => readonly Miss[],
  out: Simulation,
): ExplainedStep | null {
  const at = names.ref(rec.at[n]);
  const a = rec.a[n];
  const key = rec.key(n);
  const line = (step: ExplainedStep['step'], depth: number, text: string, more: Partial<ExplainedStep> = {}) => ({
    step,
    at,
    depth,
    text,
    ...more,
  });
  switch (rec.kind[n]) {
    case S.STEP_INGRESS:
      return line('enters', 0, `enters by ${at.name}`);
    case S.STEP_FILTER:
      place.chains = 0;
      return line('filter', 2, `filter: ${at.name}`);
    case S.STEP_RULE: {
      const { number, effect, condition } = ruleInWords(rec.at[n], names);
      const head = `rule ${number} (${effect}: ${condition})`;
      if (a === 1) return line('rule', 3 + place.chains, `${head} matches`, { matched: true });
      const why = misses(n);
      const seen = why.map((miss) => miss.seen).join('; ');
      const text = seen === '' ? `${head} does not match` : `${head} does not match: ${seen}`;
      return line('rule', 3 + place.chains, text, { matched: false, misses: why });
    }
    case S.STEP_JUMP: {
      const other = names.ref(a);
      if (rec.b[n] === 1) {
        return line(
          'jump',
          3 + place.chains,
          `jumps to ${other.name}, which is being gone through already: passed over`,
          {
            other,
          },
        );
      }
      place.chains++;
      return line('jump', 2 + place.chains, `jumps to ${other.name}`, { other });
    }
    case S.STEP_CHAIN: {
      const depth = 2 + Math.max(0, place.chains);
      place.chains--;
      if (rec.b[n] === 0) return line('chain', depth, `${at.name} ends without a decision`);
      return line(
        'chain',
        depth,
        `${at.name} says ${a === ACTION_UNTRANSLATED ? 'it cannot be translated' : ACTIONS[a]}`,
        { other: names.ref(rec.b[n]) },
      );
    }
    case S.STEP_BRIDGE:
      return line('bridge', 1, `${at.name}${a === 0 ? '' : `, VLAN ${a}`}`);
    case S.STEP_LEARN:
      return line('learns', 1, `would learn that ${macFormat(key, K_ETH_SRC)} is at ${names.ref(a).name}`, {
        other: names.ref(a),
      });
    case S.STEP_MAC: {
      const mac = macFormat(key, K_ETH_DST);
      if (a === 0) return line('mac', 1, `${at.name} does not know where ${mac} is`);
      return line('mac', 1, `${mac} is at ${names.ref(a).name}`, { other: names.ref(a) });
    }
    case S.STEP_FLOOD:
      return line('flood', 1, `${at.name} floods it to all its ports but the one it came by`);
    case S.STEP_SUPPRESS:
      return a === 0
        ? line('answers', 1, `${at.name} knows the MAC of ${ipFormat(key, K_IP_DST)} and answers itself`)
        : line('answers', 1, `the address asked for is that of a router: goes only to ${names.ref(a).name}`, {
            other: names.ref(a),
          });
    case S.STEP_ROUTER:
      return line('router', 1, at.name);
    case S.STEP_ROUTE: {
      const pair = `${ipFormat(key, K_IP_SRC)} to ${ipFormat(key, K_IP_DST)}`;
      if (a === 0) return line('route', 1, `no route from ${pair}`, { equal: 0 });
      const equal = rec.b[n];
      const share = equal > 1 ? `, one of ${equal} equal ones, chosen by the flow's hash` : '';
      return line('route', 1, `${names.ref(a).name} for ${pair}${share}`, { other: names.ref(a), equal });
    }
    case S.STEP_NEIGHBOUR:
      return line('neighbour', 1, neighbour(rec, n, names));
    case S.STEP_EGRESS:
      return line('leaves', 0, `leaves by ${at.name}`);
    case S.STEP_OUTPUT:
      return a === 0
        ? line('output', 0, `goes out at ${at.name}`)
        : line('output', 0, `a copy goes out at ${at.name}`, { other: names.ref(a) });
    case S.STEP_DROP: {
      const reason = DROP_REASONS[a] ?? String(a);
      const words = dropWords(reason);
      return line('drop', 0, `dropped at ${at.name}: ${reason}${words === '' ? '' : ` (${words})`}`, { reason });
    }
    case S.STEP_GENERATE:
      return line('generates', 1, `${at.name} sends ${GENERATED[a] ?? 'a frame'}`);
    case S.STEP_MISSING:
      return line('missing', 1, `data of ${at.name} is not here yet`);
    case S.STEP_LEARN_NEIGHBOUR:
      return line('learns-neighbour', 1, `${at.name} would learn the MAC of ${ipFormat(key, K_IP_SRC)}`);
    default: {
      const sentence = stateSentence(rec, n, out, at.name);
      return sentence && line(sentence.step, sentence.ofDevice ? 1 : 3 + Math.max(0, place.chains), sentence.text);
    }
  }
}

/** The next hop is the route's gateway, or the destination itself; its MAC is what the packet leaves with. */
function neighbour(rec: StepRecorder, n: number, names: Names): string {
  let gateway: unknown;
  for (let i = n - 1; i >= 0; i--) {
    if (rec.kind[i] !== S.STEP_ROUTE) continue;
    gateway = names.object('Route', names.ref(rec.a[i]).id)?.nextHopGateway;
    break;
  }
  const hop = typeof gateway === 'string' ? gateway : ipFormat(rec.key(n), K_IP_DST);
  const behind = names.ref(rec.at[n]).name;
  switch (rec.a[n]) {
    case S.NEIGHBOUR_KNOWN:
      for (let i = n + 1; i < rec.count; i++) {
        if (rec.kind[i] === S.STEP_EGRESS)
          return `next hop ${hop} behind ${behind} has MAC ${macFormat(rec.key(i), K_ETH_DST)}`;
      }
      return `the MAC of next hop ${hop} behind ${behind} is known`;
    case S.NEIGHBOUR_FAILED:
      return `next hop ${hop} behind ${behind} does not answer`;
    default:
      return `the MAC of next hop ${hop} behind ${behind} is not known: a real packet waits while the router asks`;
  }
}
