/** Runs the checks of a lab one after the other. */
import { LabError } from '../errors.ts';
import type { Lab } from '../lab.ts';
import { type Check, prepareChecks } from './index.ts';

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly expected: string;
  readonly seen: string;
  readonly ms: number;
}

export interface CheckReport {
  readonly checks: readonly CheckResult[];
  readonly passed: number;
  readonly failed: number;
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

export async function runChecks(
  lab: Lab,
  names: readonly string[] = [],
  onResult: (result: CheckResult) => void = () => {},
): Promise<CheckReport> {
  const checks: CheckResult[] = [];
  for (const check of selectChecks(lab, names)) {
    const start = performance.now();
    const outcome = await check.run(lab).catch((error: Error & { code?: string }) => ({
      ok: false,
      expected: 'the check runs to its end',
      seen: `${error.code ?? error.name}: ${error.message}`,
    }));
    const { ok, expected, seen } = outcome;
    const result = { name: check.name, ok, expected, seen, ms: Math.round(performance.now() - start) };
    checks.push(result);
    onResult(result);
  }
  const passed = checks.filter((check) => check.ok).length;
  return { checks, passed, failed: checks.length - passed };
}
