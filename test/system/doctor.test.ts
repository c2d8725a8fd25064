/** `weft doctor` on a host that is broken in one way at a time: it names exactly that, and nothing once it is healed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Finding, Report } from '../../packages/agent/src/index.ts';
import {
  killAgent,
  killApi,
  type Lab,
  labDown,
  labUp,
  requireHost,
  restartAgent,
  restartApi,
} from '../../packages/lab/src/index.ts';
import {
  BPF_F_BEFORE,
  close,
  createTcxLink,
  linkGet,
  loadObject,
  NetlinkSocket,
  runIn,
} from '../../packages/sys/src/index.ts';

const weft = resolve(import.meta.dirname, '../../weft');
const scenario = resolve(import.meta.dirname, 'doctor.yaml');
const main = resolve(import.meta.dirname, '../../packages/cli/src/main.ts');
const probe = resolve(import.meta.dirname, '../../packages/datapath/bpf/build/weft-probe.bpf.o');
const skip = process.getuid?.() === 0 ? false : 'needs root';
/** A healed host may take some seconds until its agent has followed. */
const HEALED_TRIES = 12;

function run(argv: readonly string[]): { status: number; stdout: string; stderr: string } {
  const [program, ...args] = argv;
  const { status, stdout, stderr } = spawnSync(program!, args, { encoding: 'utf8', timeout: 120_000 });
  return { status: status ?? -1, stdout, stderr };
}

/** Labs go with an interrupted run, too. */
const up = new Set<string>();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const name of up) run([weft, 'lab', 'down', '--name', name]);
    process.exit(1);
  });
}

function must(...argv: string[]): void {
  const { status, stderr } = run(argv);
  assert.equal(status, 0, `${argv.join(' ')}: ${stderr}`);
}

/** What is wrong, by the command itself. */
function examine(argv: readonly string[]): Finding[] {
  const { status, stdout, stderr } = run(argv);
  assert.notEqual(stdout, '', stderr);
  const report = JSON.parse(stdout) as Report;
  assert.equal(status, report.fail > 0 ? 1 : 0);
  return report.findings.filter((finding) => finding.status === 'fail' || finding.status === 'warn');
}

const doctor = (lab: string, host: string) => examine([weft, 'doctor', '--lab', lab, '--host', host, '--json']);
const key = ({ check, subject }: Finding) => `${check} ${subject}`;
const show = (findings: readonly Finding[]) => findings.map((f) => `${f.status} ${f.check} ${f.subject}: ${f.seen}`);

interface Broken {
  readonly what: string;
  /** Host that is examined. Default h1. */
  readonly host?: string;
  /** The one check that must name it. */
  readonly check: string;
  readonly status: 'fail' | 'warn';
  readonly seen: RegExp;
  plant(): void | Promise<void>;
  heal(): void | Promise<void>;
}

function describeBroken(
  name: string,
  options: { datapath: 'ebpf' | 'userspace' },
  cases: (lab: () => Lab) => Broken[],
): void {
  describe(`doctor in a lab on the ${options.datapath} driver`, { skip }, () => {
    let lab: Lab;
    const healthy = new Map<string, Set<string>>();
    before(async () => {
      up.add(name);
      await labDown(name);
      ({ lab } = await labUp(scenario, { name, ...options }));
      for (const host of ['h1', 'h2']) healthy.set(host, new Set(doctor(name, host).map(key)));
    });
    after(() => labDown(name));

    test('finds nothing that fails on a healthy host', () => {
      for (const host of ['h1', 'h2'])
        assert.deepEqual(show(doctor(name, host).filter((f) => f.status === 'fail')), []);
    });

    for (const broken of cases(() => lab)) {
      const host = broken.host ?? 'h1';
      const news = () => doctor(name, host).filter((finding) => !healthy.get(host)!.has(key(finding)));
      test(`names ${broken.what}, and nothing else`, async () => {
        await broken.plant();
        let found: Finding[];
        try {
          found = news();
        } finally {
          await broken.heal();
        }
        const text = show(found).join('\n');
        assert.deepEqual([...new Set(found.map((finding) => finding.check))], [broken.check], text);
        assert.ok(
          found.some((f) => f.status === broken.status && broken.seen.test(`${f.subject}: ${f.seen}`)),
          text,
        );
        assert.ok(
          found.every((finding) => finding.why !== '' && finding.fix !== ''),
          text,
        );
        let left = news();
        for (let i = 0; left.length > 0 && i < HEALED_TRIES; i++) {
          await new Promise((done) => setTimeout(done, 500));
          left = news();
        }
        assert.deepEqual(show(left), [], 'green again');
      });
    }
  });
}

const inside = (name: string, where: string) => (text: string) =>
  must('ip', 'netns', 'exec', `weft-${name}--${where}`, ...text.split(' '));

const EBPF = 'doctor-e';
describeBroken(EBPF, { datapath: 'ebpf' }, (lab) => {
  const h1 = inside(EBPF, 'host-h1');
  const fabric = inside(EBPF, 'fabric');
  const nft = (where: string, rules: string) => must('ip', 'netns', 'exec', `weft-${EBPF}--${where}`, 'nft', rules);
  const route = (src: string) =>
    `ip route replace default${src} nexthop via 10.255.1.1 dev u0 nexthop via 10.255.1.5 dev u1`;
  const member = (id: string) => `/tunnel_zones/${lab().plan.zoneId}/hosts/${id}`;
  let link = -1;
  return [
    {
      what: 'one of two paths whose MTU is too small',
      check: 'tunnel-mtu',
      status: 'fail',
      seen: /h2 .* flows meet a path that carries 1400 bytes only, not 1500 \(says 10\.255\./,
      plant: () => fabric('ip link set f-2-0 mtu 1400'),
      heal: () => fabric('ip link set f-2-0 mtu 1500'),
    },
    {
      what: 'one of two paths that swallows large packets in silence',
      check: 'tunnel-mtu',
      status: 'fail',
      seen: /lose packets of 1500 bytes without a word; 1400 bytes pass/,
      plant: () => {
        fabric('ip link set f-2-0 mtu 1400');
        nft(
          'fabric',
          'table inet doctor { chain o { type filter hook output priority 0; icmp type destination-unreachable drop; }; }',
        );
      },
      heal: () => {
        nft('fabric', 'delete table inet doctor');
        fabric('ip link set f-2-0 mtu 1500');
      },
    },
    {
      what: 'strict rp_filter',
      check: 'rp-filter',
      status: 'warn',
      seen: /u0: rp_filter is strict/,
      plant: () => h1('sysctl -q -w net.ipv4.conf.all.rp_filter=1'),
      heal: () => h1('sysctl -q -w net.ipv4.conf.all.rp_filter=0'),
    },
    {
      what: 'an offload that loses UDP super-datagrams',
      check: 'offloads',
      status: 'fail',
      seen: /u0: tx-udp-segmentation is on/,
      plant: () => h1('ethtool -K u0 tx-udp-segmentation on'),
      heal: () => h1('ethtool -K u0 tx-udp-segmentation off'),
    },
    {
      what: 'a store that cannot be reached',
      check: 'store',
      status: 'fail',
      seen: /store\.sock: /,
      plant: () => killApi(lab()),
      heal: () => restartApi(lab()),
    },
    {
      what: 'a dead agent',
      check: 'agent',
      status: 'fail',
      seen: /control\.sock: /,
      plant: () => killAgent(lab(), requireHost(lab().plan, 'h1')),
      heal: () => restartAgent(lab(), requireHost(lab().plan, 'h1')),
    },
    {
      what: 'another host that is away',
      host: 'h2',
      check: 'hosts',
      status: 'warn',
      seen: /h1: is not connected/,
      plant: () => killAgent(lab(), requireHost(lab().plan, 'h1')),
      heal: () => restartAgent(lab(), requireHost(lab().plan, 'h1')),
    },
    {
      what: 'a missing tunnel address',
      check: 'tunnel-address',
      status: 'fail',
      seen: /10\.254\.0\.1: is on no interface/,
      plant: () => {
        h1('ip addr del 10.254.0.1/32 dev lo');
        h1(route(''));
      },
      heal: () => {
        h1('ip addr add 10.254.0.1/32 dev lo');
        h1(route(' src 10.254.0.1'));
      },
    },
    {
      what: 'a host in no tunnel zone',
      check: 'tunnel-zone',
      status: 'fail',
      seen: /in none; 2 hosts are registered/,
      plant: () => lab().api.delete(member(requireHost(lab().plan, 'h1').id)),
      heal: async () => {
        const hostId = requireHost(lab().plan, 'h1').id;
        await lab().api.post(`/tunnel_zones/${lab().plan.zoneId}/hosts`, { hostId, ipAddress: '10.254.0.1' });
      },
    },
    {
      what: 'a foreign program ahead of ours',
      check: 'foreign-programs',
      status: 'warn',
      seen: /a1: ahead of ours: tcx program \d+ weft_probe/,
      plant: () => {
        const loaded = loadObject('foreign', readFileSync(probe), [], ['weft_probe']);
        link = runIn(`weft-${EBPF}--host-h1`, () => {
          using nl = new NetlinkSocket();
          return createTcxLink(loaded.programs.get('weft_probe')!, linkGet(nl, 'a1')!.ifindex, undefined, BPF_F_BEFORE);
        });
      },
      heal: () => close(link),
    },
    {
      what: 'a renamed interface of a bound port',
      check: 'port-interfaces',
      status: 'fail',
      seen: /a1: there is no such interface/,
      plant: () => h1('ip link set a1 name renamed'),
      heal: () => h1('ip link set renamed name a1'),
    },
    {
      what: 'an address of the host on a VM’s link',
      check: 'host-stack',
      status: 'fail',
      seen: /a1: has the address 192\.0\.2\.1/,
      plant: () => h1('ip addr add 192.0.2.1/24 dev a1'),
      heal: () => h1('ip addr del 192.0.2.1/24 dev a1'),
    },
    {
      what: 'a socket that is open to others',
      check: 'doors',
      status: 'fail',
      seen: /control\.sock: is open to others \(666\)/,
      plant: () => chmodSync(lab().plan.paths.host('h1').controlSocket, 0o666),
      heal: () => chmodSync(lab().plan.paths.host('h1').controlSocket, 0o600),
    },
    {
      what: 'an unmounted bpffs',
      check: 'bpffs',
      status: 'fail',
      seen: /bpf\/h1: /,
      plant: () => must('umount', '--lazy', lab().plan.paths.bpffs),
      heal: async () => {
        const { bpffs } = lab().plan.paths;
        must('mount', '-t', 'bpf', `weft-${EBPF}`, bpffs);
        chmodSync(bpffs, 0o700);
        for (const host of lab().plan.hosts) {
          await killAgent(lab(), host);
          await restartAgent(lab(), host);
        }
      },
    },
  ];
});

describe('doctor on a host without a kernel feature', { skip }, () => {
  const name = 'doctor-k';
  let config = '';
  before(async () => {
    up.add(name);
    await labDown(name);
    const { lab } = await labUp(scenario, { name });
    config = lab.plan.paths.host('h1').config;
  });
  after(() => labDown(name));
  const within = (...argv: string[]) =>
    examine([
      'nsenter',
      `--net=/run/netns/weft-${name}--host-h1`,
      ...argv,
      process.execPath,
      main,
      'doctor',
      '--json',
      '--config',
      config,
    ]).filter((finding) => finding.status === 'fail');

  test('names missing types of the kernel', () => {
    const script = 'mount -t tmpfs none /sys/kernel/btf && exec "$@"';
    const found = within('unshare', '--mount', 'sh', '-c', script, 'sh');
    assert.ok(
      found.some((f) => f.check === 'kernel' && f.seen.includes('/sys/kernel/btf/vmlinux')),
      show(found).join('\n'),
    );
    assert.ok(
      found.every((f) => ['kernel', 'bpf-features'].includes(f.check)),
      show(found).join('\n'),
    );
  });

  test('names a kernel that lets it load no programs', () => {
    const found = within('setpriv', '--bounding-set', '-bpf,-sys_admin', '--inh-caps', '-bpf,-sys_admin');
    assert.deepEqual([...new Set(found.map((f) => f.check))], ['bpf-features'], show(found).join('\n'));
  });
});

const USERSPACE = 'doctor-u';
describeBroken(USERSPACE, { datapath: 'userspace' }, () => {
  const nft = (rules: string) => must('ip', 'netns', 'exec', `weft-${USERSPACE}--host-h1`, 'nft', rules);
  return [
    {
      what: 'a firewall that eats tunnels',
      check: 'firewall',
      status: 'fail',
      seen: /h2 by u0: the firewall of this host drops tunnel packets/,
      plant: () => nft('table inet doctor { chain o { type filter hook output priority 0; udp dport 4789 drop; }; }'),
      heal: () => nft('delete table inet doctor'),
    },
  ];
});
