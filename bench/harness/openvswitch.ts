/**
 * The peer of the `userspace` driver: Open vSwitch's datapath in user space (`datapath_type=netdev`), VXLAN included, on two
 * hosts behind a routing fabric as in `kernel-underlay.ts`. No kernel module, no DPDK; what Debian packages as openvswitch-switch.
 *
 * ```
 *  vm eth0 ── tap0 [br-int ── vxlan port]  [br-phy ── u0] ── fabric
 * ```
 * Its tunnels end at an address of a bridge that holds the underlay interface: br-phy has the host's addresses, and one link
 * leads to the fabric.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listNetns, setOffloads } from '@weft/sys';
import { onCleanup } from './cleanup.ts';
import { background, inNamespace, ipBatch, run, tryRun, waitUntil } from './exec.ts';
import type { End, NetworkPath } from './paths.ts';

/** Swept with those of `kernel-underlay.ts`. */
const PREFIX = 'weft-bench-';
const STATE_PREFIX = 'weft-bench-ovs-';
const UNDERLAY_MTU = 1500;
const VNI = 7000;
const SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

/** How its ports reach the kernel. AF_XDP: in the kernel's generic mode, which every interface has. */
export type PortKind = 'af_packet' | 'af_xdp';

export interface OpenvSwitch {
  readonly version: string;
  /** VM to VM through both switches. */
  readonly path: NetworkPath;
  /** Datapath flows that carry tunnel packets on the client's host. */
  tunnelFlows(): Promise<number>;
}

/** Its version, or undefined where it is not installed. */
export async function openvSwitchVersion(): Promise<string | undefined> {
  for (const program of ['ovsdb-tool', 'ovsdb-server', 'ovs-vsctl', 'ovs-appctl']) {
    const { code } = await tryRun([program, '--version']).catch(() => ({ code: 127 }));
    if (code !== 0) return undefined;
  }
  const found = await tryRun(['ovs-vswitchd', '--version']).catch(() => undefined);
  return /Open vSwitch\) (\S+)/.exec(found?.stdout ?? '')?.[1];
}

/** Removes directories of benchmarks that no longer run. */
function sweepState(): void {
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${STATE_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (owner === undefined) continue;
    try {
      process.kill(Number(owner), 0);
    } catch {
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
}

interface Switch {
  readonly number: number;
  readonly namespace: string;
  readonly directory: string;
  readonly tunnel: string;
  readonly vm: End;
}

/** @param vmMtu IP MTU of the VMs, the same as of the labs that it is compared with */
export async function createOpenvSwitch(vmMtu: number, kind: PortKind): Promise<OpenvSwitch> {
  sweepState();
  const version = (await openvSwitchVersion())!;
  const id = randomBytes(2).toString('hex');
  const prefix = `${PREFIX}${process.pid}-${id}`;
  const state = mkdtempSync(join(tmpdir(), `${STATE_PREFIX}${process.pid}-`));
  const fabric = `${prefix}-fabric`;
  const switches = [1, 2].map((number): Switch => {
    const vm = {
      namespace: `${prefix}-vm${number}`,
      device: 'eth0',
      mac: `02:00:00:00:00:0${number}`,
      address: `10.1.0.${number}`,
    };
    return {
      number,
      namespace: `${prefix}-h${number}`,
      directory: join(state, `${number}`),
      tunnel: `10.254.0.${number}`,
      vm,
    };
  });
  const namespaces = [fabric, ...switches.flatMap(({ namespace, vm }) => [namespace, vm.namespace])];
  onCleanup('the namespaces of Open vSwitch', async () => {
    rmSync(state, { recursive: true, force: true });
    for (const name of listNetns().filter((name) => namespaces.includes(name)))
      await run(['ip', 'netns', 'delete', name]);
  });
  await ipBatch(
    null,
    namespaces.map((name) => `netns add ${name}`),
  );
  await run(inNamespace(fabric, ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']));
  await ipBatch(fabric, ['link set lo up', ...switches.flatMap(fabricSide)]);
  for (const s of switches) {
    await start(s, kind);
    await addBridges(s, switches[2 - s.number], kind);
    await ipBatch(s.namespace, hostSide(s));
    await ipBatch(s.vm.namespace, vmSide(s, vmMtu));
    // Its datapath neither cuts super-packets nor completes checksums, once a tunnel is involved: VMs hand over whole segments.
    setOffloads(s.vm.device, { tx: false, tso: false }, s.vm.namespace);
  }
  const host = (s: Switch) => ({ namespace: s.namespace, uplinks: ['u0'] });
  return {
    version,
    path: {
      name: `Open vSwitch in user space, ${kind === 'af_xdp' ? 'AF_XDP' : 'AF_PACKET'}`,
      client: switches[0].vm,
      server: switches[1].vm,
      clientHost: host(switches[0]),
      serverHost: host(switches[1]),
      fabric: { namespace: fabric, uplinks: switches.map(({ number }) => `f${number}`) },
      onWire: 'udp dst port 4789',
    },
    async tunnelFlows() {
      const flows = await appctl(switches[0], 'dpctl/dump-flows');
      return flows.split('\n').filter((line) => /tnl_push|tunnel\(tun_id/.test(line)).length;
    },
  };
}

function fabricSide({ number, namespace, tunnel }: Switch): string[] {
  return [
    `link add f${number} mtu ${UNDERLAY_MTU} type veth peer name u0 mtu ${UNDERLAY_MTU} netns ${namespace}`,
    `addr add 10.255.${number}.1/30 dev f${number}`,
    `link set f${number} up`,
    `route add ${tunnel}/32 via 10.255.${number}.2`,
  ];
}

function hostSide({ number, tunnel }: Switch): string[] {
  return [
    'link set u0 up',
    'link set tap0 up',
    `addr add 10.255.${number}.2/30 dev br-phy`,
    `addr add ${tunnel}/32 dev br-phy`,
    `link set br-phy mtu ${UNDERLAY_MTU} up`,
    'link set br-int up',
    `route add default via 10.255.${number}.1 dev br-phy src ${tunnel}`,
  ];
}

function vmSide({ vm }: Switch, vmMtu: number): string[] {
  return [
    'link set lo up',
    `addr add ${vm.address}/24 dev ${vm.device}`,
    `link set ${vm.device} mtu ${vmMtu} addrgenmode none`,
    `link set ${vm.device} up`,
  ];
}

/** ovsdb-server and ovs-vswitchd of one host; both end with this process, however it ends. */
async function start(s: Switch, kind: PortKind): Promise<void> {
  const { directory, namespace, vm } = s;
  await ipBatch(namespace, [
    'link set lo up',
    `link add tap0 type veth peer name ${vm.device} address ${vm.mac} netns ${vm.namespace}`,
  ]);
  await run(['mkdir', '-p', directory]);
  await run(['ovsdb-tool', 'create', join(directory, 'conf.db'), SCHEMA]);
  const own = ['setpriv', '--pdeathsig', 'KILL', '--', 'env', `OVS_RUNDIR=${directory}`, `OVS_LOGDIR=${directory}`];
  const logged = ['-vconsole:off', '-vsyslog:off', '--log-file'];
  background([
    ...own,
    'ovsdb-server',
    join(directory, 'conf.db'),
    `--remote=punix:${database(s)}`,
    `--unixctl=${join(directory, 'ovsdb.ctl')}`,
    ...logged,
  ]);
  await waitUntil(async () => (await vsctl(s, '--no-wait', 'init')).code === 0, 10_000);
  background([
    ...own,
    ...inNamespace(namespace, [
      'ovs-vswitchd',
      `unix:${database(s)}`,
      `--unixctl=${join(directory, 'vswitchd.ctl')}`,
      '--disable-system',
      ...logged,
    ]),
  ]);
  await required(s, '--timeout=20', 'add-br', 'br-phy', '--', 'set', 'bridge', 'br-phy', 'datapath_type=netdev');
  if (kind === 'af_packet') return;
  // Room for the copies of the generic mode.
  await run(inNamespace(namespace, ['ip', 'link', 'set', 'tap0', 'up']));
}

async function addBridges(s: Switch, other: Switch, kind: PortKind): Promise<void> {
  const { stdout } = await tryRun(['ip', '-n', s.namespace, '-j', 'link', 'show', 'u0']);
  const [{ address }] = JSON.parse(stdout) as [{ address: string }];
  const type = kind === 'af_xdp' ? ['type=afxdp-nonpmd', 'options:xdp-mode=generic'] : [];
  const port = (bridge: string, name: string) => [
    '--',
    'add-port',
    bridge,
    name,
    ...(type.length > 0 ? ['--', 'set', 'interface', name, ...type] : []),
  ];
  await required(
    s,
    '--timeout=20',
    ...['set', 'bridge', 'br-phy', `other-config:hwaddr=${address}`],
    ...port('br-phy', 'u0'),
    ...['--', 'add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=netdev'],
    ...port('br-int', 'tap0'),
    ...['--', 'add-port', 'br-int', 'vx0', '--', 'set', 'interface', 'vx0', 'type=vxlan'],
    `options:local_ip=${s.tunnel}`,
    `options:remote_ip=${other.tunnel}`,
    `options:key=${VNI}`,
  );
}

function database(s: Switch): string {
  return join(s.directory, 'db.sock');
}

function vsctl(s: Switch, ...argv: string[]) {
  return tryRun(['ovs-vsctl', `--db=unix:${database(s)}`, ...argv]);
}

async function required(s: Switch, ...argv: string[]): Promise<void> {
  await run(['ovs-vsctl', `--db=unix:${database(s)}`, ...argv]);
}

function appctl(s: Switch, ...argv: string[]): Promise<string> {
  return run(['ovs-appctl', '-t', join(s.directory, 'vswitchd.ctl'), ...argv]);
}
