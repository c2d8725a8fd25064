/**
 * A VM that moves between hosts in the midst of what it does, as a hypervisor would have it: on the next host there is another interface for
 * it before, and at the switch its packets go there. The guest notices nothing but the time that passes: address, MAC, connections,
 * and what it knows of its neighbours stay. Here each interface is a veth pair of its own, and the guest's routes say which is in use.
 */
import { LabError } from './errors.ts';
import { ipBatch, run, tryRun } from './exec.ts';
import type { Lab } from './lab.ts';
import { familyOf, type HostPlan, subnetOfCidr, type VmInterfacePlan, type VmPlan } from './plan.ts';
import { awaitValue } from './wait.ts';

/** How long the next host may take to get ready. */
const READY_MS = 20_000;

/** A VM's place: a host, the interface there, and the guest's end of it. */
interface Berth {
  readonly host: HostPlan;
  readonly tap: string;
  readonly device: string;
}

interface Migration {
  readonly stage: string;
  readonly awaits: readonly string[];
  readonly connections: number | null;
}

export class MovingVm {
  private readonly lab: Lab;
  private readonly vm: VmPlan;
  private readonly iface: VmInterfacePlan;
  private readonly home: Berth;
  private berth: Berth;
  private readonly made: Berth[] = [];

  /** Of a VM with one interface. */
  constructor(lab: Lab, vm: VmPlan) {
    this.lab = lab;
    this.vm = vm;
    this.iface = vm.interfaces[0]!;
    const host = lab.plan.hosts.find(({ name }) => name === vm.host)!;
    this.home = { host, tap: this.iface.tap, device: this.iface.device };
    this.berth = this.home;
  }

  private get path(): string {
    return `/ports/${this.iface.portId}/migration`;
  }

  /**
   * Moves it: has the next host get ready, moves the binding and the guest at once, and ends the move when all hosts know of it.
   * @returns connections that were known on the next host before
   */
  async move(host: HostPlan): Promise<number> {
    const next = await this.berthOn(host);
    await this.lab.api.post(this.path, { hostId: host.id, interfaceName: next.tap });
    const { connections } = await awaitValue(`host ${host.name} ready for ${this.vm.name}`, READY_MS, async () => {
      const migration = await this.lab.api.get<Migration>(this.path);
      return migration.stage === 'ready' ? migration : undefined;
    });
    const turn = await this.turnTo(next);
    await this.lab.api.put(`${this.path}/switch`, {});
    await turn();
    this.berth = next;
    return connections ?? 0;
  }

  /** Ends the move: nothing follows from the host that it was on any more. */
  async done(): Promise<void> {
    await this.lab.api.delete(this.path);
  }

  /** Moves it without saying so before: the binding changes, and the guest goes there. */
  async jump(host: HostPlan): Promise<void> {
    const next = await this.berthOn(host);
    const turn = await this.turnTo(next);
    await this.bind(next);
    await turn();
    this.berth = next;
  }

  private bind({ host, tap }: Berth): Promise<unknown> {
    return this.lab.api.post(`/hosts/${host.id}/ports`, { portId: this.iface.portId, interfaceName: tap });
  }

  /** Back where the scenario has it, whatever happened, and nothing left of the moves. */
  async goHome(): Promise<void> {
    if (this.berth !== this.home) {
      const turn = await this.turnTo(this.home);
      await this.bind(this.home);
      await turn();
      this.berth = this.home;
    }
    await this.lab.api.delete(this.path).catch(() => {});
    for (const { host, tap } of this.made.splice(0)) await tryRun(['ip', '-n', host.namespace, 'link', 'del', tap]);
  }

  /** An interface for it on a host, its link up; the guest does not use it yet. */
  private async berthOn(host: HostPlan): Promise<Berth> {
    if (host.name === this.berth.host.name) {
      throw new LabError('WEFT_LAB_OPTION', `${this.vm.name} is on host ${host.name} already`);
    }
    const known = [this.home, ...this.made].find((berth) => berth.host.name === host.name);
    if (known !== undefined) return known;
    const { vm, iface } = this;
    const n = this.made.length;
    const berth = { host, tap: `mv${n}-${vm.name}`.slice(0, 15), device: `mv${n}` };
    this.made.push(berth);
    await ipBatch(host.namespace, [
      `link add ${berth.tap} mtu ${vm.mtu} type veth peer name ${berth.device} address ${iface.mac} mtu ${vm.mtu} netns ${vm.namespace}`,
      `link set ${berth.tap} addrgenmode none`,
      `link set ${berth.tap} up`,
    ]);
    const commands = [`link set ${berth.device} addrgenmode none`];
    for (const cidr of iface.cidrs) commands.push(`addr add ${cidr} dev ${berth.device} nodad noprefixroute`);
    await ipBatch(vm.namespace, [...commands, `link set ${berth.device} up`]);
    return berth;
  }

  /** Gets everything ready in the guest for its packets to take another interface; what is returned does it. */
  private async turnTo({ device }: Berth): Promise<() => Promise<void>> {
    const { namespace } = this.vm;
    const commands: string[] = [];
    for (const cidr of this.iface.cidrs) {
      const [address] = cidr.split('/');
      commands.push(`route replace ${subnetOfCidr(cidr)} dev ${device} src ${address}`);
    }
    for (const gateway of this.iface.gateways) {
      if (this.iface.addresses.some((address) => familyOf(address) === familyOf(gateway))) {
        commands.push(`route replace default via ${gateway} dev ${device}`);
      }
    }
    const text = await run(['ip', '-n', namespace, '-j', 'neigh', 'show', 'dev', this.berth.device]);
    for (const { dst, lladdr } of JSON.parse(text || '[]') as { dst: string; lladdr?: string }[]) {
      if (lladdr !== undefined) commands.push(`neigh replace ${dst} lladdr ${lladdr} dev ${device} nud reachable`);
    }
    // Neighbours last: routes need none, and whoever is missing is asked for.
    return () => ipBatch(namespace, commands);
  }
}
