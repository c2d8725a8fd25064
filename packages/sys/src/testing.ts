/** What this package's own tests share. Not exported. */
import type { TestContext } from 'node:test';
import { createNetns, deleteNetns } from './netns.ts';

/** Reason to skip a test that needs root, or false. */
export function needsRoot(): string | false {
  return process.geteuid?.() === 0 ? false : 'needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN)';
}

const alive = new Set<string>();

function removeAll(): void {
  for (const name of alive) deleteNetns(name);
  alive.clear();
}

process.once('exit', removeAll);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    removeAll();
    process.exit(128 + (signal === 'SIGINT' ? 2 : 15));
  });
}

/** Creates namespaces `wsys-<pid>-<suffix>` and deletes them when the test ends, however it ends. */
export function useNetns(t: TestContext, ...suffixes: string[]): string[] {
  const names = suffixes.map((s) => `wsys-${process.pid}-${s}`);
  t.after(() => {
    for (const name of names) {
      deleteNetns(name);
      alive.delete(name);
    }
  });
  for (const name of names) {
    createNetns(name);
    alive.add(name);
  }
  return names;
}
