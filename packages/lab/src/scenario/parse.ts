/** From the text of a scenario file to a `Scenario`, or to an error that names line and field. */
import {
  canonicalAddressWithPrefix,
  canonicalIp,
  canonicalMac,
  canonicalSubnet,
  isAssignableMac,
  parseCidr,
  parseIp,
} from '@weft/topology';
import { LineCounter, parseDocument } from 'yaml';
import { LabError } from '../errors.ts';
import { isLabName } from '../names.ts';
import { type AgentCheck, readAgent } from './agent.ts';
import { readExternal } from './external.ts';
import { readGuestRoute } from './guest-route.ts';
import { Reader } from './reader.ts';
import { checkReferences } from './references.ts';
import { readRule } from './rule.ts';
import type {
  CheckSpec,
  Network,
  Scenario,
  ScenarioChain,
  ScenarioRoute,
  ScenarioRouter,
  Tenant,
  Vm,
  VmInterface,
} from './types.ts';

const NAME_EXPECTED = 'must be 1 to 12 of a-z, 0-9 and -, beginning with a letter';
const LONG_NAME = /^[a-z][a-z0-9-]{0,62}$/;

/** Parses and validates. `file` is what error messages call the source. Throws WEFT_SCENARIO. */
export function parseScenario(text: string, file: string, checkAgent?: AgentCheck): Scenario {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [problem] = document.errors;
  if (problem) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new LabError('WEFT_SCENARIO', `${file}:${line}:${col}: ${problem.message}`);
  }
  const root = new Reader({ file, document, lines }, document.contents, '');
  const fields = root.map(['name', 'encap', 'underlay', 'hosts', 'tenants', 'externals', 'agent', 'checks']);
  const scenario: Scenario = {
    name: fields.optional('name', readName, 'default'),
    encap: fields.optional('encap', (reader) => reader.oneOf(['vxlan', 'gre']), 'vxlan'),
    underlay: fields.optional('underlay', (reader) => reader.oneOf(['ipv4', 'ipv6']), 'ipv4'),
    hosts: fields.get('hosts').list().map(readName),
    tenants: fields.get('tenants').list().map(readTenant),
    externals: fields.optional('externals', (list) => list.list().map(readExternal), []),
    agent: fields.optional('agent', (reader) => readAgent(reader, checkAgent), {}),
    checks: fields.optional('checks', (reader) => reader.list().map(readCheck), []),
  };
  checkReferences(scenario, root);
  return scenario;
}

function readName(reader: Reader): string {
  const name = reader.string(undefined, NAME_EXPECTED);
  return isLabName(name) ? name : reader.fail(NAME_EXPECTED);
}

function readTenant(reader: Reader): Tenant {
  const fields = reader.map(['name', 'chains', 'routers', 'networks', 'vms']);
  return {
    name: readName(fields.get('name')),
    chains: fields.optional('chains', (list) => list.list().map(readChain), []),
    routers: fields.optional('routers', (list) => list.list().map(readRouter), []),
    networks: fields.get('networks').list().map(readNetwork),
    vms: fields.optional('vms', (list) => list.list().map(readVm), []),
  };
}

function readChain(reader: Reader): ScenarioChain {
  const fields = reader.map(['name', 'rules']);
  return {
    name: readName(fields.get('name')),
    rules: fields.get('rules').list().map(readRule),
  };
}

function readRouter(reader: Reader): ScenarioRouter {
  const fields = reader.map(['name', 'inboundFilter', 'outboundFilter', 'routes']);
  return {
    name: readName(fields.get('name')),
    inboundFilter: fields.optional('inboundFilter', readName),
    outboundFilter: fields.optional('outboundFilter', readName),
    routes: fields.optional('routes', (list) => list.list().map(readRoute), []),
  };
}

function readRoute(reader: Reader): ScenarioRoute {
  const fields = reader.map(['dst', 'src', 'type', 'via', 'weight']);
  const type = fields.optional('type', (field) => field.oneOf(['normal', 'blackhole', 'reject']), 'normal');
  const via = fields.optional('via', (field) => field.canonical(canonicalIp, 'must be an IPv4 or IPv6 address'));
  if (type === 'normal' && via === undefined) reader.fail('lacks the field "via", which a normal route needs');
  if (type !== 'normal' && via !== undefined) fields.get('via').fail(`has no meaning in a ${type} route`);
  const subnet = (field: Reader) => field.canonical(canonicalSubnet, 'must be a CIDR such as 10.0.0.0/24');
  const dst = subnet(fields.get('dst'));
  const src = fields.optional('src', subnet);
  const { family } = parseCidr(dst)!;
  if (src !== undefined && parseCidr(src)!.family !== family) fields.get('src').fail(`is not IPv${family}, as dst is`);
  if (via !== undefined && familyOf(via) !== family) fields.get('via').fail(`is not IPv${family}, as dst is`);
  return {
    dst,
    src,
    type,
    via,
    weight: fields.optional('weight', (field) => field.integer(0, 2 ** 31 - 1), 0),
  };
}

function readNetwork(reader: Reader): Network {
  const fields = reader.map(['name', 'router', 'gateway', 'inboundFilter', 'outboundFilter']);
  return {
    name: readName(fields.get('name')),
    router: fields.optional('router', readName),
    gateway: fields
      .get('gateway')
      .list()
      .map((item) =>
        item.canonical(canonicalAddressWithPrefix, 'must be an address with prefix length such as 10.0.0.1/24'),
      ),
    inboundFilter: fields.optional('inboundFilter', readName),
    outboundFilter: fields.optional('outboundFilter', readName),
  };
}

const INTERFACE_FIELDS = [
  'network',
  'mac',
  'addresses',
  'gateway',
  'known',
  'inboundFilter',
  'outboundFilter',
] as const;
/** What only a port of a network has. */
const NETWORK_FIELDS = ['known', 'inboundFilter', 'outboundFilter'] as const;

function readVm(reader: Reader): Vm {
  const fields = reader.map(['name', 'host', 'interfaces', 'routes', 'forward', 'mtu', ...INTERFACE_FIELDS]);
  const several = fields.has('interfaces');
  for (const name of INTERFACE_FIELDS) {
    if (several && fields.has(name)) fields.get(name).fail('belongs into the elements of "interfaces"');
  }
  const interfaces = several
    ? fields
        .get('interfaces')
        .list()
        .map((item) => readInterface(item.map(INTERFACE_FIELDS)))
    : [readInterface(fields)];
  if (interfaces.length < 1 || interfaces.length > 8) reader.fail('must have 1 to 8 interfaces');
  return {
    name: readName(fields.get('name')),
    host: readName(fields.get('host')),
    interfaces,
    routes: fields.optional('routes', (list) => list.list().map(readGuestRoute), []),
    forward: fields.optional('forward', (field) => field.boolean(), false),
    mtu: fields.optional('mtu', (field) => field.integer(1280, 65_535)),
  };
}

function readInterface(fields: ReturnType<Reader['map']>): VmInterface {
  const mac = fields.get('mac').canonical(unicastMac, 'must be a MAC address, no group’s, such as 02:00:00:00:00:01');
  const address = (item: Reader) => item.canonical(canonicalIp, 'must be an IPv4 or IPv6 address');
  if (!fields.has('network')) {
    for (const name of NETWORK_FIELDS) if (fields.has(name)) fields.get(name).fail('has no meaning without a network');
    const cidrs = fields
      .get('addresses')
      .list()
      .map((item) => item.canonical(withLength, 'must be an address with prefix length such as 10.0.0.5/24'));
    return {
      network: '',
      mac,
      addresses: cidrs.map((cidr) => cidr.split('/')[0]!),
      lengths: cidrs.map((cidr) => Number(cidr.split('/')[1])),
      gateway: fields.optional('gateway', (list) => list.list().map(address), []),
      known: false,
      inboundFilter: undefined,
      outboundFilter: undefined,
    };
  }
  if (fields.has('gateway')) fields.get('gateway').fail('follows from the network');
  return {
    network: readName(fields.get('network')),
    mac,
    addresses: fields.get('addresses').list().map(address),
    lengths: [],
    gateway: [],
    known: fields.optional('known', (field) => field.boolean(), true),
    inboundFilter: fields.optional('inboundFilter', readName),
    outboundFilter: fields.optional('outboundFilter', readName),
  };
}

function unicastMac(text: string): string | undefined {
  const mac = canonicalMac(text);
  return mac !== undefined && isAssignableMac(mac) ? mac : undefined;
}

function familyOf(ip: string): 4 | 6 {
  return parseIp(ip)!.length === 4 ? 4 : 6;
}

/** A bare address would be a subnet of its own. */
function withLength(text: string): string | undefined {
  return text.includes('/') ? canonicalAddressWithPrefix(text) : undefined;
}

function readCheck(reader: Reader): CheckSpec {
  const fields = reader.openMap();
  return {
    name: fields.get('name').string(LONG_NAME, 'must be lower-case letters, digits and hyphens, at most 63'),
    kind: fields.get('kind').string(LONG_NAME, 'must be the kind of a check'),
    reader,
  };
}
