/** Kernel, memory, disk, clock, doors: what the machine gives the agent. */
import { existsSync, lstatSync, readdirSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { dirname, join } from 'node:path';
import { groName, probeKernel } from '@weft/datapath';
import { clockState } from '@weft/sys';
import { type Check, fail, ok, orOk, type Result, skip, warn } from './finding.ts';
import type { Surroundings } from './surroundings.ts';

const LEAST_KERNEL = [6, 3] as const;
const BTF = '/sys/kernel/btf/vmlinux';
/** statfs(2) of a bpffs (include/uapi/linux/magic.h). */
const BPF_FS_MAGIC = 0xcafe4a11;
const MIB = 1 << 20;
/** The snapshot and the logs need little; a full disk loses them. */
const LEAST_DISK = 64 * MIB;
/** Wall clock against steady clock since the agent's start: NTP slews at most 500 ppm (adjtimex(2)). */
const SLEW = 500e-6;
const STEP_MS = 1_000;

const usesBpf = ({ config }: Surroundings) => config.datapath === 'ebpf';

/** True if a release like `6.18.44-amd64` is at least `least`. */
export function isKernelAtLeast(text: string, least: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = text.split(/[.-]/).map(Number);
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

export const kernel: Check<Surroundings> = {
  id: 'kernel',
  asks: 'Is the kernel new enough, and does it describe its types (BTF)?',
  why: 'The eBPF programs need helpers of Linux 6.3 and the types of the running kernel; without them they cannot be loaded.',
  run(s) {
    const version = release();
    if (!usesBpf(s)) return [ok(`Linux ${version}; the userspace driver needs nothing of it`)];
    if (!isKernelAtLeast(version, LEAST_KERNEL)) {
      return [fail('', `Linux ${version}`, 'install Linux 6.3 or newer, or set "datapath": "userspace"')];
    }
    if (!existsSync(BTF)) {
      return [fail('', `${BTF} is not there`, 'use a kernel with CONFIG_DEBUG_INFO_BTF=y, and mount sysfs on /sys')];
    }
    return [ok(`Linux ${version} with BTF`)];
  },
};

export const bpfFeatures: Check<Surroundings> = {
  id: 'bpf-features',
  asks: 'Does the kernel load our programs, and know the helpers’ flags?',
  why: 'Without a program that loads nothing is forwarded; without the flags some super-packets are lost.',
  run(s) {
    if (!usesBpf(s)) return [skip('the userspace driver loads no programs')];
    try {
      const { decapL3, csumIpv6 } = probeKernel();
      const results: Result[] = [];
      if (!decapL3) {
        const seen = 'bpf_skb_adjust_room does not know the inner protocol';
        results.push(
          warn('', seen, 'use Linux 6.3 or newer: until then UDP super-packets of the other IP version are lost'),
        );
      }
      return orOk(results, `a program loads and runs; adjust_room flags${csumIpv6 ? ', IPv6 checksums' : ''}`);
    } catch (error) {
      const seen = (error as Error).message.split('\n')[0]!;
      return [
        fail('', seen, 'run as root; allow bpf(2) (lockdown, seccomp, capabilities), or set "datapath": "userspace"'),
      ];
    }
  },
};

export const bpffs: Check<Surroundings> = {
  id: 'bpffs',
  asks: 'Is there a bpffs where tables and links are pinned?',
  why: 'Pins keep forwarding alive while the agent is away; without them it cannot start, and its end ends all forwarding.',
  run(s) {
    if (!usesBpf(s)) return [skip('the userspace driver pins nothing')];
    const { bpffs: path } = s.config;
    const mount = `mount -t bpf bpf ${path}; then restart the agent`;
    try {
      if (Number(statfsSync(path).type) === BPF_FS_MAGIC) return [ok(`${path} is a bpffs`)];
      return [fail(path, 'is no bpffs: nothing can be pinned there', mount)];
    } catch (error) {
      return [fail(path, (error as Error).message, `mkdir -p ${path}; ${mount}`)];
    }
  },
};

export const memory: Check<Surroundings> = {
  id: 'memory',
  asks: 'Is there memory for the tables?',
  why: 'The tables are locked in the kernel; an agent that cannot have them does not start.',
  run(s) {
    if (!usesBpf(s) || s.agent)
      return [ok(s.agent ? 'the agent has its tables' : 'the userspace driver grows as it needs')];
    const cpus = Number(/(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))?.[1] ?? 0) + 1;
    // Flows (key 64, value 176, and the element's own), counters of 16 bytes per CPU.
    const need = s.config.limits.maxFlows * (320 + 16 * cpus) + 32 * MIB;
    const free = 1024 * Number(/MemAvailable:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1] ?? 0);
    const seen = `${Math.round(need / MIB)} MiB at most for ${s.config.limits.maxFlows} flows, ${Math.round(free / MIB)} MiB are free`;
    return [free < need ? warn('', seen, 'lower limits.maxFlows, or give the machine more memory') : ok(seen)];
  },
};

export const vxlanDevice: Check<Surroundings> = {
  id: 'vxlan-gro',
  asks: 'Does the kernel merge arriving VXLAN packets?',
  why: 'Without a VXLAN device on the port (CONFIG_VXLAN) packets arrive one by one: TCP gets about 1.6 times less through.',
  run(s) {
    const { config, agent, links } = s;
    if (!usesBpf(s) || config.encap !== 'vxlan') return [skip('only the ebpf driver with VXLAN makes one')];
    const name = groName(config.instance);
    if (links.some((link) => link.name === name)) return [ok(`${name} is there`)];
    if (!agent) return [skip('the agent makes it, and is not running')];
    return [
      warn(
        name,
        'is not there',
        `modprobe vxlan, free UDP port ${config.vxlanPort} of other VXLAN devices, restart the agent`,
      ),
    ];
  },
};

export const clock: Check<Surroundings> = {
  id: 'clock',
  asks: 'Is the clock kept in time, and has it been stepped?',
  why: 'Logs, flow ages and certificates of several hosts are compared by their clocks.',
  run({ agent }) {
    const { synchronised, maxErrorUs } = clockState();
    const results: Result[] = [];
    if (!synchronised)
      results.push(warn('', 'nothing keeps the clock in time', 'run an NTP client (chrony, systemd-timesyncd)'));
    const stepped = agent?.clockStepMs ?? 0;
    if (isStep(stepped, agent?.uptimeMs ?? 0)) {
      const seen = `stepped by ${Math.round(stepped)} ms since the agent started`;
      results.push(warn('', seen, 'find out who sets the clock; let NTP slew it'));
    }
    return orOk(results, `synchronised, wrong by ${(maxErrorUs / 1000).toFixed(1)} ms at most`);
  },
};

/** Whether a deviation of the wall clock is more than slewing explains. */
export function isStep(deviationMs: number, uptimeMs: number): boolean {
  return Math.abs(deviationMs) > STEP_MS + uptimeMs * SLEW;
}

export const disk: Check<Surroundings> = {
  id: 'disk',
  asks: 'Is there room for the snapshot, and for the store?',
  why: 'The snapshot carries the host through a restart without the store; a store without room takes no changes.',
  run({ config }) {
    const places = new Set([config.stateDir, dirname(config.store)].filter((path) => existsSync(path)));
    const results: Result[] = [];
    let least = Number.POSITIVE_INFINITY;
    for (const path of places) {
      const { bavail, bsize, ffree, files } = statfsSync(path);
      const room = bavail * bsize;
      least = Math.min(least, room);
      if (room < LEAST_DISK)
        results.push(fail(path, `${Math.round(room / MIB)} MiB are left`, 'make room on this file system'));
      else if (files > 0 && ffree < 100)
        results.push(fail(path, 'no inodes are left', 'remove files on this file system'));
    }
    return orOk(results, `${Math.round(least / MIB)} MiB are free`);
  },
};

/** Files in the state directory, snapshots included; bounded. */
function filesBelow(directory: string, found: string[] = []): string[] {
  for (const entry of existsSync(directory) ? readdirSync(directory, { withFileTypes: true }) : []) {
    const path = join(directory, entry.name);
    if (found.length >= 1_000) break;
    found.push(path);
    if (entry.isDirectory()) filesBelow(path, found);
  }
  return found;
}

export const doors: Check<Surroundings> = {
  id: 'doors',
  asks: 'Can nobody but root open sockets, keys and snapshots?',
  why: 'The control socket and the snapshot show every tenant’s network; whoever opens the store’s socket changes it.',
  run({ config }) {
    const { stateDir, runDir, controlSocket, store } = config;
    const paths = new Set(
      [stateDir, runDir, controlSocket, store, ...filesBelow(stateDir)].filter((path) => existsSync(path)),
    );
    const results: Result[] = [];
    for (const path of paths) {
      const { mode, uid } = lstatSync(path);
      const own = process.geteuid!();
      if ((mode & 0o077) !== 0) {
        const wanted = (mode & 0o170000) === 0o040000 ? '700' : '600';
        results.push(fail(path, `is open to others (${(mode & 0o777).toString(8)})`, `chmod ${wanted} ${path}`));
      } else if (uid !== own) results.push(fail(path, `belongs to user ${uid}`, `chown ${own} ${path}`));
    }
    return orOk(results, `${paths.size} files, sockets and directories are closed to others`);
  },
};
