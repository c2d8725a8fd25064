/** Tunnels: who should be reached, from which address, by which way, and what fits through. */
import { ipEquals, ipIsV4, ipParse } from '@weft/packet';
import { close, ERRNO, errnoName, NUD, openIpSender, sendIp } from '@weft/sys';
import { type Check, fail, ok, orOk, type Result, skip, warn } from './finding.ts';
import { type PathResult, probePath } from './prober.ts';
import type { Peer, Surroundings } from './surroundings.ts';

/** Peers that are probed; the doctor says how many it left out. */
const MAX_PEERS = 64;
const AT_ONCE = 8;
const same = (a: string, b: string) => ipEquals(ipParse(a), 0, ipParse(b), 0);
const nothingKnown = (s: Surroundings) => s.agent === null && s.store === null;

/** Whether this host owns the address from which it sends tunnels. */
const owns = (s: Surroundings, address: string) => s.addresses.some((own) => same(own.address, address));

export const tunnelZone: Check<Surroundings> = {
  id: 'tunnel-zone',
  asks: 'Is this host in a tunnel zone of its encapsulation?',
  why: 'Hosts find each other by tunnel zones; a host in none reaches nobody.',
  run({ store, hostId, config }) {
    if (!store) return [skip('the store does not answer')];
    const mine = store.members.filter((member) => member.host === hostId);
    const fitting = mine.filter((member) => member.type === config.encap);
    if (fitting.length > 0) return [ok(fitting.map((m) => `${m.zoneName} at ${m.address}`).join(', '))];
    if (mine.length > 0) {
      const seen = `only in zones of another type: ${mine.map((m) => `${m.zoneName} (${m.type})`).join(', ')}`;
      return [fail('', seen, `add it to a zone of type ${config.encap}, or set "encap" of the agent`)];
    }
    if (store.hostNames.size < 2) return [ok('in none, and there is no other host')];
    const fix = `weft -e "tunnel-zone ZONE add member host ${hostId} address ADDRESS"`;
    return [fail('', `in none; ${store.hostNames.size} hosts are registered`, fix)];
  },
};

export const tunnelAddress: Check<Surroundings> = {
  id: 'tunnel-address',
  asks: 'Does this host have the address at which others send to it, and nobody else?',
  why: 'Tunnel packets to an address that no host or two hosts have are lost, or reach the wrong one.',
  run(s) {
    const members = s.store?.members.filter((member) => member.type === s.config.encap) ?? [];
    const mine = s.store
      ? members.filter((member) => member.host === s.hostId).map((member) => member.address)
      : [...new Set(s.peers.map((peer) => peer.local))];
    if (mine.length === 0)
      return [skip(nothingKnown(s) ? 'neither agent nor store tells it' : 'this host is in no tunnel zone')];
    const results: Result[] = [];
    for (const address of mine) {
      if (!owns(s, address)) {
        const fix = `ip addr add ${address}/${ipIsV4(ipParse(address)) ? 32 : 128} dev lo, or give the zone the host's right address`;
        results.push(fail(address, 'is on no interface of this host', fix));
      }
    }
    const twice = new Map<string, Set<string>>();
    for (const { address, host } of members) {
      const holders = twice.get(address) ?? new Set();
      twice.set(address, holders.add(host));
    }
    for (const [address, hosts] of twice) {
      if (hosts.size < 2) continue;
      const names = [...hosts].map((id) => s.store?.hostNames.get(id) ?? id);
      results.push(
        fail(address, `${names.join(' and ')} have it both`, 'give each host its own address in the tunnel zone'),
      );
    }
    return orOk(results, mine.join(', '));
  },
};

export const peerRoutes: Check<Surroundings> = {
  id: 'peer-routes',
  asks: 'Is there a route to every peer?',
  why: 'Without a route there is no tunnel: packets to that host’s VMs are dropped (no_tunnel, peer_unreachable).',
  run(s) {
    if (nothingKnown(s)) return [skip('neither agent nor store tells the peers')];
    const results = s.peers
      .filter((peer) => peer.path.hops.length === 0)
      .map((peer) =>
        fail(peer.name, `no usable route to ${peer.remote}`, `ip route get ${peer.remote}; check links and routes`),
      );
    return orOk(results, `${s.peers.length} peers`);
  },
};

export const neighbours: Check<Surroundings> = {
  id: 'neighbours',
  asks: 'Do the next routers towards the peers answer?',
  why: 'A next hop that does not answer ARP or ND swallows every packet that is sent that way.',
  run(s) {
    if (nothingKnown(s)) return [skip('neither agent nor store tells the peers')];
    const results = new Map<string, Result>();
    for (const peer of s.peers) {
      for (const { ifindex, gateway } of peer.path.hops) {
        const address = gateway === '' ? peer.remote : gateway;
        const known = s.neighbours.find((n) => n.ifindex === ifindex && same(n.address, address));
        if (!known || (known.state & NUD.FAILED) === 0) continue;
        const name = s.links.find((link) => link.ifindex === ifindex)?.name ?? String(ifindex);
        results.set(
          `${ifindex} ${address}`,
          fail(name, `${address} does not answer`, `check the link and the router behind ${name}`),
        );
      }
    }
    return orOk([...results.values()], 'none has failed');
  },
};

export const firewall: Check<Surroundings> = {
  id: 'firewall',
  asks: 'Does the host’s own firewall let tunnel packets out?',
  why: 'The userspace driver sends by the host’s stack: what the output chain drops is lost. (The ebpf driver sends past it.)',
  run(s) {
    if (s.config.datapath !== 'userspace') return [skip('the ebpf driver sends past netfilter')];
    const results: Result[] = [];
    for (const peer of probed(s)) {
      for (const { ifindex } of peer.path.hops) {
        if (sendTunnel(s, peer, ifindex) !== ERRNO.EPERM) continue;
        const name = s.links.find((link) => link.ifindex === ifindex)?.name ?? String(ifindex);
        const what = s.config.encap === 'vxlan' ? `udp dport ${s.config.vxlanPort}` : 'ip protocol gre';
        const fix = `accept "oifname ${name} ${what}" in the output chain (nft list ruleset)`;
        results.push(
          fail(`${peer.name} by ${name}`, 'the firewall of this host drops tunnel packets on their way out', fix),
        );
      }
    }
    return orOk(results, 'a tunnel packet leaves to every peer');
  },
};

/** Sends an empty tunnel packet (key 0, no inner frame: the peer counts it as too short). @returns errno of the refusal, or 0 */
function sendTunnel(s: Surroundings, peer: Peer, ifindex: number): number {
  const remote = ipParse(peer.remote);
  const local = ipParse(peer.local);
  const v4 = ipIsV4(remote);
  const at = v4 ? 20 : 40;
  const vxlan = s.config.encap === 'vxlan';
  const packet = new Uint8Array(at + (vxlan ? 16 : 8));
  const view = new DataView(packet.buffer);
  if (v4) {
    packet[0] = 0x45;
    view.setUint16(2, packet.length);
    packet[8] = 64;
    packet[9] = vxlan ? 17 : 47;
    packet.set(local.subarray(12), 12);
    packet.set(remote.subarray(12), 16);
  } else {
    packet[0] = 0x60;
    view.setUint16(4, packet.length - at);
    packet[6] = vxlan ? 17 : 47;
    packet[7] = 64;
    packet.set(local, 8);
    packet.set(remote, 24);
  }
  if (vxlan) {
    view.setUint16(at, 49_152);
    view.setUint16(at + 2, s.config.vxlanPort);
    view.setUint16(at + 4, 16);
    packet[at + 8] = 0x08;
  } else {
    view.setUint16(at, 0x2000);
    view.setUint16(at + 2, 0x6558);
  }
  const fd = openIpSender(v4 ? 4 : 6, ifindex);
  try {
    return sendIp(fd, packet, v4 ? remote.subarray(12) : remote, ifindex);
  } finally {
    close(fd);
  }
}

/** Peers with a way, from an address that is ours. */
const probed = (s: Surroundings) =>
  s.peers.filter((peer) => peer.path.hops.length > 0 && owns(s, peer.local)).slice(0, MAX_PEERS);

export const tunnelMtu: Check<Surroundings> = {
  id: 'tunnel-mtu',
  asks: 'Do full-size packets reach every peer on every path? (Probes, with DF.)',
  why: 'A path that carries less than its link promises loses the large packets of every flow that takes it: small pings pass, transfers hang.',
  async run(s) {
    if (nothingKnown(s)) return [skip('neither agent nor store tells the peers')];
    const peers = probed(s);
    if (peers.length === 0)
      return [skip(s.peers.length === 0 ? 'there are no peers' : 'no peer can be probed: see the findings above')];
    const results: Result[] = [];
    const passed: number[] = [];
    const queue = [...peers];
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, queue.length) }, async () => {
        for (let peer = queue.shift(); peer; peer = queue.shift()) {
          const { hops } = peer.path;
          const probe = ({ ifindex }: { ifindex: number }) =>
            probePath({ ...peer, port: s.config.vxlanPort }, ifindex, sizeOf(s, ifindex));
          for (const result of await Promise.all(hops.map(probe))) {
            const verdict = judge(s, peer, result);
            if (verdict) results.push(verdict);
            else passed.push(result.size);
          }
        }
      }),
    );
    const left = s.peers.length - peers.length;
    if (left > 0) results.push(skip(`${left} more peers were not probed`));
    if (passed.length > 0 && !results.some((r) => r.status === 'fail' || r.status === 'warn')) {
      results.unshift(ok(`${Math.min(...passed)} bytes pass on ${passed.length} paths to ${peers.length} peers`));
    }
    return results;
  },
};

/** What an interface promises. */
function sizeOf(s: Surroundings, ifindex: number): number {
  return s.links.find((link) => link.ifindex === ifindex)?.mtu ?? 1500;
}

/** A finding about one path, or undefined when all is well. */
export function judge(s: Pick<Surroundings, 'links' | 'config'>, peer: Peer, r: PathResult): Result | undefined {
  const link = s.links.find((candidate) => candidate.ifindex === r.ifindex);
  const gateway = peer.path.hops.find((hop) => hop.ifindex === r.ifindex)?.gateway;
  const name = link?.name ?? String(r.ifindex);
  const subject = `${peer.name} (${peer.remote}) by ${name}${gateway ? ` via ${gateway}` : ''}`;
  const lower = (size: number) =>
    `raise the MTU on that path to ${r.size}, or tell every host: ip link set ${name} mtu ${size}; and the VMs ${
      size - overheadOf(s, peer)
    }`;
  if (r.errno === ERRNO.EPERM) {
    return warn(
      subject,
      'the firewall of this host lets no probes out',
      'let TCP to the tunnels’ port and ICMP pass, and look again',
    );
  }
  if (r.errno !== 0) {
    return fail(
      subject,
      `cannot send: ${errnoName(r.errno)}`,
      `ip route get ${peer.remote} oif ${name}; check link and route`,
    );
  }
  if (r.by === 'none') {
    const seen = 'no probe is answered, neither TCP nor echo';
    return warn(
      subject,
      seen,
      `is the host up? Let TCP to port ${s.config.vxlanPort} or ICMP echo pass from tunnel addresses, and look again`,
    );
  }
  if (r.refused > 0) {
    const seen = `${r.refused} of ${r.flows} flows meet a path that carries ${r.mtu} bytes only, not ${r.size} (says ${r.router})`;
    return fail(subject, seen, lower(r.mtu));
  }
  if (r.swallowed > 0) {
    const seen = `${r.swallowed} of ${r.flows} flows lose packets of ${r.size} bytes without a word; ${r.passes} bytes pass`;
    return fail(subject, seen, `${lower(r.passes)}; and let ICMP “fragmentation needed” pass`);
  }
  if (r.passed < r.flows) {
    const seen = `${r.flows - r.passed} of ${r.flows} flows get no answer at all`;
    return fail(subject, seen, 'one of the fabric’s equal paths loses packets: trace it (traceroute -T -p PORT)');
  }
  return undefined;
}

function overheadOf(s: Pick<Surroundings, 'config'>, peer: Peer): number {
  return (ipIsV4(ipParse(peer.remote)) ? 20 : 40) + (s.config.encap === 'gre' ? 8 : 16) + 14;
}
