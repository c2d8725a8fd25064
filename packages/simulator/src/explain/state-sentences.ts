/** Recorded steps about connections → sentences. */
import { K_ETHER_TYPE, K_ICMP_ID, K_IP_DST, K_IP_PROTO, K_IP_SRC, K_TP_DST, K_TP_SRC, readU16 } from '@weft/flow';
import { hasPorts, KIND_CONNTRACK, R_RETURN, TUPLE_WORDS, tupleOfKey } from '@weft/flowstate';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, icmpIsError, icmpv6IsError, ipFormat } from '@weft/packet';
import type { Simulation } from '../contract.ts';
import * as S from '../simulate/steps.ts';
import { RETURN } from '../simulate/track.ts';
import type { ExplainedTuple, StepKind } from './explanation.ts';
import type { StepRecorder } from './step-recorder.ts';
import { endWords, explainedTuple, kindName, reversed, tupleWords } from './tuple-words.ts';

const KINDS: Readonly<Record<number, StepKind>> = {
  [S.STEP_STATE]: 'state',
  [S.STEP_STATE_CREATE]: 'begins',
  [S.STEP_TRANSLATE]: 'translates',
  [S.STEP_KEPT]: 'kept',
  [S.STEP_DIRECTION]: 'direction',
};

export interface StateSentence {
  readonly step: StepKind;
  readonly text: string;
  /** It is the device's, not a rule's: the packet leaves it. */
  readonly ofDevice: boolean;
}

/** The sentence of a step about connections; null if it is about something else. @param filter what the step's object is called */
export function stateSentence(rec: StepRecorder, n: number, out: Simulation, filter: string): StateSentence | null {
  const step = KINDS[rec.kind[n]];
  if (step === undefined) return null;
  const ofDevice = rec.kind[n] === S.STEP_STATE_CREATE && rec.a[n] === KIND_CONNTRACK;
  return { step, text: textOf(rec, n, out, filter), ofDevice };
}

function textOf(rec: StepRecorder, n: number, out: Simulation, filter: string): string {
  switch (rec.kind[n]) {
    case S.STEP_STATE: {
      const found = ['not known', 'known, and it goes the way of its first packet', 'known, and it is an answer'][
        rec.b[n]
      ];
      return `looks for the ${kindName(rec.a[n])} ${tupleWords(lookedUp(rec.key(n)))}: ${found}`;
    }
    case S.STEP_STATE_CREATE: {
      const { words } = out.created[rec.b[n]];
      const came = tupleWords(explainedTuple(words, 0, words[0]));
      const left = tupleWords(reversed(explainedTuple(words, R_RETURN - 1, words[0])));
      return `a ${kindName(rec.a[n])} ${came} begins${left === came ? '' : `: leaves as ${left}`}`;
    }
    case S.STEP_TRANSLATE:
      return translation(rec, n);
    case S.STEP_KEPT:
      return `${filter} once let its connection begin, and lets it finish`;
    default:
      if (rec.a[n] !== RETURN) return 'counts as no answer';
      return isAsked(rec, n) ? 'counts as an answer' : 'counts as an answer: a device sends it itself';
  }
}

/** A direction that was found stands behind the look-up on the same device. */
function isAsked(rec: StepRecorder, n: number): boolean {
  for (let i = n - 1; i >= 0 && rec.at[n] !== 0; i--)
    if (rec.kind[i] === S.STEP_STATE && rec.at[i] === rec.at[n]) return true;
  return false;
}

const words = new Int32Array(TUPLE_WORDS);

/** The tuple of the packet that a look-up's key describes. */
function lookedUp(key: Uint8Array): ExplainedTuple {
  tupleOfKey(key, 0, KIND_CONNTRACK, 1, words, 0);
  return explainedTuple(words, 0, words[0]);
}

function translation(rec: StepRecorder, n: number): string {
  let before = n - 1;
  // The key of a look-up is that of what was looked for.
  while (before > 0 && rec.kind[before] === S.STEP_STATE) before--;
  const source = rec.a[n] === 1;
  const text = `${source ? 'source' : 'destination'} ${end(rec.key(before), source)} becomes ${end(rec.key(n), source)}`;
  return isError(rec.key(n)) ? `${text}, as in the packet that it quotes` : text;
}

function end(key: Uint8Array, source: boolean): string {
  const address = ipFormat(key, source ? K_IP_SRC : K_IP_DST);
  const protocol = key[K_IP_PROTO];
  if (hasPorts(protocol)) return endWords(address, readU16(key, source ? K_TP_SRC : K_TP_DST));
  const id = readU16(key, K_ICMP_ID);
  return id !== 0 && (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) ? `${address} id ${id}` : address;
}

function isError(key: Uint8Array): boolean {
  const type = readU16(key, K_TP_SRC);
  return key[K_IP_PROTO] === IPPROTO_ICMP && readU16(key, K_ETHER_TYPE) === 0x0800
    ? icmpIsError(type)
    : key[K_IP_PROTO] === IPPROTO_ICMPV6 && icmpv6IsError(type);
}
