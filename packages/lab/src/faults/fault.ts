/**
 * Planted faults. A fault is a list of steps and the steps that take it back, as plain data: it is written to the lab's
 * state before it is planted, so that it can be removed whatever happens meanwhile.
 */
import { createHash } from 'node:crypto';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { awaitConvergence } from '../convergence.ts';
import { inNetns, run } from '../exec.ts';
import { type Lab, saveLab } from '../lab.ts';
import { RestError } from '../rest.ts';

export type FaultStep =
  /** Runs a command in a namespace. */
  | { readonly do: 'exec'; readonly namespace: string; readonly argv: readonly string[]; readonly input?: string }
  /** Creates an object; `orExists`: it may be there already, at this path. */
  | { readonly do: 'post'; readonly path: string; readonly body: unknown; readonly orExists?: string }
  /** Changes some fields of an object; null takes one away. */
  | { readonly do: 'patch'; readonly path: string; readonly fields: Readonly<Record<string, unknown>> }
  | { readonly do: 'delete'; readonly path: string }
  | { readonly do: 'write'; readonly file: string; readonly text: string; readonly mode: number }
  | { readonly do: 'unlink'; readonly file: string };

export interface Fault {
  /** What is broken, for a person. */
  readonly what: string;
  readonly plant: readonly FaultStep[];
  readonly remove: readonly FaultStep[];
}

/** Plants a fault for a check, after removing what was planted for it before. */
export async function plantFault(lab: Lab, check: string, fault: Fault): Promise<void> {
  await removeFault(lab, check);
  lab.state.faults[check] = fault;
  await saveLab(lab);
  for (const step of fault.plant) await perform(lab, step);
  await awaitConvergence(lab.api);
}

/** Returns false when none was planted. */
export async function removeFault(lab: Lab, check: string): Promise<boolean> {
  const fault = lab.state.faults[check] as Fault | undefined;
  if (fault === undefined) return false;
  // A fault may have been planted in part, or be gone: every step is tried.
  const failures: unknown[] = [];
  for (const step of fault.remove) await perform(lab, step).catch((error) => failures.push(error));
  delete lab.state.faults[check];
  await saveLab(lab);
  await awaitConvergence(lab.api);
  if (failures.length === fault.remove.length && failures.length > 0) throw failures[0];
  return true;
}

/** Carries out one step. */
export async function perform(lab: Lab, step: FaultStep): Promise<void> {
  switch (step.do) {
    case 'exec':
      await run(inNetns(step.namespace, step.argv), step.input === undefined ? {} : { input: step.input });
      return;
    case 'post':
      await lab.api.post(step.path, step.body).catch(async (error) => {
        const there = step.orExists !== undefined && (await lab.api.find(step.orExists)) !== undefined;
        if (!there) throw error;
      });
      return;
    case 'patch':
      await patch(lab, step.path, step.fields);
      return;
    case 'delete':
      await lab.api.delete(step.path).catch((error) => {
        if (!(error instanceof RestError) || error.status !== 404) throw error;
      });
      return;
    case 'write':
      await writeFile(step.file, step.text, { mode: step.mode });
      await chmod(step.file, step.mode);
      return;
    case 'unlink':
      await rm(step.file, { force: true });
  }
}

/** Reads an object, changes fields and writes it back. */
export async function patch(lab: Lab, path: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
  await lab.api.put(path, { ...(await lab.api.get<Record<string, unknown>>(path)), ...fields });
}

/** A table of nftables rules in one namespace; `body` is what stands between its braces. Its name follows from what it does. */
export function nftFault(
  what: string,
  namespace: string,
  body: string,
  family: 'inet' | 'netdev' | 'arp' = 'inet',
): Fault {
  const table = `weft_fault_${createHash('sha256').update(what).digest('hex').slice(0, 12)}`;
  const nft = (input: string): FaultStep => ({ do: 'exec', namespace, argv: ['nft', '-f', '-'], input });
  return {
    what,
    plant: [nft(`table ${family} ${table} {\n${body}\n}\n`)],
    remove: [nft(`delete table ${family} ${table}\n`)],
  };
}
