/** Offload features of an interface by SIOCETHTOOL (include/uapi/linux/ethtool.h). */
import { SysError, WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { cfunc, cString, errno } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import { type Netns, runIn } from './netns.ts';
import { IFNAME_MAX } from './rtnetlink/link.ts';
import { AF_INET, SOCK_DGRAM, socket } from './socket.ts';

const SIOCETHTOOL = 0x8946;
const ETHTOOL_GSSET_INFO = 0x37;
const ETHTOOL_GSTRINGS = 0x1b;
const ETHTOOL_GFEATURES = 0x3a;
const ETHTOOL_SFEATURES = 0x3b;
const ETH_SS_FEATURES = 4;
const ETH_GSTRING_LEN = 32;
const MAX_FEATURES = 1024;

/** Get and set commands of the switches that stand for a group of features, as `ethtool -K` names them. */
const SWITCHES = {
  rx: [0x14, 0x15],
  tx: [0x16, 0x17],
  sg: [0x18, 0x19],
  tso: [0x1e, 0x1f],
  gso: [0x23, 0x24],
  gro: [0x2b, 0x2c],
} as const;

/** rx, tx: checksums by the device; sg: scatter-gather; tso, gso: segmentation by device, kernel; gro: merging on receipt. */
export type Offload = keyof typeof SWITCHES;
export type Offloads = { [K in Offload]?: boolean };

/** One feature by the kernel's name (`ethtool -k` long form, `tx-udp_tnl-segmentation`). */
export type Feature = { name: string; active: boolean; requested: boolean; changeable: boolean };

const cIoctl = cfunc('ioctl', 'int', ['int', 'ulong', 'size_t']);

/** Issues ethtool commands for one interface in one namespace. */
class EthtoolSession {
  readonly #ifname: string;
  readonly #fd: number;
  // struct ifreq at 0, the command's own structure from 64 on.
  readonly #memory = NativeBuffer.alloc(64 + 12 + MAX_FEATURES * ETH_GSTRING_LEN);
  readonly view: DataView;

  constructor(ifname: string, netns: Netns | undefined) {
    const name = Buffer.from(ifname);
    if (name.length < 1 || name.length > IFNAME_MAX) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${ifname}' is not an interface name`);
    }
    this.#ifname = ifname;
    const open = () => socket(AF_INET, SOCK_DGRAM, 0);
    this.#fd = netns === undefined ? open() : runIn(netns, open);
    this.#memory.bytes.set(name);
    this.#memory.view.setBigUint64(16, BigInt(this.#memory.address + 64), true);
    this.view = new DataView(this.#memory.buffer, 64);
  }

  run(what: string): void {
    if (cIoctl(this.#fd, SIOCETHTOOL, this.#memory.address) === -1) {
      throw new SysError('ioctl', errno(), `SIOCETHTOOL ${what} of ${this.#ifname}`);
    }
  }

  close(): void {
    close(this.#fd);
    this.#memory.close();
  }
}

function session<T>(ifname: string, netns: Netns | undefined, fn: (s: EthtoolSession) => T): T {
  const s = new EthtoolSession(ifname, netns);
  try {
    return fn(s);
  } finally {
    s.close();
  }
}

/** The switches of an interface. Throws SysError (ENODEV). */
export function getOffloads(ifname: string, netns?: Netns): Required<Offloads> {
  return session(ifname, netns, (s) => {
    const get = (name: Offload) => {
      s.view.setUint32(0, SWITCHES[name][0], true);
      s.view.setUint32(4, 0, true);
      s.run(`get ${name}`);
      return s.view.getUint32(4, true) !== 0;
    };
    return { rx: get('rx'), tx: get('tx'), sg: get('sg'), tso: get('tso'), gso: get('gso'), gro: get('gro') };
  });
}

/**
 * Sets switches, in the order tx, sg, tso, gso, gro, rx when switching on, since the later ones need the earlier.
 * What the device cannot change is refused: SysError (EOPNOTSUPP). A dependent feature may go off with it
 * (tx off takes tso and sg along).
 */
export function setOffloads(ifname: string, offloads: Offloads, netns?: Netns): void {
  session(ifname, netns, (s) => {
    for (const name of ['tx', 'sg', 'tso', 'gso', 'gro', 'rx'] as const) {
      const on = offloads[name];
      if (on === undefined) continue;
      s.view.setUint32(0, SWITCHES[name][1], true);
      s.view.setUint32(4, on ? 1 : 0, true);
      s.run(`set ${name} ${on ? 'on' : 'off'}`);
    }
  });
}

function featureNames(s: EthtoolSession): string[] {
  s.view.setUint32(0, ETHTOOL_GSSET_INFO, true);
  s.view.setUint32(4, 0, true);
  s.view.setBigUint64(8, BigInt(1 << ETH_SS_FEATURES), true);
  s.run('count features');
  const count = s.view.getUint32(16, true);
  if (count > MAX_FEATURES) throw new WeftSysError('WEFT_SYS_PROTOCOL', `${count} interface features`);
  s.view.setUint32(0, ETHTOOL_GSTRINGS, true);
  s.view.setUint32(4, ETH_SS_FEATURES, true);
  s.view.setUint32(8, count, true);
  s.run('name features');
  const bytes = new Uint8Array(s.view.buffer, s.view.byteOffset + 12, count * ETH_GSTRING_LEN);
  return Array.from({ length: count }, (_, i) => cString(bytes, i * ETH_GSTRING_LEN, (i + 1) * ETH_GSTRING_LEN));
}

/** Every feature the kernel knows, with its state on this interface. */
export function getFeatures(ifname: string, netns?: Netns): Feature[] {
  return session(ifname, netns, (s) => {
    const names = featureNames(s);
    const blocks = Math.ceil(names.length / 32);
    s.view.setUint32(0, ETHTOOL_GFEATURES, true);
    s.view.setUint32(4, blocks, true);
    s.run('get features');
    // struct ethtool_get_features_block: available, requested, active, never_changed.
    const bit = (i: number, word: number) =>
      ((s.view.getUint32(8 + (i >> 5) * 16 + word * 4, true) >>> (i & 31)) & 1) === 1;
    return names
      .map((name, i) => ({ name, changeable: bit(i, 0) && !bit(i, 3), requested: bit(i, 1), active: bit(i, 2) }))
      .filter((f) => f.name !== '');
  });
}

/**
 * Asks for one feature by the kernel's name.
 * @returns whether it is now as asked; the kernel may hold it off while another feature that it needs is off
 * Throws SysError (EOPNOTSUPP: no such feature, or fixed on this device)
 */
export function setFeature(ifname: string, feature: string, on: boolean, netns?: Netns): boolean {
  return session(ifname, netns, (s) => {
    const names = featureNames(s);
    const index = names.indexOf(feature);
    if (index < 0) throw new SysError('ioctl', 95, `SIOCETHTOOL: no feature '${feature}'`);
    const blocks = Math.ceil(names.length / 32);
    s.view.setUint32(0, ETHTOOL_SFEATURES, true);
    s.view.setUint32(4, blocks, true);
    for (let b = 0; b < blocks; b++) {
      const mask = b === index >> 5 ? 1 << (index & 31) : 0;
      s.view.setUint32(8 + b * 8, mask >>> 0, true); // valid
      s.view.setUint32(12 + b * 8, on ? mask >>> 0 : 0, true); // requested
    }
    s.run(`set ${feature} ${on ? 'on' : 'off'}`);
    s.view.setUint32(0, ETHTOOL_GFEATURES, true);
    s.view.setUint32(4, blocks, true);
    s.run('get features');
    return ((s.view.getUint32(8 + (index >> 5) * 16 + 8, true) >>> (index & 31)) & 1) === (on ? 1 : 0);
  });
}
