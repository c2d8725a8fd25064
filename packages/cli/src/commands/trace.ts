/** `weft trace`: what becomes of a packet, and why. */
import { readFileSync } from 'node:fs';
import type { Trace } from '@weft/agent';
import { Command } from 'commander';
import {
  AGENT_OPTIONS,
  type AgentDoor,
  type AgentOptions,
  askAgent,
  findAgents,
  findPort,
  knownHosts,
} from '../agents.ts';
import { CliError } from '../errors.ts';
import { formatTable, print, printJson } from '../output.ts';
import { type Egress, traceLines } from '../trace-text.ts';

interface Options extends AgentOptions {
  readonly pcap?: string;
  readonly frame: string;
  readonly allHosts?: boolean;
  readonly live?: boolean;
  readonly count: string;
  readonly seconds: string;
  readonly payload?: boolean;
  readonly json?: boolean;
}

const MAX_PCAP = 256 << 20;

export function traceCommand(): Command {
  const command = new Command('trace')
    .description('say what becomes of a packet that enters by a port, decision by decision, and why')
    .argument('[port]', "port id, interface of a host, or a lab's VM (vm or vm:eth0); without it: list the ports")
    .argument('[packet]', "the packet: 'udp,ip_src=10.1.0.11,ip_dst=10.2.0.13,tp_dst=53'; gaps are filled in");
  for (const option of AGENT_OPTIONS()) command.addOption(option);
  return command
    .option('--pcap <file>', 'take the packet from a capture')
    .option('--frame <number>', 'which frame of the capture, from 1', '1')
    .option('--all-hosts', 'also ask the hosts that it goes to; with --live: watch all hosts')
    .option('--live', 'explain the next real packets that match; nothing happens to them')
    .option('-n, --count <number>', 'with --live: packets to explain, per host', '1')
    .option('--seconds <number>', 'with --live: how long to wait for them', '60')
    .option('--payload', 'show the bytes too')
    .option('--json', 'as JSON; with --live one line per event')
    .addHelpText('after', HELP)
    .action(trace);
}

const HELP = `
Words of a packet: ip, ip6, icmp, icmp6, tcp, udp, tcp6, udp6, sctp, arp. Fields: eth_src, eth_dst, eth_type, vlan, ip_src, ip_dst,
ip_proto, ip_ttl, ip_tos, tp_src, tp_dst, icmp_type, icmp_code, icmp_id, tcp_flags, frag (no, first, later), arp_op, arp_spa,
arp_tpa, arp_sha, arp_tha, nd_target, len; the names of ovs-ofctl(8) (dl_src, nw_dst …) are understood too.

Examples:
  weft trace blue-a1 'icmp,ip_dst=10.2.0.13'
  weft trace tap0 'tcp,ip_dst=10.2.0.13,tp_dst=443' --all-hosts
  weft trace tap0 --pcap odd.pcap --frame 7 --json
  weft trace blue-a1 udp --live -n 3 --all-hosts`;

async function trace(port: string | undefined, packet: string | undefined, options: Options): Promise<void> {
  const agents = await findAgents(options);
  if (options.live) {
    const { traceLive } = await import('../trace-live.ts');
    return traceLive(port, packet, options, agents);
  }
  if (port === undefined) return listPorts(agents, options);
  const found = await findPort(port, options, agents);
  const body = {
    port: found.port,
    payload: options.payload === true,
    ...packetOf(packet, options, await pcapReader()),
  };
  const told = await askAgent<Trace>(found.agent.socketPath, 'POST', '/trace', body);
  const egress = options.allHosts === true ? await askEgress(told, await allAgents(options, agents)) : [];
  if (options.json) printJson({ host: found.agent.name, ...told, ...(options.allHosts ? { egress } : {}) });
  else print(traceLines(found.agent.name, told, egress, await knownHosts(options, agents)).join('\n'));
}

/** Hosts other than the one named with --host, where a lab knows them. */
async function allAgents(options: Options, agents: readonly AgentDoor[]): Promise<readonly AgentDoor[]> {
  if (options.host === undefined) return agents;
  const { host: _, ...all } = options;
  return findAgents(all);
}

function listPorts(agents: readonly AgentDoor[], { json }: Options): void {
  const ports = agents.flatMap((agent) => agent.ports.map((port) => ({ host: agent.name, ...port })));
  if (json) {
    printJson(ports);
    return;
  }
  const rows = ports.map(({ host, interfaceName, live, portId }) => [
    host,
    interfaceName,
    live ? 'live' : 'away',
    portId,
  ]);
  print(formatTable([['HOST', 'INTERFACE', 'STATE', 'PORT'], ...rows]));
}

type PcapReader = (file: Uint8Array) => { linkType: number; records: { frame: Uint8Array; originalLength: number }[] };

async function pcapReader(): Promise<PcapReader> {
  return (await import('@weft/packet')).pcapRead;
}

function packetOf(packet: string | undefined, { pcap, frame }: Options, read: PcapReader): Record<string, unknown> {
  if (pcap === undefined) return { packet: packet ?? '' };
  if (packet !== undefined) throw new CliError('WEFT_CLI_USAGE', 'name a packet or a capture, not both');
  const bytes = readFileSync(pcap);
  if (bytes.length > MAX_PCAP) throw new CliError('WEFT_CLI_USAGE', `${pcap} is larger than ${MAX_PCAP} bytes`);
  const { linkType, records } = read(bytes);
  if (linkType !== 1) throw new CliError('WEFT_CLI_USAGE', `${pcap} holds no Ethernet frames`);
  const record = records[Number(frame) - 1];
  if (record === undefined) {
    throw new CliError('WEFT_CLI_USAGE', `${pcap} has ${records.length} frames; there is no frame ${frame}`);
  }
  return { frame: Buffer.from(record.frame).toString('hex'), length: record.originalLength };
}

/** What the hosts at the other end of the tunnels say of the keys. */
async function askEgress(told: Trace, agents: readonly AgentDoor[]): Promise<Egress[]> {
  const egress: Egress[] = [];
  for (const { host, key } of told.destinations) {
    if (host === undefined || key === undefined) continue;
    const agent = agents.find(({ hostId }) => hostId === host);
    if (agent === undefined) egress.push({ host, key, text: 'its agent cannot be asked from here' });
    else {
      const arrival = await askAgent<{ text: string }>(agent.socketPath, 'GET', `/arrival?key=${key}`);
      egress.push({ host: agent.name, key, text: arrival.text });
    }
  }
  return egress;
}
