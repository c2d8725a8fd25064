/** The lab as an ordinary user of the machine runs it: no root, no privilege, from several shells. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const weft = resolve(root, 'weft');
const scenario = resolve(import.meta.dirname, 'rootless.yaml');
const NAME = 'rootless';
/** A user without any entry or right on this machine. */
const UID = 64_321;
const labs = `/tmp/weft-lab-${UID}`;
const asUser = [
  'setpriv',
  `--reuid=${UID}`,
  `--regid=${UID}`,
  '--clear-groups',
  '--no-new-privs',
  '--bounding-set=-all',
  '--inh-caps=-all',
];

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Each call is a shell of its own. */
function shell(argv: readonly string[], env: Record<string, string> = {}): Outcome {
  const [program, ...args] = argv;
  const { status, stdout, stderr } = spawnSync(program!, args, {
    encoding: 'utf8',
    timeout: 200_000,
    env: { PATH: process.env.PATH!, HOME: '/nonexistent', ...env },
  });
  return { status: status ?? -1, stdout, stderr };
}

const user = (...args: string[]): Outcome => shell([...asUser, weft, ...args]);

function succeed(...args: string[]): string {
  const { status, stdout, stderr } = user(...args);
  assert.equal(status, 0, `weft ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

/** Processes of that user, zombies left aside. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const text = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return statSync(`/proc/${pid}`).uid === UID && text !== '' ? [text] : [];
      } catch {
        return [];
      }
    });
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, to become another user';
  if (shell([...asUser, 'test', '-r', scenario]).status !== 0) return 'other users cannot read this checkout';
  const { status, stderr } = shell([...asUser, 'unshare', '--user', '--map-root-user', '--net', '--mount', 'true']);
  return status === 0 ? false : `the kernel gives users no namespaces: ${stderr.trim()}`;
}

describe('the lab without root', { skip: whyNot() }, () => {
  const cleanUp = () => {
    user('lab', 'down', '--name', NAME);
    rmSync(labs, { recursive: true, force: true });
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      cleanUp();
      process.exit(1);
    });
  }
  let made = '';
  before(() => {
    cleanUp();
    made = succeed('lab', 'up', '--name', NAME, scenario);
  });
  after(cleanUp);

  test('says how it runs', () => {
    assert.match(made, /without root: in a user namespace of your own, on the userspace datapath/);
  });

  test('leaves nothing in the machine’s own namespaces', () => {
    const names = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
    assert.deepEqual(
      names.filter((name) => name.startsWith(`weft-${NAME}--`)),
      [],
    );
    assert.ok(!readFileSync('/proc/self/mounts', 'utf8').includes(labs));
    assert.equal(statSync(labs).mode & 0o777, 0o700);
  });

  test('is found again from another shell, and left as it is by a second `up`', () => {
    assert.match(succeed('lab', 'status', '--name', NAME), /userspace datapath/);
    assert.match(succeed('lab', 'up', '--name', NAME, scenario), /it was already/);
    assert.match(succeed('lab', 'exec', '--name', NAME, 'a1', '--', 'ping', '-c', '1', '10.2.0.12'), / 1 received/);
    assert.match(succeed('-e', 'list bridge'), /name left/);
    assert.match(succeed('flows', '--lab', NAME, '--host', 'h1'), /nw_dst=10\.2\.0\.12/);
  });

  test('keeps a status that a command ended with', () => {
    assert.equal(user('lab', 'exec', '--name', NAME, 'a1', '--', 'sh', '-c', 'exit 7').status, 7);
  });

  test('passes its checks; what cannot be looked at there is skipped with a reason', () => {
    const { stdout, stderr } = user('lab', 'check', '--name', NAME, '--json');
    assert.notEqual(stdout, '', stderr);
    const { checks } = JSON.parse(stdout) as {
      checks: { name: string; ok: boolean; skipped?: string; seen: string }[];
    };
    assert.deepEqual(
      checks.map(({ name, ok, skipped }) => [name, ok, skipped !== undefined]),
      [
        ['ping', true, false],
        ['ping6', true, false],
        ['wire', true, false],
        ['tcp', true, false],
        ['doors', false, true],
      ],
      stdout,
    );
  });

  test('a sabotaged check turns red there too', () => {
    succeed('lab', 'sabotage', '--name', NAME, 'ping');
    assert.equal(user('lab', 'check', '--name', NAME, 'ping').status, 1);
    succeed('lab', 'sabotage', '--name', NAME, 'ping');
    succeed('lab', 'check', '--name', NAME, 'ping');
  });

  test('the doctor looks at its hosts', () => {
    const { status, stdout, stderr } = user('doctor', '--lab', NAME, '--host', 'h1', '--json');
    assert.equal(status, 0, stdout + stderr);
    const { findings } = JSON.parse(stdout) as { findings: { check: string; status: string }[] };
    const statusOf = (check: string) => findings.find((finding) => finding.check === check)?.status;
    assert.equal(statusOf('tunnel-mtu'), 'ok');
    assert.equal(statusOf('programs'), 'warn', 'no program keeps the host away here, and it says so');
  });

  test('is not the labs of another user', () => {
    assert.match(shell([weft, 'lab', 'status', '--name', NAME]).stderr, /WEFT_LAB_DOWN/);
  });

  test('goes without a trace, also when the process that holds its namespaces was killed', () => {
    const { pid } = JSON.parse(readFileSync(`${labs}/holder.json`, 'utf8')) as { pid: number };
    process.kill(pid, 'SIGKILL');
    assert.match(succeed('lab', 'down', '--name', NAME), /removed 5 namespaces/);
    assert.deepEqual(processes(), []);
    assert.ok(!existsSync(labs));
    assert.match(user('lab', 'status', '--name', NAME).stderr, /WEFT_LAB_DOWN/);
  });
});

describe('the lab without root, where it cannot be', { skip: whyNot() }, () => {
  const runtime = `/tmp/weft-rootless-${process.pid}`;
  before(() => mkdirSync(runtime, { mode: 0o777 }));
  after(() => rmSync(runtime, { recursive: true, force: true }));

  test('says which setting root can change', () => {
    // A user namespace in which there may be no further ones: a kernel that allows none, for who is in it.
    const script = `echo 0 > /proc/sys/user/max_user_namespaces && exec ${weft} lab up --name ${NAME} ${scenario}`;
    const argv = ['unshare', '--user', `--map-user=${UID}`, '--keep-caps', 'sh', '-c', script];
    const { status, stderr } = shell(argv, { XDG_RUNTIME_DIR: runtime });
    assert.equal(status, 1, stderr);
    assert.match(stderr, /WEFT_LAB_USER_NAMESPACE.*repeat this as root.*sysctl -w user\.max_user_namespaces/);
    assert.deepEqual(readdirSync(runtime), []);
  });

  test('refuses the driver that needs root', () => {
    const { status, stderr } = user('lab', 'up', '--name', NAME, '--datapath', 'ebpf', scenario);
    assert.equal(status, 1);
    assert.match(stderr, /WEFT_LAB_OPTION.*no ebpf datapath/);
    assert.equal(user('lab', 'down', '--name', NAME).status, 0);
    assert.ok(!existsSync(labs));
  });
});
