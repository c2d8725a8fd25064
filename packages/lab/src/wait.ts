/** Waiting for states, never for time to pass. */
import { LabError } from './errors.ts';

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Polls until `condition` holds; false when it did not within `timeoutMs`. */
export async function waitUntil(condition: () => Promise<boolean> | boolean, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (let pause = 5; ; pause = Math.min(100, pause * 1.5)) {
    if (await condition()) return true;
    if (performance.now() > deadline) return false;
    await sleep(pause);
  }
}

/** Polls until `read` returns something else than undefined; WEFT_LAB_TIMEOUT names `what` was awaited. */
export async function awaitValue<T>(what: string, timeoutMs: number, read: () => Promise<T | undefined>): Promise<T> {
  let value: T | undefined;
  const found = await waitUntil(async () => (value = await read()) !== undefined, timeoutMs);
  if (!found) throw new LabError('WEFT_LAB_TIMEOUT', `awaited ${what} for ${timeoutMs} ms in vain`);
  return value!;
}
