/** Packets that agree with another on the fields that its flow matches, and what has to be the same of them. */
import assert from 'node:assert/strict';
import { F_IP_TTL, F_PAYLOAD, K_IP_TTL, KEY_FIELDS } from '@weft/flow';
import { type Simulation, type SimulationInput, VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';

/** Whether a flow may come of the result at all. */
export function isMatchable(out: Simulation): boolean {
  return (out.fields & F_PAYLOAD) === 0 && out.verdict !== VERDICT_POSTPONE;
}

/**
 * The packet of `input` with other values in all fields that `out` did not read: from `donor`, the key of another packet (it goes
 * deeper into the rules than noise does), or from noise.
 */
export function perturbed(
  input: SimulationInput,
  out: Simulation,
  noise: Uint8Array,
  donor: Uint8Array,
): SimulationInput {
  const key = input.key.slice();
  KEY_FIELDS.forEach(([name, offset, size], bit) => {
    if (out.fields & (1 << bit) || name === 'inPort' || name === 'maskClass') return;
    const source = noise[bit] % 3 === 0 ? noise : donor;
    for (let i = 0; i < size; i++) key[offset + i] = source[offset + i];
  });
  // The flow's action sends packets up whose TTL does not suffice.
  if (!(out.fields & F_IP_TTL)) key[K_IP_TTL] = Math.max(key[K_IP_TTL], out.ttlDec + 1);
  return { ...input, key };
}

/** One flow may stand for both packets. */
export function assertSameFlow(
  input: SimulationInput,
  out: Simulation,
  twin: SimulationInput,
  other: Simulation,
): void {
  assert.equal(other.verdict, out.verdict);
  assert.equal(other.reason, out.reason);
  assert.equal(other.fields, out.fields);
  assert.deepEqual(other.outputs.slice(0, other.outputCount), out.outputs.slice(0, out.outputCount));
  assert.deepEqual(other.tags.slice(0, other.tagCount), out.tags.slice(0, out.tagCount));
  assert.deepEqual(other.states.slice(0, other.stateCount), out.states.slice(0, out.stateCount));
  assert.equal(other.createdCount, out.createdCount);
  assert.equal(other.cacheable, out.cacheable);
  if (out.verdict !== VERDICT_FORWARD) return;
  // TTL is relative; compare the rest of the rewrite.
  const [final, otherFinal] = [out.key.slice(), other.key.slice()];
  final[K_IP_TTL] = input.key[K_IP_TTL];
  otherFinal[K_IP_TTL] = twin.key[K_IP_TTL];
  assert.ok(rewritesAgree(input.key, final, otherFinal));
  assert.equal(other.ttlDec, out.ttlDec);
}

/** Whether the rewrite of one packet, applied to another, gives that one's final key: changed bytes agree. */
function rewritesAgree(key: Uint8Array, final: Uint8Array, otherFinal: Uint8Array): boolean {
  return final.every((byte, i) => byte === key[i] || byte === otherFinal[i]);
}
