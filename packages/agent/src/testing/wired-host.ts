/**
 * One host's engine on a real datapath: VMs and the underlay are the far ends of wires in namespaces of their own, where raw
 * frames go in and out. The topology is the test's, in memory; time stands still but while the engine settles.
 */
import type { Datapath } from '@weft/datapath';
import { type DriverFactory, PEER4, Testbed } from '@weft/datapath/compliance';
import { ipFormat, toHex, vxlanVni } from '@weft/packet';
import type { World } from '@weft/simulator/testing';
import { addressAdd, type Link, NetlinkSocket, neighbourSet, routeAdd } from '@weft/sys';
import type { UnderlayPath, UnderlayView } from '../worker/underlay.ts';
import { Harness } from './harness.ts';
import { MemoryState } from './memory-datapath.ts';

/** Outer Ethernet, IPv4 and UDP header, and where the inner frame begins behind VXLAN's. */
const VXLAN_AT = 42;
const INNER_AT = 50;
/** A frame that must come is waited for this long, ms. */
const PATIENCE_MS = 1000;
/** Silence after which nothing more is expected, ms. */
const SILENCE_MS = 4;

/** A frame that left the host: by which interface, or to which peer under which key; a tunnel packet's inner frame. */
export interface Departure {
  /** `vm1`, or `192.0.2.2/0x13`. */
  readonly where: string;
  readonly frame: Uint8Array;
}

/** VM `i` of the testbed is interface `vm<i>`; every peer is reached through the testbed's first. */
class WiredUnderlay implements UnderlayView {
  readonly links: Link[];
  private readonly out: number;

  constructor(testbed: Testbed) {
    this.out = testbed.underlays[0];
    this.links = testbed.ports.map(({ ifindex }, i) => ({ ifindex, name: `vm${i}` }) as Link);
    this.links.push({ ifindex: this.out, name: 'u0' } as Link);
  }

  link(ifindex: number): Link | undefined {
    return this.links.find((one) => one.ifindex === ifindex);
  }
  linkByName(name: string): Link | undefined {
    return this.links.find((one) => one.name === name);
  }
  path(): UnderlayPath {
    return { hops: [{ ifindex: this.out, gateway: PEER4 }], mtu: 1600 };
  }
  drain(): boolean {
    return false;
  }
  close(): void {}
}

export class WiredHost {
  readonly harness: Harness<Datapath>;
  readonly testbed: Testbed;
  readonly #pause = new Int32Array(new SharedArrayBuffer(4));

  constructor(world: World, factory: DriverFactory) {
    this.testbed = new Testbed(factory, { encap: 'vxlan' });
    const netlink = this.testbed.inHost(() => new NetlinkSocket());
    const [out] = this.testbed.underlays;
    neighbourSet(netlink, out, PEER4, '02:0e:00:00:00:00');
    // A driver that leaves tunnel packets to the kernel's routing finds its way too.
    addressAdd(netlink, out, '192.0.2.1/32');
    routeAdd(netlink, { dst: '192.0.2.0/24', gateway: PEER4, oif: out });
    netlink.close();
    const { driver } = this.testbed;
    // The test's clock stands still: nobody is to wait for it.
    const datapath = new Proxy(driver, {
      get: (target, name) => {
        if (name !== 'poll') return Reflect.get(target, name, target);
        return (_timeout: number, max: number, take: Parameters<Datapath['poll']>[2]) => target.poll(0, max, take);
      },
    });
    this.harness = new Harness(world, new MemoryState(driver.options.maxFlows), {
      datapath,
      underlay: new WiredUnderlay(this.testbed),
    });
  }

  get upcalls(): number {
    return (this.harness.engine.status() as { upcalls: number }).upcalls;
  }

  /** Sends a frame from VM `i`, lets the agent work, and says what left the host. @param expected frames that are waited for */
  send(i: number, frame: Uint8Array, expected: number): Departure[] {
    this.departures();
    this.testbed.vms[i].send(frame);
    const out: Departure[] = [];
    const start = performance.now();
    for (let quiet = start; ; ) {
      const before = this.upcalls;
      this.harness.turn();
      const seen = this.departures();
      out.push(...seen);
      const now = performance.now();
      if (seen.length > 0 || this.upcalls !== before) quiet = now;
      if (now - quiet > SILENCE_MS && (out.length >= expected || now - start > PATIENCE_MS)) return out;
      Atomics.wait(this.#pause, 0, 0, 0.5);
    }
  }

  /** All that has left since the last call. */
  departures(): Departure[] {
    const { vms, underlay } = this.testbed;
    const out = vms.flatMap((wire, i) => wire.take().map(({ frame }) => ({ where: `vm${i}`, frame })));
    for (const wire of underlay) {
      for (const { frame } of wire.take()) {
        const where = `${ipFormat(mapped(frame.subarray(30, 34)), 0)}/0x${vxlanVni(frame, VXLAN_AT).toString(16)}`;
        out.push({ where, frame: frame.slice(INNER_AT) });
      }
    }
    return out;
  }

  close(): void {
    this.testbed.close();
  }
}

function mapped(address: Uint8Array): Uint8Array {
  const out = new Uint8Array(16);
  out.fill(0xff, 10, 12);
  out.set(address, 12);
  return out;
}

/** In one order, for comparison. */
export function sorted(departures: readonly Departure[]): string[] {
  return departures.map(({ where, frame }) => `${where} ${toHex(frame)}`).sort();
}
