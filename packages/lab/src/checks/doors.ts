/** Nobody but root gets in: no file or socket of the lab is open to others, and a stranger who tries is turned away. */
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { tryRun } from '../exec.ts';
import { isUserNamespace } from '../rootless.ts';
import { defineKind } from './kind.ts';

const NOBODY = '65534';

export const doors = defineKind({
  kind: 'doors',
  summary: 'sockets are 0600, directories 0700, and another user of the machine cannot connect',
  fields: [],
  read: () => ({}),

  async run(context) {
    if (isUserNamespace()) {
      const skipped = 'in a user namespace there is no other user who could try the doors';
      return { ok: false, expected: 'closed doors', seen: 'nothing', skipped };
    }
    const { paths, hosts } = context.plan;
    const open: string[] = [];
    for (const path of await everythingBelow(paths.directory)) {
      const { mode } = await lstat(path);
      if ((mode & 0o077) !== 0 && (mode & 0o170000) !== 0o120000) open.push(`${path} ${(mode & 0o777).toString(8)}`);
    }
    const store = context.plan.store === 'embedded' ? [paths.storeSocket] : [];
    const sockets = [...store, paths.apiSocket, ...hosts.map((host) => paths.host(host.name).controlSocket)];
    const entered: string[] = [];
    for (const socket of sockets) {
      const argv = [
        'setpriv',
        `--reuid=${NOBODY}`,
        `--regid=${NOBODY}`,
        '--clear-groups',
        'ncat',
        '-U',
        '-w',
        '1',
        socket,
      ];
      if ((await tryRun(argv, { timeoutMs: 5000 })).code === 0) entered.push(socket);
    }
    return {
      ok: open.length === 0 && entered.length === 0,
      expected: 'nothing that others may read or write, no socket that another user can open',
      seen:
        [...open.slice(0, 3).map((what) => `open: ${what}`), ...entered.map((what) => `entered: ${what}`)].join('; ') ||
        'neither',
    };
  },

  sabotage(context) {
    const { apiSocket } = context.plan.paths;
    const chmod = (mode: string) => ({
      do: 'exec' as const,
      namespace: context.plan.fabric,
      argv: ['chmod', mode, apiSocket],
    });
    return { what: `${apiSocket} is open to everybody`, plant: [chmod('666')], remove: [chmod('600')] };
  },
});

/** Files and directories, without what bpffs shows (its root is 0700; pins cannot be reached past it). */
async function everythingBelow(directory: string): Promise<string[]> {
  const found = [directory];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.name === 'bpf') found.push(path);
    else if (entry.isDirectory()) found.push(...(await everythingBelow(path)));
    else found.push(path);
  }
  return found;
}
