/** Where a lab keeps its files: all below one directory, so that `down` can remove them. */
import { join } from 'node:path';

/** Directory of all labs of this machine's root, or of this user, 0700. */
export const LABS_DIRECTORY = process.getuid?.() === 0 ? '/run/weft-lab' : userDirectory();

/** Where an ordinary user's labs are, seen from outside of their namespaces (inside they are root's). */
function userDirectory(): string {
  const runtime = process.env.XDG_RUNTIME_DIR;
  return runtime?.startsWith('/') ? join(runtime, 'weft-lab') : `/tmp/weft-lab-${process.getuid?.() ?? 0}`;
}

export interface HostPaths {
  readonly directory: string;
  readonly config: string;
  /** Credentials for an ensemble; so is that of the lab, the API's. */
  readonly storeConfig: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly controlSocket: string;
  readonly log: string;
  /** Directory of the host's pinned BPF objects. */
  readonly bpffs: string;
  /** Program run before the agent, if it exists; how faults reach what an agent finds at its start. */
  readonly beforeStart: string;
}

export interface LabPaths {
  readonly directory: string;
  /** What `up` made, for `down` and everyone else. */
  readonly state: string;
  readonly lock: string;
  readonly store: string;
  readonly storeSocket: string;
  /** What servers of the store keep, and the archive. */
  readonly ensemble: string;
  readonly archive: string;
  /** Of both, by one authority. */
  readonly certificates: string;
  /** Login of the archive. */
  readonly archiveCredentials: string;
  readonly storeConfig: string;
  readonly apiSocket: string;
  readonly apiLog: string;
  /** Mount point of the lab's own bpffs. */
  readonly bpffs: string;
  readonly captures: string;
  host(name: string): HostPaths;
  /** Directory of a server of the ensemble. */
  server(name: string): string;
}

export function labPaths(lab: string, root: string = LABS_DIRECTORY): LabPaths {
  const directory = join(root, lab);
  return {
    directory,
    state: join(directory, 'state.json'),
    lock: join(root, `${lab}.lock`),
    store: join(directory, 'store'),
    storeSocket: join(directory, 'store.sock'),
    ensemble: join(directory, 'zookeeper'),
    archive: join(directory, 'cassandra'),
    certificates: join(directory, 'certificates'),
    archiveCredentials: join(directory, 'archive-login.json'),
    storeConfig: join(directory, 'store.json'),
    apiSocket: join(directory, 'api.sock'),
    apiLog: join(directory, 'api.log'),
    bpffs: join(directory, 'bpf'),
    captures: join(directory, 'captures'),
    host(name) {
      const host = join(directory, 'hosts', name);
      return {
        directory: host,
        config: join(host, 'agent.json'),
        storeConfig: join(host, 'store.json'),
        stateDir: join(host, 'state'),
        runDir: join(host, 'run'),
        controlSocket: join(host, 'run', 'control.sock'),
        log: join(host, 'agent.log'),
        bpffs: join(directory, 'bpf', name),
        beforeStart: join(host, 'before-start'),
      };
    },
    server: (name) => join(directory, 'zookeeper', name),
  };
}
