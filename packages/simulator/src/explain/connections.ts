/** The connections that a simulated packet belongs to or begins, as plain data. */
import { DIR_RETURN, R_RETURN, RECORD_WORDS, tupleDevice, tupleKind } from '@weft/flowstate';
import { type Simulation, type StateView, VERDICT_FORWARD } from '../contract.ts';
import * as S from '../simulate/steps.ts';
import type { ExplainedConnection } from './explanation.ts';
import type { Names } from './names.ts';
import type { StepRecorder } from './step-recorder.ts';
import { CONNECTION_KINDS, explainedTuple } from './tuple-words.ts';

/** @param rec what was recorded of the simulation: it names the devices */
export function explainedConnections(
  out: Simulation,
  rec: StepRecorder,
  state: StateView,
  names: Names,
): ExplainedConnection[] {
  const devices = new Map<number, number>();
  for (let n = 0; n < rec.count; n++) {
    if (rec.kind[n] !== S.STEP_STATE && rec.kind[n] !== S.STEP_STATE_CREATE) continue;
    devices.set(state.number(rec.at[n]), rec.at[n]);
  }
  const one = (words: Int32Array, at: number, stage: ExplainedConnection['state'], direction: number) => ({
    device: names.ref(devices.get(tupleDevice(words[at])) ?? 0),
    kind: CONNECTION_KINDS[tupleKind(words[at])] ?? 'tracking',
    state: stage,
    direction: direction === DIR_RETURN ? ('return' as const) : ('forward' as const),
    forward: explainedTuple(words, at, words[at]),
    // The return tuple has no first word of its own.
    return: explainedTuple(words, at + R_RETURN - 1, words[at]),
  });
  const { table } = state;
  const connections: ExplainedConnection[] = [];
  for (let i = 0; i < out.stateCount; i++) {
    connections.push(one(table.words, (out.states[i] >>> 1) * RECORD_WORDS, 'known', out.states[i] & 1));
  }
  // Of a packet that is dropped without an answer, or waits, nothing is kept.
  if (out.verdict !== VERDICT_FORWARD && out.generated.length === 0) return connections;
  for (let i = 0; i < out.createdCount; i++) connections.push(one(out.created[i].words, 0, 'created', 0));
  return connections;
}
