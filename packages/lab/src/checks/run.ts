/** Runs the checks of a lab one after the other. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError } from '../errors.ts';
import type { Lab } from '../lab.ts';
import { killApi, restartApi } from '../restart.ts';
import { type Check, prepareChecks } from './index.ts';
import type { Outcome } from './kind.ts';

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly seen: string;
  readonly ms: number;
  /** The check could not be made here, and why: counted neither as passed nor as failed. */
  readonly skipped?: string;
}

export interface CheckReport {
  readonly checks: readonly CheckResult[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Checks by their names, in the order of the scenario; none named: all. */
export function selectChecks(lab: Lab, names: readonly string[]): Check[] {
  const all = prepareChecks(lab.plan.scenario);
  if (names.length === 0) return all;
  for (const name of names) {
    if (!all.some((check) => check.name === name)) {
      const known = all.map((check) => check.name).join(', ');
      throw new LabError('WEFT_LAB_UNKNOWN_CHECK', `there is no check "${name}"; the checks are ${known}`);
    }
  }
  return all.filter((check) => names.includes(check.name));
}

async function clearCaptures(lab: Lab): Promise<void> {
  const { captures } = lab.plan.paths;
  for (const name of await readdir(captures)) await rm(join(captures, name), { force: true });
}

/**
 * The same while no API runs: what the agents do, they do by themselves. Checks that need it are skipped. On an ensemble only: an
 * embedded store is in the same process.
 */
export async function runChecksWithoutApi(
  lab: Lab,
  names?: readonly string[],
  onResult?: (result: CheckResult) => void,
): Promise<CheckReport> {
  if (lab.plan.store === 'embedded')
    throw new LabError(
      'WEFT_LAB_OPTION',
      '--without-api is for labs with --store zookeeper: this one has its store in the API',
    );
  await killApi(lab);
  try {
    return await runChecks(lab, names, onResult, (check) => (check.needsApi ? 'it needs the API' : undefined));
  } finally {
    await restartApi(lab);
  }
}

/** @param skip why a check is not to be run, if so */
export async function runChecks(
  lab: Lab,
  names: readonly string[] = [],
  onResult: (result: CheckResult) => void = () => {},
  skip: (check: Check) => string | undefined = () => undefined,
): Promise<CheckReport> {
  const checks: CheckResult[] = [];
  for (const check of selectChecks(lab, names)) {
    const start = performance.now();
    const skipped = skip(check);
    const outcome: Outcome = await (skipped === undefined
      ? check.run(lab)
      : Promise.resolve({ ok: false, expected: '', seen: '', skipped })
    ).catch((error: Error & { code?: string }) => ({
      ok: false,
      expected: 'the check runs to its end',
      seen: `${error.code ?? error.name}: ${error.message}`,
    }));
    const ms = Math.round(performance.now() - start);
    const result: CheckResult = { name: check.name, ...outcome, ms };
    checks.push(result);
    // The captures of a failed check stay for whoever wants to know why.
    if (outcome.ok) await clearCaptures(lab);
    onResult(result);
  }
  const passed = checks.filter((check) => check.ok).length;
  const skipped = checks.filter((check) => check.skipped !== undefined).length;
  return { checks, passed, failed: checks.length - passed - skipped, skipped };
}
