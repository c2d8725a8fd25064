/** Waits until a change is live on every host: until no packet can follow a decision older than it. */
import { LabError } from './errors.ts';
import type { RestClient } from './rest.ts';

/** One host's line of `GET /convergence/{revision}`. */
interface HostLine {
  readonly hostId: string;
  readonly applied: number | null;
  readonly reachable: boolean;
}

interface ConvergenceAnswer {
  readonly converged?: boolean;
  readonly hosts: readonly HostLine[];
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
    const late = answer.hosts.filter((host) => host.applied === null || host.applied < revision);
    if (late.length === 0) return;
    if (performance.now() > deadline) {
      const list = late.map(
        (host) => `${host.hostId} (at ${host.applied ?? 'nothing'}${host.reachable ? '' : ', away'})`,
      );
      throw new LabError(
        'WEFT_LAB_TIMEOUT',
        `revision ${revision} is not live after ${timeoutMs} ms on ${list.join(', ')}`,
      );
    }
  }
}
