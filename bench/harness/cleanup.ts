/** What has to be removed at the end: also after a failure, and when the run is interrupted. */
type Action = () => Promise<void>;

const actions: { readonly what: string; readonly action: Action }[] = [];
let cleaning = false;
let interruptedBy: number | undefined;
const stoppers = new Set<() => void>();

/** Registers an action; the last one registered runs first. The returned function runs it at once and forgets it. */
export function onCleanup(what: string, action: Action): () => Promise<void> {
  const entry = { what, action };
  actions.push(entry);
  return async () => {
    const index = actions.indexOf(entry);
    if (index < 0) return;
    actions.splice(index, 1);
    await action();
  };
}

/** Runs everything registered. A failed action is told and does not keep the others from running. */
export async function cleanUp(): Promise<void> {
  cleaning = true;
  stoppers.clear();
  for (let entry = actions.pop(); entry !== undefined; entry = actions.pop()) {
    const { what, action } = entry;
    await action().catch((error: Error) => console.error(`bench: could not remove ${what}: ${error.message}`));
  }
  cleaning = false;
}

/** Number of the signal that asked the run to end, or undefined. */
export function interrupted(): number | undefined {
  return interruptedBy;
}

/** Has `stop` called when the run is interrupted, until the returned function is called. What cleans up is not interrupted. */
export function onInterrupt(stop: () => void): () => void {
  if (cleaning) return () => {};
  stoppers.add(stop);
  if (interruptedBy !== undefined) stop();
  return () => stoppers.delete(stop);
}

/**
 * On SIGINT, SIGTERM and SIGHUP ends what is being measured. What was under way then fails, and the run comes to its end in
 * order: a lab that is half up cannot be removed before whoever makes it has let go of it.
 */
export function endOnSignals(): void {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
  for (const [signal, number] of Object.entries(numbers)) {
    process.on(signal, () => {
      if (interruptedBy === undefined) console.error(`bench: ${signal}: cleaning up`);
      interruptedBy ??= number;
      for (const stop of stoppers) stop();
    });
  }
}
