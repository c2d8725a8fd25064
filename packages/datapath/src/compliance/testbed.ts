/**
 * A host with three VMs and an underlay peer, as network namespaces, and a driver in it. Tests put raw frames on the far ends of
 * the wires and read raw frames there.
 *
 * ```
 *  ns …-v   v1  v2  v3          (VM ends; no IP stack of their own)
 *            |   |   |
 *  ns …-h   p1  p2  p3   u0 u1   (the driver's host)
 *                         |  |
 *  ns …-f                n0 n1   (peers: 10.255.0.2, 10.255.0.3, fd00:255::2; 10.255.9.9 by both)
 * ```
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { ipParse, macFormat, macParse } from '@weft/packet';
import {
  addressAdd,
  close,
  createNetns,
  deleteNetns,
  linkAdd,
  linkIndex,
  linkList,
  linkSet,
  NetlinkSocket,
  neighbourSet,
  openNetns,
  routeAdd,
  runIn,
  sysctlSet,
} from '@weft/sys';
import type { Datapath, DatapathOptions, PortSpec, TunnelSpec } from '../contract.ts';
import { atEnd, directoryPrefix, uniqueId } from './leftovers.ts';
import { Wire } from './wire.ts';

/** How the suite gets drivers; each call happens with the calling thread inside the host's namespace. */
export interface DriverFactory {
  readonly kind: Datapath['kind'];
  create(options: DatapathOptions): Datapath;
  /** Reason why this machine cannot run the driver, or false. */
  skip(): string | false;
  /** State outlives close() and is adopted. */
  readonly adopts: boolean;
}

export interface TestbedOptions {
  readonly encap: 'gre' | 'vxlan';
  readonly maxFlows?: number;
}

export const VM_COUNT = 3;
export const LOCAL4 = '10.255.0.1';
export const LOCAL6 = 'fd00:255::1';
export const PEER4 = '10.255.0.2';
export const OTHER_PEER4 = '10.255.0.3';
export const PEER6 = 'fd00:255::2';
/** Reached by both underlay interfaces. */
export const MULTIPATH_PEER4 = '10.255.9.9';
/** Nobody's tunnel address, in the peers' subnet. */
export const STRANGER4 = '10.255.0.66';
export const STRANGER6 = 'fd00:255::66';

let serial = 0;
const alive = new Set<Testbed>();

export class Testbed {
  readonly factory: DriverFactory;
  readonly options: DatapathOptions;
  readonly vms: Wire[] = [];
  /** Far ends of u0 and u1. */
  readonly underlay: Wire[] = [];
  readonly ports: PortSpec[] = [];
  readonly underlays: number[] = [];
  /** MACs of u0 and u1. */
  readonly underlayMacs: Uint8Array[] = [];
  driver: Datapath;
  readonly #names: string[];
  readonly #hostNs: number;
  readonly #stateDir: string;
  #closed = false;

  constructor(factory: DriverFactory, options: TestbedOptions) {
    this.factory = factory;
    const id = uniqueId();
    const [host, vms, fabric] = (this.#names = ['h', 'v', 'f'].map((s) => `wdp-${id}-${s}`));
    atEnd(Testbed.closeAll);
    alive.add(this);
    this.#stateDir = mkdtempSync(directoryPrefix('compliance'));
    this.options = {
      instance: `t${process.pid % 10_000}${serial++}`.slice(0, 8),
      encap: options.encap,
      maxFlows: options.maxFlows ?? 1024,
      stateDir: this.#stateDir,
    };
    try {
      for (const name of this.#names) createNetns(name);
      this.#hostNs = openNetns(host);
      this.#buildVms(vms);
      this.#buildUnderlay(fabric);
      this.driver = this.create();
    } catch (error) {
      this.#removeNamespaces();
      throw error;
    }
  }

  /** Runs `fn` in the host's namespace. */
  inHost<T>(fn: () => T): T {
    return runIn({ fd: this.#hostNs }, fn);
  }

  /** A further driver on the same state directory; every call on it enters the host's namespace first. */
  create(): Datapath {
    const driver = this.inHost(() => this.factory.create(this.options));
    return new Proxy(driver, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => this.inHost(() => Reflect.apply(value, target, args));
      },
    });
  }

  #buildVms(ns: string): void {
    const fd = openNetns(ns);
    const nl = this.inHost(() => new NetlinkSocket());
    const far = runIn(ns, () => new NetlinkSocket());
    try {
      for (let i = 1; i <= VM_COUNT; i++) {
        const mac = `02:00:00:00:00:0${i}`;
        linkAdd(nl, { kind: 'veth', name: `p${i}`, peer: { name: `v${i}`, mac, netns: { fd } } });
        quietLink(ns, `v${i}`);
        linkSet(far, `v${i}`, { up: true });
        linkSet(nl, `p${i}`, { up: true });
        this.vms.push(runIn(ns, () => new Wire(`v${i}`, linkIndex(far, `v${i}`))));
        this.ports.push({
          ifindex: linkIndex(nl, `p${i}`),
          name: `p${i}`,
          portId: `00000000-0000-4000-8000-00000000000${i}`,
          mac: macParse(mac),
          peerable: true,
          upcallRate: 100_000,
          upcallBurst: 10_000,
        });
      }
    } finally {
      nl.close();
      far.close();
      close(fd);
    }
  }

  #buildUnderlay(ns: string): void {
    const fd = openNetns(ns);
    const nl = this.inHost(() => new NetlinkSocket());
    const far = runIn(ns, () => new NetlinkSocket());
    try {
      for (let i = 0; i < 2; i++) {
        const [near, remote] = [`u${i}`, `n${i}`];
        const mac = `02:0f:00:00:00:0${i}`;
        linkAdd(nl, {
          kind: 'veth',
          name: near,
          mac,
          mtu: 1600,
          peer: { name: remote, mac: `02:0e:00:00:00:0${i}`, mtu: 1600, netns: { fd } },
        });
        linkSet(far, remote, { up: true });
        linkSet(nl, near, { up: true });
        const ifindex = linkIndex(nl, near);
        this.underlays.push(ifindex);
        this.underlayMacs.push(macParse(mac));
        this.underlay.push(runIn(ns, () => new Wire(remote, linkIndex(far, remote), isTunnelOrIcmp)));
        neighbourSet(nl, ifindex, MULTIPATH_PEER4, `02:0e:00:00:00:0${i}`);
        routeAdd(nl, { dst: `${MULTIPATH_PEER4}/32`, oif: ifindex, metric: 100 + i });
      }
      addressAdd(nl, this.underlays[0], `${LOCAL4}/24`);
      addressAdd(nl, this.underlays[0], `${LOCAL6}/64`, { dad: false });
      const n0 = linkIndex(far, 'n0');
      addressAdd(far, n0, `${PEER4}/24`);
      addressAdd(far, n0, `${OTHER_PEER4}/24`);
      addressAdd(far, n0, `${PEER6}/64`, { dad: false });
    } finally {
      nl.close();
      far.close();
      close(fd);
    }
  }

  /** Attaches all ports and both underlay interfaces, names the local addresses. */
  attachAll(driver: Datapath = this.driver): void {
    for (const port of this.ports) driver.attachPort(port);
    for (const ifindex of this.underlays) driver.attachUnderlay(ifindex);
    driver.setLocalAddresses([ipParse(LOCAL4), ipParse(LOCAL6)]);
  }

  /** A tunnel to one of the peers' addresses. */
  tunnel(peer: number, remote: string = PEER4, changes: Partial<TunnelSpec> = {}): TunnelSpec {
    const spec: TunnelSpec = {
      peer,
      hostId: `00000000-0000-4000-9000-00000000000${peer % 10}`,
      local: ipParse(remote.includes(':') ? LOCAL6 : LOCAL4),
      remote: ipParse(remote),
      ifindexes: [this.underlays[0]],
      mtu: 1500,
      ...changes,
    };
    this.driver.setTunnel(spec);
    return spec;
  }

  /** Names of what is left in the host's namespace that is not this testbed's own. */
  foreignLinks(): string[] {
    const nl = this.inHost(() => new NetlinkSocket());
    try {
      return linkList(nl)
        .map((link) => link.name)
        .filter((name) => !/^(lo|p\d|u\d)$/.test(name));
    } finally {
      nl.close();
    }
  }

  get stateDir(): string {
    return this.#stateDir;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    alive.delete(this);
    try {
      this.driver.close({ destroy: true });
    } finally {
      for (const wire of [...this.vms, ...this.underlay]) wire.close();
      close(this.#hostNs);
      this.#removeNamespaces();
    }
  }

  #removeNamespaces(): void {
    for (const name of this.#names) deleteNetns(name);
    rmSync(this.#stateDir, { recursive: true, force: true });
  }

  /** For signals: whatever state the testbed is in, nothing of it stays. */
  static closeAll(): void {
    for (const testbed of alive) {
      try {
        testbed.close();
      } catch (error) {
        console.error(`closing a testbed: ${(error as Error).message}`);
      }
    }
  }
}

/** No router solicitation, no ARP: what arrives or leaves is the tests' own. */
function quietLink(ns: string, name: string): void {
  sysctlSet(['net', 'ipv6', 'conf', name, 'disable_ipv6'], 1, ns);
  sysctlSet(['net', 'ipv4', 'conf', name, 'arp_ignore'], 8, ns);
}

/** GRE, UDP and ICMP: the underlay's own chatter (ARP, ND) is left out. */
function isTunnelOrIcmp(frame: Uint8Array): boolean {
  const type = (frame[12] << 8) | frame[13];
  if (type === 0x0800) return frame[23] === 47 || frame[23] === 17 || frame[23] === 1;
  if (type !== 0x86dd) return type === 0x8100;
  return frame[20] === 47 || frame[20] === 17 || (frame[20] === 58 && frame[54] < 130);
}

export function portMac(port: PortSpec): string {
  return macFormat(port.mac!, 0);
}
