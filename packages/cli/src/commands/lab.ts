/** `weft lab`: a whole deployment on one machine. */

import type { CheckResult, Lab } from '@weft/lab';
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { formatTable, print, printJson } from '../output.ts';
import { asOwnRoot } from '../own-root.ts';

const nameOption = ['--name <name>', 'name of the lab; several can be up at the same time', 'default'] as const;

export function labCommand(): Command {
  const lab = new Command('lab')
    .enablePositionalOptions()
    .description('hosts, fabric and VMs as network namespaces on this machine')
    .hook('preAction', (_, action) => asOwnRoot(action.name() === 'up'));
  lab
    .command('up')
    .argument('[scenario]', 'scenario file (YAML); default: the one that Weft comes with')
    .description('bring a lab up, or make sure that it is')
    .option('--name <name>', "name of the lab (default: the scenario's)")
    .option('--encap <type>', 'gre or vxlan')
    .option('--underlay <version>', 'ipv4 or ipv6: what the tunnels run over')
    .option('--hosts <count>', 'number of hosts')
    .option('--datapath <driver>', 'ebpf or userspace')
    .option('--store <kind>', 'embedded (in the API), or zookeeper (three servers, which agents reach by themselves)')
    .option('--archive <kind>', 'of connections: embedded (on each host), or cassandra (one for all hosts)')
    .option('--json', 'print what was made as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  weft lab up\n  weft lab up --encap gre --hosts 2 --name gre2\n  weft lab up --store zookeeper --name zk\n  weft lab up my-scenario.yaml',
    )
    .action(up);
  lab
    .command('check')
    .argument('[names...]', 'checks to run; default: all of the scenario')
    .description('verify the lab; status 1 when a check fails')
    .option(...nameOption)
    .option('--without-api', 'with --store zookeeper: stop the API meanwhile; what needs it is skipped')
    .option('--json', 'print the results as JSON')
    .addHelpText('after', '\nExamples:\n  weft lab check\n  weft lab check ping-l2-remote --json')
    .action(check);
  lab
    .command('sabotage')
    .argument('<check>', 'check that shall fail')
    .description('plant the fault that turns one check red; again: remove it')
    .option(...nameOption)
    .option('--remove', 'remove the fault, never plant it')
    .addHelpText(
      'after',
      '\nExamples:\n  weft lab sabotage ping-l2-remote\n  weft lab sabotage ping-l2-remote --remove',
    )
    .action(sabotage);
  lab
    .command('status')
    .description('hosts, VMs, checks and planted faults of a lab')
    .option(...nameOption)
    .option('--json', 'as JSON')
    .option('--hints', 'commands to try next')
    .addHelpText('after', '\nExample:\n  weft lab status --hints')
    .action(status);
  lab
    .command('exec')
    .argument('<where>', 'a VM, an outside network, `host:NAME`, `fabric`, or `management`')
    .argument('<command...>', 'command and its arguments, after --')
    .description('run a command inside a VM, an outside network, a host, the fabric or the management network')
    .passThroughOptions()
    .option(...nameOption)
    .addHelpText(
      'after',
      '\nExamples:\n  weft lab exec blue-a1 -- ping -c 3 10.2.0.13\n  weft lab exec host:h1 -- ip route',
    )
    .action(exec);
  lab
    .command('down')
    .description('remove everything of a lab, also after a crash')
    .option(...nameOption)
    .option('--all', 'all labs of this machine')
    .addHelpText('after', '\nExamples:\n  weft lab down\n  weft lab down --all')
    .action(down);
  return lab;
}

interface UpFlags {
  readonly name?: string;
  readonly encap?: string;
  readonly underlay?: string;
  readonly hosts?: string;
  readonly datapath?: string;
  readonly store?: string;
  readonly archive?: string;
  readonly json?: boolean;
}

async function up(scenario: string | undefined, flags: UpFlags): Promise<void> {
  const [{ DEFAULT_SCENARIO, labUp }, { parseConfig }] = await Promise.all([
    import('@weft/lab'),
    import('@weft/agent'),
  ]);
  const { json, hosts, ...texts } = flags;
  if (hosts !== undefined && !/^\d{1,5}$/.test(hosts)) {
    throw new CliError('WEFT_CLI_USAGE', `--hosts takes a number from 1 to 64, not "${hosts}"`);
  }
  const start = performance.now();
  const { lab, fresh } = await labUp(scenario ?? DEFAULT_SCENARIO, {
    // Validated by the lab, which names the values that it takes.
    ...(texts as {
      name?: string;
      encap?: 'gre';
      underlay?: 'ipv4';
      datapath?: 'ebpf';
      store?: 'embedded';
      archive?: 'embedded';
    }),
    ...(hosts !== undefined && { hosts: Number(hosts) }),
    checkAgent: (fields) => parseConfig(fields, 'agent'),
    ...(json !== true && { onStep: (text: string) => print(`  ${text}`) }),
  });
  if (json) return printJson(await describe(lab));
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  print(`lab "${lab.name}" is up ${fresh ? `after ${seconds} s` : '(it was already)'}`);
}

async function check(
  names: string[],
  { name, json, withoutApi }: { name: string; json?: boolean; withoutApi?: boolean },
): Promise<void> {
  const { openLab, runChecks, runChecksWithoutApi } = await import('@weft/lab');
  const lab = await openLab(name);
  const report = await (withoutApi ? runChecksWithoutApi : runChecks)(
    lab,
    names,
    json ? undefined : (result) => print(resultLine(result)),
  );
  if (json) printJson(report);
  else
    print(`${report.passed} passed, ${report.failed} failed${report.skipped > 0 ? `, ${report.skipped} skipped` : ''}`);
  if (report.failed > 0) process.exitCode = 1;
}

function resultLine(result: CheckResult): string {
  if (result.skipped !== undefined) return `skip ${result.name}: ${result.skipped}`;
  const head = `${result.ok ? 'ok  ' : 'FAIL'} ${result.name} (${result.ms} ms)`;
  return result.ok
    ? `${head}: ${result.seen}`
    : `${head}\n       expected: ${result.expected}\n       seen:     ${result.seen}`;
}

async function sabotage(checkName: string, { name, remove }: { name: string; remove?: boolean }): Promise<void> {
  const { openLab, plantFault, removeFault, selectChecks } = await import('@weft/lab');
  const lab = await openLab(name);
  const [chosen] = selectChecks(lab, [checkName]);
  const removed = await removeFault(lab, checkName);
  if (removed) return print(`removed the fault of ${checkName}`);
  if (remove) return print(`no fault is planted for ${checkName}`);
  const fault = await chosen!.sabotage(lab);
  await plantFault(lab, checkName, fault);
  print(`planted for ${checkName}: ${fault.what}`);
}

async function describe(lab: Lab) {
  const { serverRole } = await import('@weft/lab');
  const { plan, state } = lab;
  const isEnsemble = plan.store === 'zookeeper';
  const archive = plan.management?.archive;
  const servers = (plan.management?.servers ?? []).map(async (server) => ({
    name: server.name,
    address: server.address,
    namespace: server.namespace,
    log: server.log,
    pid: state.processes.servers?.[server.name]?.pid,
    role: (await serverRole(server)) ?? null,
  }));
  return {
    name: lab.name,
    encap: plan.encap,
    underlay: plan.underlay,
    datapath: plan.datapath,
    api: plan.paths.apiSocket,
    store: isEnsemble ? `zookeeper://${plan.management!.connectString}` : plan.paths.storeSocket,
    storeConfig: isEnsemble ? plan.paths.storeConfig : null,
    archive: archive ? { ...archive, pid: state.processes.archive?.pid } : null,
    servers: await Promise.all(servers),
    hosts: plan.hosts.map((host) => ({
      name: host.name,
      id: host.id,
      namespace: host.namespace,
      control: plan.paths.host(host.name).controlSocket,
      log: plan.paths.host(host.name).log,
      pid: state.processes.agents[host.name]?.pid,
    })),
    vms: plan.vms.map((vm) => ({
      name: vm.name,
      tenant: vm.tenant,
      host: vm.host,
      namespace: vm.namespace,
      mtu: vm.mtu,
      interfaces: vm.interfaces.map(({ device, mac, addresses, network, portId }) => ({
        device,
        mac,
        addresses,
        network,
        portId,
      })),
    })),
    externals: plan.externals.map(({ name, namespace, addresses, links }) => ({
      name,
      namespace,
      addresses,
      links: links.map(({ host, hostInterface, addresses, peer, portId }) => ({
        host,
        interface: hostInterface,
        addresses,
        peer,
        portId,
      })),
    })),
    checks: plan.scenario.checks.map((one) => one.name),
    faults: Object.keys(state.faults),
  };
}

async function status({ name, json, hints }: { name: string; json?: boolean; hints?: boolean }): Promise<void> {
  const { openLab } = await import('@weft/lab');
  const shown = await describe(await openLab(name));
  if (json) return printJson(shown);
  print(`lab "${shown.name}": ${shown.encap} over ${shown.underlay}, ${shown.datapath} datapath`);
  print(
    formatTable([['HOST', 'PID', 'LOG'], ...shown.hosts.map((host) => [host.name, String(host.pid ?? '-'), host.log])]),
  );
  if (shown.servers.length > 0 || shown.archive) {
    const { archive } = shown;
    const servers = shown.servers.map((one) => [
      one.name,
      one.address,
      one.role ?? 'away',
      String(one.pid ?? '-'),
      one.log,
    ]);
    if (archive) servers.push([archive.name, archive.address, 'archive', String(archive.pid ?? '-'), archive.log]);
    print(`\n${formatTable([['SERVER', 'ADDRESS', 'ROLE', 'PID', 'LOG'], ...servers])}`);
  }
  const rows = shown.vms.map((vm) => [
    vm.name,
    vm.tenant,
    vm.host,
    vm.interfaces.flatMap((iface) => iface.addresses).join(' '),
  ]);
  print(`\n${formatTable([['VM', 'TENANT', 'HOST', 'ADDRESSES'], ...rows])}`);
  if (shown.externals.length > 0) {
    const outside = shown.externals.map(({ name, addresses, links }) => [
      name,
      links.map((link) => link.host).join(' ') || '-',
      addresses.join(' '),
    ]);
    print(`\n${formatTable([['OUTSIDE', 'GATEWAYS', 'ADDRESSES'], ...outside])}`);
  }
  print(`\nchecks: ${shown.checks.join(', ') || 'none'}`);
  if (shown.faults.length > 0) print(`planted faults: ${shown.faults.join(', ')}`);
  if (hints) print(`\n${hintsFor(shown)}`);
}

function hintsFor({ name, vms, hosts, checks }: Awaited<ReturnType<typeof describe>>): string {
  const suffix = name === 'default' ? '' : ` --name ${name}`;
  const [one] = vms;
  const other = vms.find((vm) => vm.tenant === one?.tenant && vm.host !== one?.host) ?? one;
  const lines = ['Try next:'];
  if (one && other)
    lines.push(`  ./weft lab exec${suffix} ${one.name} -- ping -c 3 ${other.interfaces[0]!.addresses[0]}`);
  lines.push(`  ./weft flows --lab ${name} --host ${hosts[0]!.name}`, "  ./weft -e 'list bridge'");
  if (checks[0]) lines.push(`  ./weft lab sabotage ${checks[0]}${suffix}; ./weft lab check${suffix}`);
  lines.push(`  ./weft lab down${suffix}`);
  return lines.join('\n');
}

async function exec(where: string, command: string[], { name }: { name: string }): Promise<void> {
  const [{ inNetns, openLab, requireHost, requirePlace }, { spawn }] = await Promise.all([
    import('@weft/lab'),
    import('node:child_process'),
  ]);
  const lab = await openLab(name);
  const inLab = () =>
    where.startsWith('host:') ? requireHost(lab.plan, where.slice('host:'.length)) : requirePlace(lab, where);
  const { fabric, management } = lab.plan;
  const networks: Record<string, string | undefined> = { fabric, management: management?.namespace };
  const namespace = networks[where] ?? inLab().namespace;
  const [program, ...args] = inNetns(namespace, command[0] === '--' ? command.slice(1) : command);
  const child = spawn(program!, args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}

async function down({ name, all }: { name: string; all?: boolean }): Promise<void> {
  const { labDown, labNames } = await import('@weft/lab');
  const names = all ? await labNames() : [name];
  for (const one of names) {
    const { processes, namespaces } = await labDown(one);
    print(`lab "${one}": ended ${processes} processes, removed ${namespaces} namespaces`);
  }
  if (all && names.length === 0) throw new CliError('WEFT_CLI_NOT_FOUND', 'there is no lab on this machine', 1);
}
