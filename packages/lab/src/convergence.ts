/** Waits until a change is live on every host: until no packet can follow a decision older than it. */
import { LabError } from './errors.ts';
import type { RestClient } from './rest.ts';

/** The members of `GET /convergence/{revision}` that are read. */
interface ConvergenceAnswer {
  readonly converged: boolean;
  readonly hosts: number;
  readonly behind: readonly {
    readonly hostId: string;
    readonly applied: number | null;
    readonly reachable: boolean;
  }[];
}

/** Resolves once every registered host has applied `revision` (default: the client's last write). */
export async function awaitConvergence(
  api: RestClient,
  revision: number = api.revision,
  timeoutMs = 30_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await api.get<ConvergenceAnswer>(`/convergence/${revision}?wait=1000`);
    if (answer.converged) return;
    if (performance.now() > deadline) {
      const list = answer.behind.map(
        (host) => `${host.hostId} (at ${host.applied ?? 'nothing'}${host.reachable ? '' : ', away'})`,
      );
      const late = `${answer.behind.length} of ${answer.hosts} hosts: ${list.join(', ')}`;
      throw new LabError('WEFT_LAB_TIMEOUT', `revision ${revision} is not live after ${timeoutMs} ms on ${late}`);
    }
  }
}
