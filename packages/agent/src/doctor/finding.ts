/** What the doctor finds, and how a check says it. */

export type FindingStatus = 'ok' | 'warn' | 'fail' | 'skip';

/** One finding. `fail`: packets are lost or will be; `warn`: it works, but not as well or as safely as it should; `skip`: not looked at. */
export interface Finding {
  /** Id of the check, stable: `tunnel-mtu`. */
  readonly check: string;
  readonly status: FindingStatus;
  /** What it is about (an interface, a peer, a file); '' for the host. */
  readonly subject: string;
  readonly seen: string;
  /** What goes wrong when it is not as it should be. */
  readonly why: string;
  /** A command or a sentence; '' when nothing is to be done. */
  readonly fix: string;
}

/** What a check returns of one subject; id and reason are the check's. */
export interface Result {
  readonly status: FindingStatus;
  readonly subject: string;
  readonly seen: string;
  readonly fix: string;
}

export interface Check<S> {
  readonly id: string;
  /** Question that it answers, for the list of checks. */
  readonly asks: string;
  readonly why: string;
  run(surroundings: S): Result[] | Promise<Result[]>;
}

export interface Report {
  readonly host: string;
  readonly time: string;
  readonly findings: readonly Finding[];
  readonly ok: number;
  readonly warn: number;
  readonly fail: number;
  readonly skip: number;
}

export const ok = (seen: string, subject = ''): Result => ({ status: 'ok', subject, seen, fix: '' });
export const skip = (seen: string, subject = ''): Result => ({ status: 'skip', subject, seen, fix: '' });
export const warn = (subject: string, seen: string, fix: string): Result => ({ status: 'warn', subject, seen, fix });
export const fail = (subject: string, seen: string, fix: string): Result => ({ status: 'fail', subject, seen, fix });

/** The bad results, or one good one when there are none. */
export function orOk(results: readonly Result[], seen: string): Result[] {
  return results.length > 0 ? [...results] : [ok(seen)];
}

/** Runs the checks one after the other. One that breaks is a finding of its own: the doctor goes on. */
export async function runChecks<S>(checks: readonly Check<S>[], surroundings: S): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { id, why, run } of checks) {
    let results: Result[];
    try {
      results = await run(surroundings);
    } catch (error) {
      const { code, message } = error as { code?: string; message?: string };
      const seen = `could not be looked at: ${[code, message].filter(Boolean).join(' ')}`;
      results = [code === 'WEFT_SYS_CALL' ? skip(seen) : warn('', seen, 'run `weft doctor` as root; else report this')];
    }
    for (const result of results) findings.push({ check: id, ...result, why });
  }
  return findings;
}

export function reportOf(host: string, findings: readonly Finding[]): Report {
  const count = (status: FindingStatus) => findings.filter((f) => f.status === status).length;
  return {
    host,
    time: new Date().toISOString(),
    findings,
    ok: count('ok'),
    warn: count('warn'),
    fail: count('fail'),
    skip: count('skip'),
  };
}
