/**
 * A lab for users who are not root: all of it lives in a user namespace of the user's own, where the user is root over network
 * and mount namespaces that were made there, and over nothing else. One process that sleeps holds these namespaces; every
 * command joins it and goes on as root does. Inside, `/run` is private, so that named namespaces and labs are where they always are;
 * the labs' files lie in a directory of the user's, which sockets make reachable from outside too.
 */
import { spawn } from 'node:child_process';
import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, killTree, type ProcessIdentity, processIdentity } from '@weft/sys';
import { LabError } from './errors.ts';
import { withLock } from './lock.ts';
import { LABS_DIRECTORY } from './paths.ts';

/** What the holder does before it sleeps. $1: the user's directory of labs. */
const SETUP = `set -e
exec 3<"$1"
mount -t tmpfs -o mode=0755 weft-lab /run
mkdir -p /run/netns /run/weft-lab
mount --no-canonicalize --bind /proc/self/fd/3 /run/weft-lab
exec 3<&-
ip link set lo up
echo ready
exec sleep infinity`;

const HOLDER_MS = 10_000;

/** Settings that keep users from namespaces, the value that does, and what to do. */
const SYSCTLS: readonly (readonly [path: string, forbids: string, fix: string])[] = [
  ['/proc/sys/user/max_user_namespaces', '0', 'sysctl -w user.max_user_namespaces=10000'],
  ['/proc/sys/kernel/unprivileged_userns_clone', '0', 'sysctl -w kernel.unprivileged_userns_clone=1'],
  [
    '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    '1',
    'sysctl -w kernel.apparmor_restrict_unprivileged_userns=0',
  ],
];

/** True inside such a namespace (or that of a container): root here is not root of the machine. */
export function isUserNamespace(): boolean {
  try {
    return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  } catch {
    return false;
  }
}

/** Whether this command has to go on in the user's own namespaces. */
export const needsUserNamespace = (): boolean => process.getuid?.() !== 0;

const holderFile = () => join(LABS_DIRECTORY, 'holder.json');

/** The user's directory of labs. Below /tmp anybody may have made it first: it must be a directory, ours and closed. */
function ownDirectory(): string {
  mkdirSync(LABS_DIRECTORY, { recursive: true, mode: 0o700 });
  const { mode, uid } = lstatSync(LABS_DIRECTORY);
  if ((mode & 0o170077) === 0o040000 && uid === process.getuid!()) return LABS_DIRECTORY;
  throw new LabError(
    'WEFT_LAB_USER_NAMESPACE',
    `${LABS_DIRECTORY} must be a directory of yours with mode 0700; remove it, or set XDG_RUNTIME_DIR`,
  );
}

/** Processes in the user's namespaces: the holder; else any daemon of a lab whose record says so. */
function insiders(): ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  const read = (file: string): unknown => {
    try {
      return JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      return undefined;
    }
  };
  const add = (identity: unknown) => {
    const { pid, startTime } = (identity ?? {}) as Partial<ProcessIdentity>;
    if (Number.isInteger(pid) && Number.isInteger(startTime) && isAlive(identity as ProcessIdentity)) {
      found.push(identity as ProcessIdentity);
    }
  };
  add(read(holderFile()));
  for (const lab of labsOnDisk()) {
    const state = read(join(LABS_DIRECTORY, lab, 'state.json')) as
      | { processes?: { api?: unknown; agents?: Record<string, unknown> } }
      | undefined;
    add(state?.processes?.api);
    for (const agent of Object.values(state?.processes?.agents ?? {})) add(agent);
  }
  return found;
}

function labsOnDisk(): string[] {
  try {
    return readdirSync(LABS_DIRECTORY, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** Starts the process that holds the namespaces. Throws WEFT_LAB_USER_NAMESPACE where the kernel allows none. */
async function startHolder(): Promise<ProcessIdentity> {
  const errors = join(LABS_DIRECTORY, 'holder.log');
  const fd = openSync(errors, 'w', 0o600);
  const argv = ['--user', '--map-root-user', '--net', '--mount', '--', 'sh', '-c', SETUP, 'sh', LABS_DIRECTORY];
  const child = spawn('unshare', argv, { detached: true, stdio: ['ignore', 'pipe', fd], cwd: '/' });
  closeSync(fd);
  try {
    const ready = await new Promise<boolean>((resolve, reject) => {
      const timer = setTimeout(() => resolve(false), HOLDER_MS);
      const done = (value: boolean) => {
        clearTimeout(timer);
        resolve(value);
      };
      child.once('error', reject);
      child.once('exit', () => done(false));
      child.stdout!.on('data', () => done(true));
    });
    const identity = ready ? processIdentity(child.pid!) : undefined;
    if (!identity) throw refused(readFileSync(errors, 'utf8').trim());
    writeFileSync(holderFile(), `${JSON.stringify(identity)}\n`, { mode: 0o600 });
    return identity;
  } catch (error) {
    child.kill('SIGKILL');
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new LabError('WEFT_LAB_TOOL_MISSING', '`unshare` is not installed; run `make deps`', { cause: error });
  } finally {
    child.stdout?.destroy();
    child.unref();
  }
}

function refused(why: string): LabError {
  const culprits = SYSCTLS.filter(([path, forbids]) => {
    try {
      return readFileSync(path, 'utf8').trim() === forbids;
    } catch {
      return false;
    }
  });
  const fix = culprits.length > 0 ? `, or let root run: ${culprits.map(([, , how]) => how).join('; ')}` : '';
  return new LabError(
    'WEFT_LAB_USER_NAMESPACE',
    `this kernel gives users no namespaces of their own (${why}): repeat this as root${fix}`,
  );
}

/**
 * Runs a program in the user's own namespaces, with this terminal, environment and directory.
 * @param create make the namespaces if there are none; else nothing is run and undefined is returned
 * @returns its exit status
 */
export async function runAsOwnRoot(argv: readonly string[], create: boolean): Promise<number | undefined> {
  ownDirectory();
  const inside = await withLock(join(LABS_DIRECTORY, 'holder.lock'), async () => {
    const [known] = insiders();
    return known ?? (create ? await startHolder() : undefined);
  }).catch((error) => {
    if (labsOnDisk().length === 0) rmSync(LABS_DIRECTORY, { recursive: true, force: true });
    throw error;
  });
  if (!inside) {
    // The namespaces went with their last process, and everything in the kernel with them: only files can be left.
    rmSync(LABS_DIRECTORY, { recursive: true, force: true });
    return undefined;
  }
  const nsenter = ['-t', String(inside.pid), '--user', '--net', '--mount', '--preserve-credentials', '--'];
  const child = spawn(
    'nsenter',
    [...nsenter, 'sh', '-c', 'cd "$1" 2>/dev/null; shift; exec "$@"', 'sh', process.cwd(), ...argv],
    {
      stdio: 'inherit',
    },
  );
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
  if (labsOnDisk().length === 0) await dropNamespaces();
  return status;
}

/** The last lab is gone: so are the namespaces. */
async function dropNamespaces(): Promise<void> {
  for (const identity of insiders()) await killTree(identity, 1000);
  rmSync(LABS_DIRECTORY, { recursive: true, force: true });
}
