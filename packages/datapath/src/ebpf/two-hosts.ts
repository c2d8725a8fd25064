/**
 * Two hosts with real IP stacks as VMs, for the eBPF driver's end-to-end tests. Not exported.
 *
 * ```
 *  vm1 eth0 — p1 [h1] u0 — f1 [fabric router] f2 — u0 [h2] p2 — eth0 vm2
 *  vm3 eth0 — p3 [h1]
 * ```
 * VMs: 10.1.0.N/24, fd01::N/64, MTU 1400. Underlay: 172.16.N.0/24, fd16:N::/64, MTU 1500.
 * In the agent's place stands a reflex: each miss becomes a flow of the most general class, from the tables in `routes`.
 */
import { spawn } from 'node:child_process';
import {
  ACTION_SIZE,
  type ActionOptions,
  compileAction,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  K_ETH_DST,
  KEY_SIZE,
  maskKey,
  OUT_LIST,
  UPCALL_MISS,
} from '@weft/flow';
import { ipParse, macFormat, macParse } from '@weft/packet';
import {
  addressAdd,
  close as closeFd,
  createNetns,
  deleteNetns,
  linkAdd,
  linkIndex,
  linkSet,
  NetlinkSocket,
  openNetns,
  routeAdd,
  runIn,
  setOffloads,
  sysctlSet,
} from '@weft/sys';
import { atEnd, uniqueId } from '../compliance/leftovers.ts';
import type { Upcall } from '../contract.ts';
import type { EbpfDatapath, EbpfOptions } from './index.ts';
import { createEbpf } from './testing.ts';

const FLOOD = 1;
export const TUNNEL_MTU = 1400;

export type Vm = { name: string; ns: string; mac: string; host: Host; ifindex: number; key: number };
export type Host = { name: string; ns: string; driver: EbpfDatapath; peer: number; underlay: number; seen: Upcall[] };

/** What a miss becomes: by port and destination MAC. Changes to the packet by `edit` on its key. */
export type Decision = { options: ActionOptions; edit?: (key: Uint8Array) => void; cls?: number };
export type Decide = (host: Host, inPort: number, key: Uint8Array, destination: string) => Decision | undefined;

const alive = new Set<TwoHosts>();

function closeAll(): void {
  for (const lab of alive) lab.close();
}

export class TwoHosts {
  readonly encap: 'gre' | 'vxlan';
  readonly id = `webpf-${uniqueId()}`;
  readonly fabric = `${this.id}-f`;
  readonly hosts: Host[] = [];
  readonly vms: Vm[] = [];
  decide: Decide;
  #timer: NodeJS.Timeout | undefined;
  readonly #extra: Partial<EbpfOptions>;
  #flows = 0;

  constructor(encap: 'gre' | 'vxlan', ipv6Underlay: boolean, extra: Partial<EbpfOptions> = {}) {
    this.encap = encap;
    this.#extra = extra;
    atEnd(closeAll);
    alive.add(this);
    this.decide = (host, inPort, _key, destination) => this.#bridge(host, inPort, destination);
    this.#build(ipv6Underlay);
    this.#timer = setInterval(() => this.turn(), 1);
  }

  #build(ipv6Underlay: boolean): void {
    createNetns(this.fabric);
    const fabric = runIn(this.fabric, () => new NetlinkSocket());
    for (const family of ['ipv4', 'ipv6']) sysctlSet(['net', family, 'conf', 'all', 'forwarding'], 1, this.fabric);
    for (const n of [1, 2]) {
      const ns = `${this.id}-h${n}`;
      createNetns(ns);
      const nl = runIn(ns, () => new NetlinkSocket());
      const fd = openNetns(this.fabric);
      linkAdd(nl, { kind: 'veth', name: 'u0', mtu: 1500, peer: { name: `f${n}`, mtu: 1500, netns: { fd } } });
      closeFd(fd);
      linkSet(fabric, `f${n}`, { up: true });
      linkSet(nl, 'u0', { up: true });
      const underlay = linkIndex(nl, 'u0');
      addressAdd(nl, underlay, `172.16.${n}.2/24`);
      addressAdd(nl, underlay, `fd16:${n}::2/64`, { dad: false });
      addressAdd(fabric, linkIndex(fabric, `f${n}`), `172.16.${n}.1/24`);
      addressAdd(fabric, linkIndex(fabric, `f${n}`), `fd16:${n}::1/64`, { dad: false });
      routeAdd(nl, { dst: '172.16.0.0/16', gateway: `172.16.${n}.1` });
      routeAdd(nl, { dst: 'fd16::/16', gateway: `fd16:${n}::1` });
      const driver = runIn(ns, () =>
        createEbpf({ instance: `e${n}`, encap: this.encap, maxFlows: 1000, stateDir: `/x/${ns}` }, this.#extra),
      );
      const local = (h: number) => ipParse(ipv6Underlay ? `fd16:${h}::2` : `172.16.${h}.2`);
      driver.attachUnderlay(underlay);
      driver.setLocalAddresses([local(n)]);
      const peer = 3 - n;
      driver.setTunnel({
        peer,
        hostId: `h${peer}`,
        local: local(n),
        remote: local(peer),
        ifindexes: [underlay],
        mtu: TUNNEL_MTU,
      });
      this.hosts.push({ name: `h${n}`, ns, driver, peer, underlay, seen: [] });
      nl.close();
    }
    fabric.close();
    [this.hosts[0], this.hosts[1], this.hosts[0]].forEach((host, i) => {
      this.#addVm(host, i + 1);
    });
    for (const host of this.hosts) {
      const ports = this.vms.filter((vm) => vm.host === host).map((vm) => vm.ifindex);
      host.driver.setEgress({ key: 1000, ports });
      host.driver.setList({ id: FLOOD, ports, remotes: [{ peer: host.peer, key: 1000 }] });
    }
  }

  #addVm(host: Host, n: number): void {
    const ns = `${this.id}-vm${n}`;
    createNetns(ns);
    const mac = `02:00:00:00:01:0${n}`;
    const nl = runIn(host.ns, () => new NetlinkSocket());
    const vm = runIn(ns, () => new NetlinkSocket());
    const fd = openNetns(ns);
    linkAdd(nl, { kind: 'veth', name: `p${n}`, peer: { name: 'eth0', mac, mtu: TUNNEL_MTU, netns: { fd } } });
    closeFd(fd);
    linkSet(vm, 'eth0', { up: true });
    const eth0 = linkIndex(vm, 'eth0');
    addressAdd(vm, eth0, `10.1.0.${n}/24`);
    addressAdd(vm, eth0, `fd01::${n}/64`, { dad: false });
    const ifindex = linkIndex(nl, `p${n}`);
    host.driver.attachPort({
      ifindex,
      name: `p${n}`,
      portId: `vm${n}`,
      mac: macParse(mac),
      peerable: true,
      upcallRate: 10_000,
      upcallBurst: 1000,
    });
    host.driver.setEgress({ key: 100 + n, ports: [ifindex] });
    this.vms.push({ name: `vm${n}`, ns, mac, host, ifindex, key: 100 + n });
    nl.close();
    vm.close();
  }

  /** A bridge that knows every VM's MAC. */
  #bridge(host: Host, _inPort: number, destination: string): Decision | undefined {
    const vm = this.vms.find((v) => v.mac === destination);
    if (!vm) return { options: { output: OUT_LIST, outPort: FLOOD } };
    if (vm.host === host) return { options: { output: 1, outPort: vm.ifindex, flags: 1 } };
    return { options: { output: 2, outPort: host.peer, tunnelKey: vm.key } };
  }

  /** One turn of both hosts' loops. */
  turn(): void {
    for (const host of this.hosts) host.driver.poll(0, 64, (u) => this.#upcall(host, u));
  }

  #upcall(host: Host, u: Upcall): void {
    host.seen.push({ ...u, key: u.key.slice(), frame: u.frame.slice(), vnetHeader: u.vnetHeader.slice() });
    if (u.reason !== UPCALL_MISS) return;
    const decision = this.decide(host, u.inPort, u.key, macFormat(u.key, K_ETH_DST));
    if (!decision) return;
    const cls = decision.cls ?? 0;
    const final = u.key.slice();
    decision.edit?.(final);
    const id = ++this.#flows;
    const key = new Uint8Array(KEY_SIZE);
    const value = new Uint8Array(FLOW_VALUE_SIZE);
    maskKey(u.key, 0, cls, key, 0);
    const options = { ...decision.options, flowId: id, ownerPort: u.inPort, ownerClass: cls, counterSlot: id % 1000 };
    if (!compileAction(u.key, final, value, options)) throw new Error('the decision cannot be compiled');
    value.set(u.key, FLOW_FIRST_KEY);
    host.driver.putFlows({ keys: key, values: value, count: 1 });
    if (u.length === u.frame.length) {
      host.driver.execute([{ frame: u.frame, vnetHeader: u.vnetHeader, action: value.subarray(0, ACTION_SIZE) }]);
    }
  }

  /** Runs a program in a namespace to its end. */
  run(ns: string, argv: readonly string[], timeoutMs = 20_000): Promise<{ code: number; output: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn('nsenter', [`--net=/run/netns/${ns}`, '--', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      child.stdout.on('data', (d: Buffer) => (output += d.toString()));
      child.stderr.on('data', (d: Buffer) => (output += d.toString()));
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? -1, output });
      });
    });
  }

  /** Percent lost of `count` echo requests. */
  async ping(from: Vm, address: string, count = 5, ...extra: string[]): Promise<number> {
    const { output } = await this.run(from.ns, ['ping', '-c', `${count}`, '-i', '0.05', '-W', '1', ...extra, address]);
    const match = /([\d.]+)% packet loss/.exec(output);
    if (!match) throw new Error(`ping: ${output}`);
    return Number(match[1]);
  }

  /** Bits per second that `to` received by TCP. */
  async tcp(from: Vm, to: Vm, address: string, megabytes = 20): Promise<number> {
    const server = this.run(to.ns, ['iperf3', '-s', '-1', '-p', '5999'], 15_000);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { output } = await this.run(
      from.ns,
      ['iperf3', '-J', '-c', address, '-p', '5999', '-n', `${megabytes}M`, '--connect-timeout', '3000'],
      12_000,
    );
    const result = JSON.parse(output || '{}') as {
      end?: { sum_received?: { bits_per_second: number } };
      error?: string;
    };
    if (!result.end?.sum_received) {
      throw new Error(`iperf3: ${result.error ?? output}`);
    }
    await server;
    return result.end.sum_received.bits_per_second;
  }

  /** A counter of /proc/net/snmp in a namespace. */
  async snmp(ns: string, name: string): Promise<number> {
    const { output } = await this.run(ns, ['nstat', '-asz', name]);
    const match = new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(output);
    if (!match) throw new Error(`nstat: ${output}`);
    return Number(match[1]);
  }

  /** Checksum and segmentation offloads of a host's underlay, both ends of the wire. */
  /** Checksums (tx) and segments (tso, gso) left to the underlay; `segments`: as `on` where it is left away. */
  underlayOffloads(host: Host, on: boolean, segments = on): void {
    const offloads = { tx: on, tso: segments && on, gso: segments };
    setOffloads('u0', offloads, host.ns);
    setOffloads(`f${3 - host.peer}`, offloads, this.fabric);
  }

  vmOffloads(vm: Vm, on: boolean): void {
    setOffloads('eth0', { tx: on }, vm.ns);
  }

  deleteFlows(): void {
    for (const { driver } of this.hosts) {
      const keys: number[] = [];
      driver.adopted().forEachFlow((key) => keys.push(...key));
      driver.deleteFlows(Uint8Array.from(keys), keys.length / KEY_SIZE);
    }
  }

  close(): void {
    if (!alive.delete(this)) return;
    clearInterval(this.#timer);
    for (const { driver } of this.hosts) driver.close({ destroy: true });
    for (const name of [this.fabric, ...this.hosts.map((h) => h.ns), ...this.vms.map((v) => v.ns)]) deleteNetns(name);
  }
}
