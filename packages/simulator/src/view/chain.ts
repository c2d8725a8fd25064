/**
 * Chain and Rule objects → one flat program of tests over the flow key. A rule is a run of tests, all of which must hold;
 * they stand in the order of what they cost the flow's mask (ports, then Ethernet, addresses, protocol, L4), so that a rule
 * that fails early has read little.
 */

import { RULE_FIRST, RULE_NAT, RULE_STRIDE, TEST_A, TEST_STRIDE } from './chain-format.ts';
import type { Handles } from './handles.ts';
import { type SimNat, sameNat } from './nat.ts';
import { type CompiledRule, type Content, compileRule, type RuleTest } from './rule.ts';

export * from './chain-format.ts';

export interface SimChain {
  readonly handle: number;
  readonly id: string;
  readonly ruleCount: number;
  /** Which decisions a logger wants to know: LOG_…. */
  readonly logs: number;
  readonly rules: Int32Array;
  /** Numbers of the tests of each rule, in their order. */
  readonly order: Int32Array;
  readonly tests: Int32Array;
  /** Port handles of the port sets, each run ascending. */
  readonly sets: Int32Array;
  /** Values and masks of OP_BYTES. */
  readonly values: Uint8Array;
  readonly masks: Uint8Array;
  readonly nats: readonly SimNat[];
  /** By test: the last evaluation that carried it out, and whether it let the rule go on. Working memory of the simulator. */
  readonly evaluated: Float64Array;
  readonly passed: Uint8Array;
}

class Program {
  readonly rules: number[] = [];
  readonly order: number[] = [];
  readonly tests: number[] = [];
  readonly sets: number[] = [];
  readonly values: number[] = [];
  readonly masks: number[] = [];
  readonly nats: SimNat[] = [];
  /** Rules of a chain resemble each other: what is the same is there, and is carried out, once. */
  private readonly known = new Map<string, number>();

  /** Where what is known by `key` stands. */
  private intern(key: string, append: () => number): number {
    let at = this.known.get(key);
    if (at === undefined) this.known.set(key, (at = append()));
    return at;
  }

  add({ tests, words, nat }: CompiledRule): void {
    const at = this.rules.length;
    for (const word of words) this.rules.push(word);
    this.rules[at + RULE_FIRST] = this.order.length;
    if (nat !== undefined) this.rules[at + RULE_NAT] = this.nats.push(nat) - 1;
    for (const test of tests) this.order.push(this.intern(test.key, () => this.append(test)));
  }

  /** @returns number of the test */
  private append({ words, content }: RuleTest): number {
    const at = this.tests.length;
    for (const word of words) this.tests.push(word);
    if (content !== undefined) this.tests[at + TEST_A] = this.intern(content.key, () => this.place(content));
    return at / TEST_STRIDE;
  }

  /** @returns where it stands among the bytes, or the handles */
  private place({ bytes, handles }: Content): number {
    if (bytes !== undefined) {
      const from = this.values.length;
      for (let i = 0; i < bytes.mask.length; i++) {
        this.masks.push(bytes.mask[i]);
        this.values.push(bytes.value[i] & bytes.mask[i]);
      }
      return from;
    }
    const from = this.sets.length;
    for (const handle of handles ?? []) this.sets.push(handle);
    return from;
  }
}

/** Compiles a chain of rules in their order. @param logs LOG_… bits */
export function compileChain(
  id: string,
  rules: readonly Record<string, unknown>[],
  logs: number,
  handles: Handles,
): SimChain {
  const program = new Program();
  for (const value of rules) program.add(compileRule(value, id, handles));
  const testCount = program.tests.length / TEST_STRIDE;
  return {
    handle: handles.of(id),
    id,
    ruleCount: program.rules.length / RULE_STRIDE,
    logs,
    rules: new Int32Array(program.rules),
    order: new Int32Array(program.order),
    tests: new Int32Array(program.tests),
    sets: new Int32Array(program.sets),
    values: new Uint8Array(program.values),
    masks: new Uint8Array(program.masks),
    nats: program.nats,
    evaluated: new Float64Array(testCount),
    passed: new Uint8Array(testCount),
  };
}

/** Whether two compilations decide alike (handles are stable, so equal words mean equal programs). */
export function sameChain(a: SimChain, b: SimChain): boolean {
  return (
    a.logs === b.logs &&
    sameWords(a.rules, b.rules) &&
    sameWords(a.order, b.order) &&
    sameWords(a.tests, b.tests) &&
    sameWords(a.sets, b.sets) &&
    sameWords(a.values, b.values) &&
    sameWords(a.masks, b.masks) &&
    a.nats.length === b.nats.length &&
    a.nats.every((nat, i) => sameNat(nat, b.nats[i]))
  );
}

function sameWords(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
