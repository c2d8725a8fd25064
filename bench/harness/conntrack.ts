/** The kernel's connection tracking: its size, which is the machine's, and its entries, which are a namespace's. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { NetlinkSocket, NetlinkWriter, NLM_F_ACK, runIn, sysctlGet, sysctlSet } from '@weft/sys';
import { onCleanup } from './cleanup.ts';

const NETLINK_NETFILTER = 12;
/** NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE */
const CT_DELETE = (1 << 8) | 2;

/** Where the machine's own sizes are kept while others are set, and the process that set them. */
const KEPT = '/run/weft-bench-conntrack.json';
const SIZES = ['net/netfilter/nf_conntrack_max', 'net/netfilter/nf_conntrack_buckets'] as const;

interface Kept {
  readonly pid: number;
  readonly values: Readonly<Record<string, string>>;
}

/** Sets back what a benchmark has set that no longer runs. */
export function sweepConntrackSizes(isRunning: (pid: number) => boolean): void {
  if (!existsSync(KEPT)) return;
  const { pid } = JSON.parse(readFileSync(KEPT, 'utf8')) as Kept;
  if (!isRunning(pid)) restore();
}

/** Makes room for so many connections in one namespace, with a bucket for every two: only the initial namespace can. Until the end. */
export function raiseConntrackSizes(connections: number): void {
  const values = Object.fromEntries(SIZES.map((key) => [key, sysctlGet(key)]));
  writeFileSync(KEPT, JSON.stringify({ pid: process.pid, values } satisfies Kept));
  onCleanup('the sizes of connection tracking', async () => restore());
  sysctlSet(SIZES[0], `${connections}`);
  sysctlSet(SIZES[1], `${connections / 2}`);
}

function restore(): void {
  const { values } = JSON.parse(readFileSync(KEPT, 'utf8')) as Kept;
  for (const [key, value] of Object.entries(values)) sysctlSet(key, value);
  rmSync(KEPT);
}

/** Entries of a namespace, those included that have expired and were not collected yet. */
export function conntrackCount(namespace: string): number {
  return Number(sysctlGet('net/netfilter/nf_conntrack_count', namespace));
}

/** Removes all entries of a namespace. */
export function conntrackFlush(namespace: string): void {
  const socket = runIn(namespace, () => new NetlinkSocket({ protocol: NETLINK_NETFILTER }));
  try {
    // struct nfgenmsg: any family. Without a tuple all are meant.
    socket.request(new NetlinkWriter(CT_DELETE, NLM_F_ACK).raw(new Uint8Array(4)), 'flush of connection tracking');
  } finally {
    socket.close();
  }
}
