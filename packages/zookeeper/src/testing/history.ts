/**
 * What several clients did at the same time, held against a simple model. ZooKeeper promises: changes take effect one after the other, in
 * the order of their transactions, which agrees with real time; a read shows exactly the state of a transaction; what one client sees
 * never goes back; and behind a sync it is no older than what was finished before the sync began.
 */
import assert from 'node:assert/strict';

export type Action =
  | { readonly kind: 'create'; readonly path: string; readonly data: string }
  | { readonly kind: 'setData'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly kind: 'delete'; readonly path: string; readonly version: number }
  | { readonly kind: 'read'; readonly path: string };

/** A finished action. Times are places in one order of all beginnings and ends. */
export interface Step {
  readonly client: number;
  readonly action: Action;
  readonly begin: number;
  readonly end: number;
  /** The transaction of a change that was done; else the one that the answering server stood at. */
  readonly zxid: bigint;
  /** The error's code, `undefined` if there was none. */
  readonly error: string | undefined;
  /** What was read, or what the node was after the change. */
  readonly node: ModelNode | undefined;
  /** With a read: when the sync before it began. */
  readonly syncBegin: number | undefined;
}

export interface ModelNode {
  readonly data: string;
  readonly version: number;
  readonly czxid: bigint;
  readonly mzxid: bigint;
}

type State = ReadonlyMap<string, ModelNode>;

/** What an action does to a state: the node afterwards (undefined: none), or the code of an error. */
function apply(state: State, action: Action, zxid: bigint): { error?: string; node?: ModelNode | undefined } {
  const old = state.get(action.path);
  if (action.kind === 'create')
    return old === undefined
      ? { node: { data: action.data, version: 0, czxid: zxid, mzxid: zxid } }
      : { error: 'WEFT_ZK_NODE_EXISTS' };
  if (old === undefined) return { error: 'WEFT_ZK_NO_NODE' };
  if (action.kind === 'read') return { node: old };
  if (action.version !== -1 && action.version !== old.version) return { error: 'WEFT_ZK_BAD_VERSION' };
  if (action.kind === 'delete') return { node: undefined };
  return { node: { ...old, data: action.data, version: old.version + 1, mzxid: zxid } };
}

/** Throws an AssertionError that names the steps which contradict the promises. */
export function checkHistory(steps: readonly Step[]): void {
  const done = steps
    .filter(({ action, error }) => action.kind !== 'read' && error === undefined)
    .sort((a, b) => (a.zxid < b.zxid ? -1 : 1));

  /** The states, each in force from its transaction on. */
  const states: { zxid: bigint; state: State }[] = [{ zxid: 0n, state: new Map() }];
  let latestBegin = 0;
  for (const [i, step] of done.entries()) {
    const { action, zxid, node, begin, end } = step;
    assert.ok(i === 0 || done[i - 1].zxid < zxid, describeStep('two changes are one transaction', step));
    assert.ok(end > latestBegin, describeStep('a change took effect behind one that began after its end', step));
    latestBegin = Math.max(latestBegin, begin);
    const state = new Map(states.at(-1)!.state);
    const expected = apply(state, action, zxid);
    assert.deepEqual({ node }, expected, describeStep('a change was not what it should be', step));
    if (expected.node === undefined) state.delete(action.path);
    else state.set(action.path, expected.node);
    states.push({ zxid, state });
  }

  /** States that may have been in force at a server which answered `step` and stood at its transaction. */
  const window = (step: Step) => {
    const least = done.filter(({ end }) => end < step.begin).at(-1)?.zxid ?? 0n;
    const first = states.findLastIndex(({ zxid }) => zxid <= least);
    return states.slice(first).filter(({ zxid }) => zxid <= step.zxid);
  };

  for (const step of steps) {
    const { action, zxid, error, node } = step;
    if (action.kind === 'read') {
      const { state } = states.findLast((candidate) => candidate.zxid <= zxid)!;
      assert.deepEqual(
        { node, error },
        { node: state.get(action.path), error: undefined },
        describeStep('a read is not of its transaction', step),
      );
    } else if (error !== undefined) {
      const reasons = window(step).map(({ state }) => apply(state, action, zxid).error);
      assert.ok(reasons.includes(error), describeStep('a change was refused without a reason', step));
    }
    for (const earlier of steps) {
      const sameClient = earlier.client === step.client && earlier.end < step.begin;
      if (sameClient) assert.ok(earlier.zxid <= zxid, describeStep('a client went back in time', step, earlier));
      const isOld = done.includes(earlier) && earlier.end < (step.syncBegin ?? 0);
      if (isOld) assert.ok(earlier.zxid <= zxid, describeStep('a read behind a sync is stale', step, earlier));
    }
  }
}

function describeStep(what: string, ...steps: readonly Step[]): string {
  const text = (value: unknown) => JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? String(one) : one));
  return `${what}: ${steps.map(text).join(' and ')}`;
}
