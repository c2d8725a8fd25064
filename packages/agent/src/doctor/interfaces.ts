/** Bound interfaces and those of the underlay: are they there, and is everything as the datapath needs it? */
import {
  addressList,
  getFeatures,
  getOffloads,
  isErrno,
  type Link,
  NetlinkSocket,
  type SysctlKey,
  sysctlGet,
  tcList,
  tcxPrograms,
} from '@weft/sys';
import { type Check, fail, ok, orOk, type Result, skip, warn } from './finding.ts';
import type { Surroundings } from './surroundings.ts';

/** A frame of this size and its outer headers fit the 16 bits of an IP length. */
const GSO_MAX_SIZE = 65_000;
/** Name of the filter with which the userspace driver keeps the host away. */
const DROP_FILTER = 'weft-drop';

/** Interfaces that are bound and there. */
const boundLinks = (s: Surroundings): Link[] => s.ports.flatMap(({ link }) => (link ? [link] : []));
const isOurs = (name: string) => name.startsWith('weft');

function sysctl(...key: string[]): string | undefined {
  try {
    return sysctlGet(key as SysctlKey);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

export const portInterfaces: Check<Surroundings> = {
  id: 'port-interfaces',
  asks: 'Is the interface of every bound port there and taken in?',
  why: 'A port without its interface is not live: nothing reaches the VM, and floods leave it out.',
  run(s) {
    if (s.agent === null && s.store === null)
      return [skip('neither the agent nor the store tells which ports are bound here')];
    const results: Result[] = [];
    for (const { portId, interfaceName, link, live } of s.ports) {
      if (!link) {
        const seen = `there is no such interface (port ${portId})`;
        results.push(
          fail(
            interfaceName,
            seen,
            `rename the VM's interface to ${interfaceName}, start the VM, or bind the port anew`,
          ),
        );
      } else if (live === false) {
        results.push(
          fail(interfaceName, `port ${portId} is not live`, 'the agent’s log says why (port.attach_failed)'),
        );
      } else if (!link.up) results.push(fail(interfaceName, 'is down', `ip link set ${interfaceName} up`));
    }
    return orOk(results, `${s.ports.length} bound, all there`);
  },
};

/** What stands at an interface's ingress, in the order packets meet it. */
interface Hook {
  /** How ours is attached; undefined: not at all. */
  readonly mode: 'tcx' | 'clsact' | undefined;
  /** Foreign programs that see packets before ours. */
  readonly ahead: readonly string[];
}

function ingressOf(nl: NetlinkSocket, link: Link, wanted: readonly string[]): Hook {
  const tcx = tcxPrograms(link.ifindex, 'ingress') ?? [];
  const filters = tcList(nl, link.ifindex, 'ingress');
  const inTcx = tcx.findIndex((program) => wanted.includes(program.name));
  if (inTcx >= 0) {
    const ahead = tcx.slice(0, inTcx);
    return { mode: 'tcx', ahead: ahead.map((program) => `tcx program ${program.id} ${program.name}`) };
  }
  const sorted = [...filters].sort((a, b) => a.prio - b.prio);
  const at = sorted.findIndex((filter) => isOurs(filter.name));
  const foreign = sorted.slice(0, at).map((filter) => `tc filter ${filter.name} (prio ${filter.prio})`);
  return {
    mode: at >= 0 ? 'clsact' : undefined,
    ahead: at >= 0 ? [...tcx.map((program) => `tcx program ${program.id} ${program.name}`), ...foreign] : [],
  };
}

export const programs: Check<Surroundings> = {
  id: 'programs',
  asks: 'Is our program at every bound port and every interface that leads to a peer?',
  why: 'An interface without its program forwards nothing; a VM’s frames then reach the host’s own stack.',
  run(s) {
    if (s.config.datapath !== 'ebpf') return dropPrograms(s);
    using nl = new NetlinkSocket();
    const results: Result[] = [];
    const modes = new Map<string, number>();
    const look = (link: Link, role: string, name: string) => {
      const { mode } = ingressOf(nl, link, [name]);
      if (mode) modes.set(mode, (modes.get(mode) ?? 0) + 1);
      else if (s.agent)
        results.push(
          fail(
            link.name,
            `no program of ours is at this ${role}`,
            'restart the agent; its log says why it could not attach',
          ),
        );
      else results.push(fail(link.name, `no program of ours is at this ${role}`, 'start the agent'));
    };
    for (const link of boundLinks(s)) look(link, 'port', 'weft_port');
    for (const link of s.underlay) look(link, 'underlay interface', 'weft_underlay');
    const seen = [...modes].map(([mode, n]) => `${n} by ${mode}`).join(', ');
    return orOk(results, seen === '' ? 'no interface needs one' : `attached: ${seen}`);
  },
};

/** The userspace driver has a program of two instructions at each port, where the kernel lets it. */
function dropPrograms(s: Surroundings): Result[] {
  using nl = new NetlinkSocket();
  if (!s.agent) return [skip('the userspace driver holds interfaces while the agent runs')];
  const without = boundLinks(s).filter(
    (link) => !tcList(nl, link.ifindex, 'ingress').some((filter) => filter.name === DROP_FILTER),
  );
  return without.length === 0
    ? [ok('the host is kept away from every port')]
    : [
        warn(
          without.map((link) => link.name).join(', '),
          'the kernel lets the agent have no BPF program here: tenants’ IPv4 frames reach the host’s stack',
          'run the agent with CAP_BPF, or have the host’s firewall drop what arrives by these interfaces',
        ),
      ];
}

export const foreignPrograms: Check<Surroundings> = {
  id: 'foreign-programs',
  asks: 'Does anyone else’s tc program see packets before ours?',
  why: 'A program ahead of ours may drop, change or redirect packets that never reach the datapath.',
  run(s) {
    if (s.config.datapath !== 'ebpf') return [skip('packet sockets see frames before tc does')];
    using nl = new NetlinkSocket();
    const results: Result[] = [];
    for (const link of [...boundLinks(s), ...s.underlay]) {
      const underlay = s.underlay.includes(link);
      const { ahead } = ingressOf(nl, link, ['weft_port', 'weft_underlay']);
      if (ahead.length === 0) continue;
      const fix = `find its owner: bpftool net show dev ${link.name}; ${
        underlay ? 'it must let tunnel packets pass' : 'nothing else may stand at a bound port'
      }`;
      results.push(warn(link.name, `ahead of ours: ${ahead.join(', ')}`, fix));
    }
    return orOk(results, 'none');
  },
};

export const hostStack: Check<Surroundings> = {
  id: 'host-stack',
  asks: 'Is the host’s own stack silent on bound interfaces?',
  why: 'A host that answers ARP, has an address or speaks IPv6 on a VM’s link can be attacked by the tenant.',
  run(s) {
    using nl = new NetlinkSocket();
    const results: Result[] = [];
    for (const { name, ifindex } of boundLinks(s)) {
      for (const { address, prefixLength } of addressList(nl, ifindex)) {
        results.push(fail(name, `has the address ${address}`, `ip addr del ${address}/${prefixLength} dev ${name}`));
      }
      const wanted: [string[], string][] = [
        [['net', 'ipv6', 'conf', name, 'disable_ipv6'], '1'],
        [['net', 'ipv4', 'conf', name, 'arp_ignore'], '8'],
        [['net', 'ipv4', 'conf', name, 'forwarding'], '0'],
      ];
      for (const [key, value] of wanted) {
        const now = sysctl(...key);
        if (now === undefined || now === value) continue;
        results.push(fail(name, `${key.join('/')} is ${now}`, `sysctl -w ${key.join('/')}=${value}`));
      }
    }
    return orOk(results, `no address, IPv6, ARP or forwarding on ${boundLinks(s).length} interfaces`);
  },
};

export const offloads: Check<Surroundings> = {
  id: 'offloads',
  asks: 'Are the offloads as tunnels need them?',
  why: 'Wrong combinations lose super-packets or leave wrong checksums; others cost throughput.',
  run(s) {
    const results: Result[] = [];
    for (const link of s.underlay) results.push(...underlayOffloads(s, link));
    for (const link of boundLinks(s)) {
      const size = Math.max(link.gsoMaxSize ?? 0, link.gsoIpv4MaxSize ?? 0);
      if (size > GSO_MAX_SIZE) {
        const fix = `ip link set ${link.name} gso_max_size ${GSO_MAX_SIZE} gso_ipv4_max_size ${GSO_MAX_SIZE}`;
        results.push(
          warn(link.name, `takes super-packets of ${size} bytes: with outer headers they are too long`, fix),
        );
      }
    }
    return orOk(results, `${s.underlay.length} underlay interfaces and ${boundLinks(s).length} ports`);
  },
};

function underlayOffloads({ config }: Surroundings, link: Link): Result[] {
  const { name } = link;
  const { gro, gso, tx, sg } = getOffloads(name);
  const features = new Map(getFeatures(name).map((feature) => [feature.name, feature.active]));
  const on = (feature: string) => features.get(feature) === true;
  const results: Result[] = [];
  // Between namespaces super-packets stay whole: nothing is there to be merged.
  if (!gro && link.kind !== 'veth')
    results.push(warn(name, 'GRO is off: packets arrive one by one', `ethtool -K ${name} gro on`));
  if (config.datapath !== 'ebpf') return results;
  if (!gso || !sg) {
    const seen = `${gso ? 'scatter-gather' : 'GSO'} is off: super-packets are copied and cut before the tunnel`;
    results.push(warn(name, seen, `ethtool -K ${name} sg on gso on`));
  }
  if (config.encap === 'vxlan' && link.kind === 'veth' && on('tx-udp-segmentation')) {
    const seen = 'tx-udp-segmentation is on: UDP super-datagrams of guests are lost behind the tunnel';
    results.push(fail(name, seen, `ethtool -K ${name} tx-udp-segmentation off (the agent does so when it attaches)`));
  }
  const tunnel = config.encap === 'vxlan' ? 'tx-udp_tnl-segmentation' : 'tx-gre-segmentation';
  if (!tx && on(tunnel)) {
    const seen = `${tunnel} is on while transmit checksums are off: inner checksums may leave unfinished`;
    results.push(fail(name, seen, `ethtool -K ${name} tx on, or ethtool -K ${name} ${tunnel} off`));
  }
  return results;
}

export const rpFilter: Check<Surroundings> = {
  id: 'rp-filter',
  asks: 'Does the host accept packets that come back by another underlay interface?',
  why: 'With strict rp_filter the host drops answers that return by another way than its own: store links and path MTU errors fail on some paths. (Tunnel packets of the ebpf driver pass before it.)',
  run({ underlay }) {
    const all = Number(sysctl('net', 'ipv4', 'conf', 'all', 'rp_filter') ?? 0);
    const strict = underlay.filter(
      ({ name }) => Math.max(all, Number(sysctl('net', 'ipv4', 'conf', name, 'rp_filter') ?? 0)) === 1,
    );
    const results = strict.map(({ name }) =>
      underlay.length < 2
        ? ok('is strict, which does no harm with one underlay interface', name)
        : warn(
            name,
            'rp_filter is strict (1)',
            `sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${name}.rp_filter=2`,
          ),
    );
    return orOk(results, 'not strict');
  },
};

export const portMtu: Check<Surroundings> = {
  id: 'port-mtu',
  asks: 'Do bound interfaces send no larger packets than the tunnels carry?',
  why: 'Larger packets of a VM are answered with “packet too big” by routers, and dropped by bridges.',
  run(s) {
    const tunnels = s.agent?.tunnels.map((tunnel) => tunnel.mtu) ?? [];
    if (tunnels.length === 0) return [skip('there are no tunnels whose MTU could be compared')];
    const least = Math.min(...tunnels);
    const large = boundLinks(s).filter((link) => link.mtu > least);
    if (large.length === 0) return [ok(`at most the tunnels’ ${least}`)];
    return large.map((link) =>
      warn(
        link.name,
        `MTU ${link.mtu}, the tunnels carry ${least}`,
        `ip link set ${link.name} mtu ${least}, and the same in the VM`,
      ),
    );
  },
};
