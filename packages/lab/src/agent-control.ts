/** Questions to an agent over its control socket. */
import { LabError } from './errors.ts';
import type { HostPlan, LabPlan } from './plan.ts';
import { exchange } from './rest.ts';

export async function agentRequest<T>(
  plan: LabPlan,
  host: HostPlan,
  method: 'GET' | 'POST',
  path: string,
  timeoutMs = 10_000,
): Promise<T> {
  const { controlSocket } = plan.paths.host(host.name);
  const answer = await exchange({ socketPath: controlSocket }, method, path, undefined, timeoutMs);
  if (answer.status >= 400) {
    throw new LabError(
      'WEFT_LAB_API',
      `agent ${host.name}: ${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`,
    );
  }
  return answer.body as T;
}

/** All numbers of an agent's status, flattened: `{ "upcalls": { "miss": 3 } }` gives `upcalls.miss` = 3. */
export async function agentCounters(plan: LabPlan, host: HostPlan): Promise<Map<string, number>> {
  const flat = new Map<string, number>();
  flatten('', await agentRequest<unknown>(plan, host, 'GET', '/status'), flat);
  return flat;
}

function flatten(prefix: string, value: unknown, into: Map<string, number>): void {
  if (typeof value === 'number') into.set(prefix, value);
  else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) flatten(prefix === '' ? key : `${prefix}.${key}`, inner, into);
  }
}
