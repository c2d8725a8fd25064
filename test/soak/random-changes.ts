/** Changes of a running lab chosen by a seed, each with the way back. */
import { type HostPlan, killAgent, killApi, type Lab, patch, restartAgent, restartApi, type VmPlan } from '@weft/lab';

/** Starts an agent whose last one is gone, without waiting for ports that a change may have taken from it. */
export async function revive(lab: Lab, host: HostPlan): Promise<void> {
  await restartAgent(lab, host, 0).catch((error: { code?: string }) => {
    if (error.code !== 'WEFT_LAB_TIMEOUT') throw error;
  });
}

/** A change that has been made. */
export interface Change {
  readonly what: string;
  /** Object that it occupies: no other change touches it meanwhile. */
  readonly where: string;
  undo(): Promise<void>;
}

type Make = () => Promise<Change | undefined>;

interface Named {
  readonly id: string;
  readonly name: string;
  readonly tenantId: string;
}

export class RandomChanges {
  readonly #lab: Lab;
  readonly #random: () => number;
  readonly #active: Change[] = [];
  #routers: Named[] = [];
  #bridges: Named[] = [];
  #gateways: string[] = [];
  #dead = new Set<string>();
  #chains = 0;

  constructor(lab: Lab, random: () => number) {
    this.#lab = lab;
    this.#random = random;
  }

  async open(): Promise<void> {
    const { api } = this.#lab;
    this.#routers = await api.get('/routers');
    this.#bridges = await api.get('/bridges');
    for (const { id } of this.#routers) {
      const ports = await api.get<{ id: string }[]>(`/routers/${id}/ports`);
      this.#gateways.push(...ports.map((port) => port.id));
    }
  }

  get active(): readonly Change[] {
    return this.#active;
  }

  /** Makes a change, or takes one back: the more of them there are the likelier. @returns what was done */
  async step(): Promise<string> {
    if (this.#random() < this.#active.length / 12) {
      const [change] = this.#active.splice(Math.floor(this.#random() * this.#active.length), 1);
      await change!.undo();
      return `undo ${change!.what}`;
    }
    const make = this.#pick<Make>([
      () => this.#down(`/ports/${this.#vm().interfaces[0]!.portId}`),
      () => this.#down(`/ports/${this.#pick(this.#gateways)}`),
      () => this.#down(`/bridges/${this.#pick(this.#bridges).id}`),
      () => this.#down(`/routers/${this.#pick(this.#routers).id}`),
      () => this.#filter(`/ports/${this.#vm().interfaces[0]!.portId}`),
      () => this.#filter(`/bridges/${this.#pick(this.#bridges).id}`),
      () => this.#filter(`/routers/${this.#pick(this.#routers).id}`),
      () => this.#route(),
      () => this.#route(),
      () => this.#moveMac(),
      () => this.#moveMac(),
      () => this.#forgetAddress(),
      () => this.#unbind(),
      () => this.#unlink(),
      () => this.#agentDead(),
      () => this.#agentDead(),
      () => this.#storeDead(),
    ]);
    const change = await make();
    if (change === undefined) return 'nothing';
    this.#active.push(change);
    return change.what;
  }

  /** Restarts what is dead, and leaves all other changes as they are. */
  async revive(): Promise<void> {
    for (const change of this.#active.filter(({ where }) => where.startsWith('agent '))) {
      this.#active.splice(this.#active.indexOf(change), 1);
      await change.undo();
    }
  }

  async undoAll(): Promise<void> {
    for (let change = this.#active.pop(); change; change = this.#active.pop()) await change.undo();
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }

  #vm(): VmPlan {
    return this.#pick(this.#lab.plan.vms);
  }

  #busy(where: string): boolean {
    return this.#active.some((change) => change.where === where);
  }

  async #down(path: string): Promise<Change | undefined> {
    const where = `state ${path}`;
    if (this.#busy(where)) return undefined;
    await patch(this.#lab, path, { adminStateUp: false });
    return { what: `down ${path}`, where, undo: () => patch(this.#lab, path, { adminStateUp: true }) };
  }

  async #filter(path: string): Promise<Change | undefined> {
    const field = this.#pick(['inboundFilterId', 'outboundFilterId']);
    const where = `${field} ${path}`;
    if (this.#busy(where)) return undefined;
    const { api } = this.#lab;
    const { location } = await api.post('/chains', { name: `soak ${++this.#chains}` });
    const id = location!.split('/').at(-1)!;
    const rules = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => this.#rule());
    for (const rule of rules) await api.post(`/chains/${id}/rules`, rule);
    await patch(this.#lab, path, { [field]: id });
    return {
      what: `${field} of ${path}: ${JSON.stringify(rules)}`,
      where,
      undo: async () => {
        await patch(this.#lab, path, { [field]: null });
        await api.delete(`/chains/${id}`);
      },
    };
  }

  #rule(): object {
    const low = Math.floor(this.#random() * 60_000);
    return this.#pick<object>([
      { type: 'drop' },
      { type: 'accept' },
      { type: 'drop', dlType: 0x0800, nwProto: 17, tpDst: { start: low, end: low + 5000 } },
      { type: 'accept', dlType: 0x0800, nwProto: 17, tpSrc: { start: low, end: low + 5000 } },
      { type: 'drop', dlType: 0x0800, nwProto: 1 },
      { type: 'drop', dlSrc: this.#vm().interfaces[0]!.mac },
      {
        type: 'drop',
        dlType: 0x0800,
        nwDstAddress: this.#vm().interfaces[0]!.addresses.find((address) => !address.includes(':')),
        nwDstLength: 32,
      },
    ]);
  }

  async #route(): Promise<Change | undefined> {
    const { api } = this.#lab;
    const router = this.#pick(this.#routers).id;
    const address = this.#vm().interfaces[0]!.addresses.find((one) => !one.includes(':'))!;
    const body = {
      type: this.#pick(['blackhole', 'reject']),
      srcSubnet: this.#pick(['0.0.0.0/0', '10.1.0.0/24', '10.2.0.0/24']),
      dstSubnet: this.#pick([`${address}/32`, `${address.split('.').slice(0, 3).join('.')}.0/25`, '10.0.0.0/8']),
      weight: Math.floor(this.#random() * 200),
    };
    const { location } = await api.post(`/routers/${router}/routes`, body);
    const id = location!.split('/').at(-1)!;
    return {
      what: `route ${JSON.stringify(body)} in ${router}`,
      where: `route ${id}`,
      undo: () => api.delete(`/routes/${id}`),
    };
  }

  /** What the bridge was told of a guest's place is wrong for a while. */
  async #moveMac(): Promise<Change | undefined> {
    const { api, plan } = this.#lab;
    const vm = this.#vm();
    const [iface] = vm.interfaces;
    const others = plan.vms.filter(
      (other) => other !== vm && other.tenant === vm.tenant && other.interfaces[0]!.network === iface!.network,
    );
    const where = `mac ${iface!.portId}`;
    if (!iface!.known || others.length === 0 || this.#busy(where)) return undefined;
    const { bridgeId } = await api.get<{ bridgeId: string }>(`/ports/${iface!.portId}`);
    const table = `/bridges/${bridgeId}/mac_table`;
    const move = async (from: string, to: string): Promise<void> => {
      await api.delete(`${table}/${iface!.mac.replaceAll(':', '-')}_${from}`);
      await api.post(table, { macAddr: iface!.mac, portId: to });
    };
    const { portId } = this.#pick(others).interfaces[0]!;
    await move(iface!.portId, portId);
    return { what: `${iface!.mac} at ${portId}`, where, undo: () => move(portId, iface!.portId) };
  }

  async #forgetAddress(): Promise<Change | undefined> {
    const { api } = this.#lab;
    const [iface] = this.#vm().interfaces;
    const where = `arp ${iface!.portId}`;
    if (!iface!.known || this.#busy(where)) return undefined;
    const { bridgeId } = await api.get<{ bridgeId: string }>(`/ports/${iface!.portId}`);
    const table = `/bridges/${bridgeId}/arp_table`;
    const ip = this.#pick(iface!.addresses);
    await api.delete(`${table}/${encodeURIComponent(ip)}_${iface!.mac.replaceAll(':', '-')}`);
    const undo = async (): Promise<void> => {
      await api.post(table, { ip, mac: iface!.mac });
    };
    return { what: `${ip} unknown`, where, undo };
  }

  async #unbind(): Promise<Change | undefined> {
    const { api, plan } = this.#lab;
    const vm = this.#vm();
    const [iface] = vm.interfaces;
    const where = `binding ${iface!.portId}`;
    if (this.#busy(where)) return undefined;
    const bindings = `/hosts/${plan.hosts.find((host) => host.name === vm.host)!.id}/ports`;
    await api.delete(`${bindings}/${iface!.portId}`);
    const undo = async (): Promise<void> => {
      await api.post(bindings, { portId: iface!.portId, interfaceName: iface!.tap });
    };
    return { what: `${vm.name} unbound`, where, undo };
  }

  async #unlink(): Promise<Change | undefined> {
    const { api } = this.#lab;
    const path = `/ports/${this.#pick(this.#gateways)}`;
    const where = `link ${path}`;
    if (this.#busy(where)) return undefined;
    const { peerId } = await api.get<{ peerId: string }>(path);
    await api.delete(`${path}/link`);
    const undo = async (): Promise<void> => {
      await api.post(`${path}/link`, { peerId });
    };
    return { what: `${path} unlinked`, where, undo };
  }

  /** Other changes go on meanwhile: the next agent has to find out. */
  async #agentDead(): Promise<Change | undefined> {
    const host = this.#pick(this.#lab.plan.hosts);
    const where = `agent ${host.name}`;
    if (this.#busy(where)) return undefined;
    this.#dead.add(host.name);
    await killAgent(this.#lab, host);
    const undo = async (): Promise<void> => {
      await revive(this.#lab, host);
      this.#dead.delete(host.name);
    };
    return { what: `${host.name}'s agent dead`, where, undo };
  }

  async #storeDead(): Promise<Change | undefined> {
    // Who starts it waits until all agents are there.
    if (this.#dead.size > 0) return undefined;
    await killApi(this.#lab);
    await restartApi(this.#lab);
    return { what: 'store restarted', where: `store ${this.#random()}`, undo: async () => {} };
  }
}
