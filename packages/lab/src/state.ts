/** What `up` has made, on disk: enough for every later command, and for `down` after a crash. */
import { readFile, rename, writeFile } from 'node:fs/promises';
import type { ProcessIdentity } from '@weft/sys';
import { LabError } from './errors.ts';
import { labPaths } from './paths.ts';
import { type LabOptions, type LabPlan, planLab } from './plan.ts';
import { parseScenario } from './scenario/parse.ts';

export interface LabState {
  readonly format: 1;
  /** The scenario as it was when the lab came up; the file may have changed since. */
  readonly scenarioFile: string;
  readonly scenarioText: string;
  readonly options: LabOptions;
  /** False until `up` has come to its end. */
  complete: boolean;
  processes: {
    api?: ProcessIdentity;
    agents: Record<string, ProcessIdentity>;
    /** Of ZooKeeper; not in states of earlier versions. */
    servers?: Record<string, ProcessIdentity>;
    /** Cassandra. */
    archive?: ProcessIdentity;
  };
  /** Planted faults by the name of their check. */
  faults: Record<string, unknown>;
}

export function newState(scenarioFile: string, scenarioText: string, options: LabOptions): LabState {
  return { format: 1, scenarioFile, scenarioText, options, complete: false, processes: { agents: {} }, faults: {} };
}

/** The state of a lab, or undefined when there is none or it cannot be understood (then only names help). */
export async function readState(name: string): Promise<LabState | undefined> {
  try {
    const state = JSON.parse(await readFile(labPaths(name).state, 'utf8')) as LabState;
    return state.format === 1 ? state : undefined;
  } catch {
    return undefined;
  }
}

/** Like `readState`, but the lab has to be up. */
export async function requireState(name: string): Promise<LabState> {
  const state = await readState(name);
  if (state?.complete) return state;
  throw new LabError('WEFT_LAB_DOWN', `lab "${name}" is not up; start it with \`weft lab up --name ${name}\``);
}

/** Replaces the file as a whole: a crash leaves the old or the new state. */
export async function writeState(name: string, state: LabState): Promise<void> {
  const { state: path } = labPaths(name);
  await writeFile(`${path}.new`, JSON.stringify(state, null, 2), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export function planOf(state: LabState): LabPlan {
  return planLab(parseScenario(state.scenarioText, state.scenarioFile), state.options);
}
