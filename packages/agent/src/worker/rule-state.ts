/**
 * What rules have matched, kept for the agent's next life: the rules' totals, and how far the counters of adopted flows have
 * been given to them. Flows outlive the agent and the kernel counts on; the difference goes to their rules at the next start.
 * The file is in the run directory, in memory: it is gone when the flows are.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { ACTION_SIZE, actionId } from '@weft/flow';
import type { VirtualTopologyView } from '@weft/simulator';
import type { RuleCounts } from '../flows/rule-counts.ts';
import type { Installer } from './installer.ts';

/** Where the bytes are kept. */
export interface RuleStore {
  /** Null: nothing has been written yet. */
  load(): Uint8Array | null;
  save(bytes: Uint8Array): void;
}

/** A file that is replaced as a whole, mode 0600. */
export function fileRuleStore(path: string): RuleStore {
  return {
    load() {
      try {
        return readFileSync(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
    save(bytes) {
      writeFileSync(`${path}.new`, bytes, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    },
  };
}

const MAGIC = 0x31524657;
const HEADER = 16;
/** Slot, id of the flow, packets, bytes. */
const FLOW_NUMBERS = 4;
/** Bytes of one number. */
const NUMBER = 8;

type RuleRow = readonly [id: string, packets: number, bytes: number, lastHit: number];

/** Magic, flows, bytes of the rules' JSON, 0; the flows, FLOW_NUMBERS doubles each; the rules. @param toWall see `reportRules` */
export function encodeRuleState(
  counts: RuleCounts,
  { table }: Installer,
  view: VirtualTopologyView,
  toWall: (steady: number) => number,
): Uint8Array {
  counts.sets.foldAll();
  const rows: RuleRow[] = [];
  counts.totals.forEach((rule, { packets, bytes, lastAt }) => {
    rows.push([view.id(rule), packets, bytes, Math.round(toWall(lastAt))]);
  });
  const json = Buffer.from(JSON.stringify(rows));
  let flows = 0;
  counts.forEachFlow(() => flows++);
  const out = new Uint8Array(HEADER + flows * FLOW_NUMBERS * NUMBER + json.length);
  new Uint32Array(out.buffer, 0, HEADER / 4).set([MAGIC, flows, json.length, 0]);
  const numbers = new Float64Array(out.buffer, HEADER, flows * FLOW_NUMBERS);
  let at = 0;
  counts.forEachFlow((slot, packets, bytes) => {
    numbers[at++] = slot;
    numbers[at++] = actionId(table.actions, slot * ACTION_SIZE);
    numbers[at++] = packets;
    numbers[at++] = bytes;
  });
  out.set(json, HEADER + numbers.byteLength);
  return out;
}

/**
 * Takes in what an earlier process wrote; flows must have been adopted. A flow that is another one by now, or has been written
 * since, starts from where its counter stands.
 * @throws RangeError if the bytes are not of this form
 */
export function restoreRuleState(
  bytes: Uint8Array,
  counts: RuleCounts,
  { table }: Installer,
  view: VirtualTopologyView,
  toSteady: (wall: number) => number,
): void {
  // `slice` of a Buffer, as files are read into, would not copy, and stand anywhere in memory that others share.
  const copy = new Uint8Array(bytes);
  if (copy.length < HEADER) throw new RangeError('too short');
  const [magic, flowCount, jsonBytes] = new Uint32Array(copy.buffer, 0, HEADER / 4);
  const end = HEADER + flowCount * FLOW_NUMBERS * NUMBER;
  if (magic !== MAGIC || end + jsonBytes !== copy.length) throw new RangeError('of another form');
  for (const row of JSON.parse(Buffer.from(copy.subarray(end)).toString('utf8')) as RuleRow[]) {
    const [id, packets, size, lastHit] = row;
    counts.totals.restore(view.handle(id), packets, size, toSteady(lastHit));
  }
  const numbers = new Float64Array(copy.buffer, HEADER, flowCount * FLOW_NUMBERS);
  for (let i = 0; i < numbers.length; i += FLOW_NUMBERS) {
    const slot = numbers[i];
    if (!Number.isInteger(slot) || slot < 0 || slot >= table.capacity || !table.isUsed(slot)) continue;
    if (actionId(table.actions, slot * ACTION_SIZE) !== numbers[i + 1]) continue;
    counts.restore(slot, numbers[i + 2], numbers[i + 3]);
  }
}
