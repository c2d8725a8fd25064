/** What has to be removed at the end: also after a failure, and when the run is interrupted. */
type Action = () => Promise<void>;

const actions: { readonly what: string; readonly action: Action }[] = [];
let running: Promise<void> | undefined;

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
export function cleanUp(): Promise<void> {
  running ??= (async () => {
    for (let entry = actions.pop(); entry !== undefined; entry = actions.pop()) {
      await entry
        .action()
        .catch((error: Error) => console.error(`bench: could not remove ${entry!.what}: ${error.message}`));
    }
    running = undefined;
  })();
  return running;
}

/** Cleans up on SIGINT, SIGTERM and SIGHUP, then ends as those signals would. */
export function cleanUpOnSignals(): void {
  const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
  for (const [signal, number] of Object.entries(numbers)) {
    process.once(signal, () => {
      console.error(`bench: ${signal}: cleaning up`);
      void cleanUp().finally(() => process.exit(128 + number));
    });
  }
}
