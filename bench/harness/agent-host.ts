/** A host for one agent: a namespace with interfaces for ports, and each start of the agent as if it were the first on this machine. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { exchange } from '@weft/lab';
import { runIn } from '@weft/sys';
import { onCleanup } from './cleanup.ts';
import { BenchError } from './errors.ts';
import { background, inNamespace, ipBatch, run, sleep } from './exec.ts';
import { NAMESPACE_PREFIX } from './kernel-underlay.ts';

const MAIN = resolve(import.meta.dirname, '../../packages/cli/src/main.ts');
const PATIENCE_MS = 60_000;

/** What is read of an agent's `GET /status`. */
interface Status {
  readonly applied: number;
  readonly ports: readonly { readonly live: boolean }[];
}

export interface Boot {
  /** ms from the start of the process until it has applied the revision, and all its ports are live. */
  readonly ms: number;
  /** CPU time that it took until then, all threads, ms. */
  readonly cpuMs: number;
  /** VmRSS some seconds later, MiB. */
  readonly rssMib: number;
}

export interface AgentHost {
  /** @param store address of the store @param hostId what its ports are bound to @param revision the last of the topology */
  boot(store: string, hostId: string, revision: number, ports: number): Promise<Boot>;
  down(): Promise<void>;
}

/**
 * @param interfaces `vm0` …, each with a far end in the same namespace
 * @param server port of this machine's loopback that the host has on its own, by way of this process
 */
export async function createAgentHost(interfaces: number, server: number): Promise<AgentHost> {
  const namespace = `${NAMESPACE_PREFIX}${process.pid}-${randomBytes(2).toString('hex')}-agent`;
  await run(['ip', 'netns', 'add', namespace]);
  const bridge = createServer((near) => {
    const far = connect({ host: '127.0.0.1', port: server, noDelay: true });
    near.setNoDelay(true);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  const down = onCleanup(namespace, async () => {
    bridge.close();
    await run(['ip', 'netns', 'delete', namespace]);
  });
  const pairs = Array.from({ length: interfaces }, (_, i) => [
    `link add vm${i} type veth peer name far${i}`,
    `link set vm${i} up`,
    `link set far${i} up`,
  ]);
  await ipBatch(namespace, ['link set lo up', ...pairs.flat()]);
  // Without a host the socket is bound at once: in that namespace.
  runIn(namespace, () => bridge.listen(server));
  await once(bridge, 'listening');
  return { boot: (...what) => boot(namespace, ...what), down };
}

async function boot(namespace: string, store: string, hostId: string, revision: number, ports: number): Promise<Boot> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-agent-'));
  const bpffs = join(directory, 'bpf');
  await mkdir(bpffs, { mode: 0o700 });
  await run(['mount', '-t', 'bpf', 'weft-bench', bpffs]);
  const forget = onCleanup(directory, async () => {
    await run(['umount', bpffs]);
    await rm(directory, { recursive: true, force: true });
  });
  const controlSocket = join(directory, 'control.sock');
  const config = join(directory, 'agent.json');
  const paths = { stateDir: join(directory, 'state'), runDir: join(directory, 'run'), bpffs, controlSocket };
  // What it logs would be the bench's to read; only trouble is.
  const settings = { hostId, name: 'h0', store, encap: 'vxlan', instance: 'bench', log: { level: 'warn' }, ...paths };
  await writeFile(config, JSON.stringify(settings), { mode: 0o600 });
  const start = performance.now();
  const agent = background(inNamespace(namespace, [process.execPath, MAIN, 'agent', '--config', config]));
  try {
    for (;;) {
      const answer = await exchange({ socketPath: controlSocket }, 'GET', '/status', undefined, 2_000).catch(
        () => undefined,
      );
      const status = answer?.body as Status | undefined;
      const live = status?.ports?.filter((port) => port.live).length ?? 0;
      if (status !== undefined && status.applied >= revision && live === ports) break;
      if (performance.now() - start > PATIENCE_MS) {
        const seen = `${live} of ${ports} ports are live, applied ${status?.applied} of ${revision}`;
        throw new BenchError(
          'WEFT_BENCH_COMMAND',
          `the agent does not get ready: ${seen}; ${agent.output().slice(-500)}`,
        );
      }
      await sleep(5);
    }
    const ms = performance.now() - start;
    const cpuMs = await cpuTime(agent.pid);
    await sleep(3_000); // what was only for setting up is given back, or it counts
    const text = await readFile(`/proc/${agent.pid}/status`, 'utf8');
    return { ms, cpuMs, rssMib: Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? Number.NaN) / 1024 };
  } finally {
    await agent.stop();
    await forget();
  }
}

/** CPU time of a process in ms; the kernel counts it in hundredths of a second. */
async function cpuTime(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [utime, stime] = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return 10 * (Number(utime) + Number(stime));
}
