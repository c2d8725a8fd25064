/**
 * Two hosts with one VM each, real IP stacks in the VMs, the hosts' underlay back to back. A minimal agent answers every miss
 * with "into the tunnel": what real programs send — ARP, ND, offloaded TCP — crosses both drivers.
 *
 * ```
 *  ns …-va  eth0 ── p1  ns …-a  u0 ── u0  ns …-b  p1 ── eth0  ns …-vb
 * 10.9.0.1/24, fd00:9::1/64                        10.9.0.2/24, fd00:9::2/64
 * ```
 */
import { mkdtempSync, rmSync } from 'node:fs';
import {
  ACTION_SIZE,
  classFor,
  compileAction,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  maskKey,
  OUT_TUNNEL,
  UPCALL_MISS,
} from '@weft/flow';
import { ipParse, macParse } from '@weft/packet';
import {
  addressAdd,
  close,
  createNetns,
  deleteNetns,
  linkAdd,
  linkIndex,
  linkSet,
  NetlinkSocket,
  openNetns,
  runIn,
  spawnIn,
} from '@weft/sys';
import type { Datapath, Upcall } from '../contract.ts';
import { atEnd, directoryPrefix, uniqueId } from './leftovers.ts';
import type { DriverFactory } from './testbed.ts';

const PEER = 1;
const KEY = 200;
/** Inner MTU: what remains of 1600 over an IPv6 underlay with VXLAN is more. */
const VM_MTU = 1450;

interface Host {
  readonly ns: string;
  readonly vm: string;
  readonly driver: Datapath;
  readonly port: number;
  nextId: number;
}

export interface Finished {
  readonly code: number | null;
  readonly output: string;
}

export interface Program {
  readonly done: Promise<Finished>;
  /** What it has written so far. */
  output(): string;
  stop(): void;
}

let serial = 0;
const alive = new Set<TwoHosts>();

export class TwoHosts {
  readonly hosts: Host[] = [];
  readonly #names: string[];
  readonly #directories: string[] = [];
  #closed = false;

  constructor(factories: readonly [DriverFactory, DriverFactory], encap: 'gre' | 'vxlan', ipv6: boolean) {
    const id = uniqueId();
    const number = `${process.pid % 10_000}${serial++}`;
    this.#names = ['a', 'b', 'va', 'vb'].map((s) => `wdt-${id}-${s}`);
    atEnd(TwoHosts.closeAll);
    alive.add(this);
    try {
      for (const name of this.#names) createNetns(name);
      this.#wire(this.#names[0], 'u0', '02:0f:01:00:00:01', this.#names[1], 'u0', '02:0f:01:00:00:02', 1600);
      factories.forEach((factory, i) => {
        this.#host(factory, i, `t${i}${number}`.slice(0, 8), encap, ipv6);
      });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #wire(a: string, nameA: string, macA: string, b: string, nameB: string, macB: string, mtu: number): void {
    const fd = openNetns(b);
    const [near, far] = [a, b].map((ns) => runIn(ns, () => new NetlinkSocket()));
    try {
      linkAdd(near, {
        kind: 'veth',
        name: nameA,
        mac: macA,
        mtu,
        peer: { name: nameB, mac: macB, mtu, netns: { fd } },
      });
      linkSet(near, nameA, { up: true });
      linkSet(far, nameB, { up: true });
    } finally {
      near.close();
      far.close();
      close(fd);
    }
  }

  #host(factory: DriverFactory, i: number, instance: string, encap: 'gre' | 'vxlan', ipv6: boolean): void {
    const ns = this.#names[i];
    const vm = this.#names[2 + i];
    const mac = `02:00:00:00:09:0${i + 1}`;
    this.#wire(ns, 'p1', `02:0d:00:00:09:0${i + 1}`, vm, 'eth0', mac, VM_MTU);
    const nl = runIn(ns, () => new NetlinkSocket());
    const inside = runIn(vm, () => new NetlinkSocket());
    try {
      const addresses = ipv6 ? ['fd00:254::1', 'fd00:254::2'] : ['10.254.0.1', '10.254.0.2'];
      const u0 = linkIndex(nl, 'u0');
      addressAdd(nl, u0, `${addresses[i]}/${ipv6 ? 64 : 24}`, ipv6 ? { dad: false } : {});
      const eth0 = linkIndex(inside, 'eth0');
      addressAdd(inside, eth0, `10.9.0.${i + 1}/24`);
      addressAdd(inside, eth0, `fd00:9::${i + 1}/64`, { dad: false });
      const stateDir = mkdtempSync(directoryPrefix('two-hosts'));
      this.#directories.push(stateDir);
      const driver = runIn(ns, () => factory.create({ instance, encap, maxFlows: 1024, stateDir }));
      const port = linkIndex(nl, 'p1');
      this.hosts.push({ ns, vm, driver, port, nextId: 1 });
      runIn(ns, () => {
        driver.attachPort({
          ifindex: port,
          name: 'p1',
          portId: `00000000-0000-4000-8000-00000000000${i}`,
          mac: macParse(mac),
          peerable: true,
          upcallRate: 10_000,
          upcallBurst: 1000,
        });
        driver.attachUnderlay(u0);
        driver.setLocalAddresses([ipParse(addresses[i])]);
        driver.setTunnel({
          peer: PEER,
          hostId: `00000000-0000-4000-9000-00000000000${i}`,
          local: ipParse(addresses[i]),
          remote: ipParse(addresses[1 - i]),
          ifindexes: [u0],
          mtu: 1500,
        });
        driver.setEgress({ key: KEY, ports: [port] });
      });
    } finally {
      nl.close();
      inside.close();
    }
  }

  #answer(host: Host, u: Upcall): void {
    if (u.reason !== UPCALL_MISS || u.length > u.frame.length) return;
    const key = new Uint8Array(KEY_SIZE);
    const cls = classFor(0x7fff);
    maskKey(u.key, 0, cls, key, 0);
    const value = new Uint8Array(FLOW_VALUE_SIZE);
    compileAction(u.key, u.key, value, {
      output: OUT_TUNNEL,
      outPort: PEER,
      tunnelKey: KEY,
      flowId: host.nextId++,
      ownerPort: u.inPort,
      ownerClass: cls,
    });
    value.set(u.key, FLOW_FIRST_KEY);
    host.driver.putFlows({ keys: key, values: value, count: 1 });
    host.driver.execute([{ frame: u.frame, vnetHeader: u.vnetHeader, action: value.subarray(0, ACTION_SIZE) }]);
  }

  /** Turns both drivers' loops once. */
  turn(): void {
    for (const host of this.hosts) {
      runIn(host.ns, () => {
        host.driver.poll(0, 64, (u) => this.#answer(host, u));
      });
    }
  }

  /** Starts a program in the VM of host `i`; `done` settles when it ends. */
  start(i: number, argv: readonly string[]): Program {
    const child = spawnIn(this.hosts[i].vm, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout?.on('data', (d: Buffer) => (output += d));
    child.stderr?.on('data', (d: Buffer) => (output += d));
    const done = new Promise<Finished>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ code, output }));
    });
    return { done, output: () => output, stop: () => child.kill('SIGKILL') };
  }

  /** Runs a program in the VM of host `i` to its end while both drivers work; kills it after `seconds`. */
  async run(i: number, argv: readonly string[], seconds: number): Promise<Finished> {
    const program = this.start(i, argv);
    let result: Finished | undefined;
    void program.done.then((r) => {
      result = r;
    });
    await this.until(() => result !== undefined, seconds);
    if (result !== undefined) return result;
    program.stop();
    return { code: null, output: `${argv[0]}: not done after ${seconds} s` };
  }

  /** Lets both drivers work until `ready` or the time is over. @returns whether it became ready. */
  async until(ready: () => boolean, seconds: number): Promise<boolean> {
    const deadline = performance.now() + seconds * 1000;
    while (!ready()) {
      if (performance.now() > deadline) return false;
      this.turn();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    alive.delete(this);
    for (const host of this.hosts) runIn(host.ns, () => host.driver.close({ destroy: true }));
    for (const name of this.#names) deleteNetns(name);
    for (const directory of this.#directories) rmSync(directory, { recursive: true, force: true });
  }

  /** For signals and exit. */
  static closeAll(): void {
    for (const hosts of alive) hosts.close();
  }
}
