/** The first half of a start: the state directory is ours, and the programs are loaded over its tables. */
import { closeSync, constants, mkdirSync, openSync, statfsSync } from 'node:fs';
import { linkDel, linkGet, NetlinkSocket, openCurrentNetns, tryLock } from '@weft/sys';
import type { DatapathOptions } from '../contract.ts';
import { DatapathError } from '../errors.ts';
import { ensureHelper, helperNames } from './devices.ts';
import {
  type EbpfObject,
  type Features,
  layoutHash,
  OBJECT_DIRECTORY,
  type ObjectRequest,
  openObject,
  openObjectInBackground,
  tableLayout,
} from './object.ts';
import { beginStart, type Start } from './upgrade/directories.ts';
import type { Layout } from './upgrade/layout-description.ts';

/** statfs(2) of a bpffs (include/uapi/linux/magic.h). */
const BPF_FS_MAGIC = 0xcafe_4a11;

/** Beside the contract's: for tests and for hosts with peculiarities. */
export interface EbpfOptions extends DatapathOptions {
  /** Directory of the object files; default `bpf/build` of this package. */
  readonly objects?: string;
  /** Object file; default `weft.bpf.o`. */
  readonly objectName?: string;
  /** Attach by clsact even where tcx is to be had. */
  readonly clsact?: boolean;
  /** Never use bpf_redirect_peer. Default false. */
  readonly noPeer?: boolean;
  /** Take the kernel's helpers for less than they are: `{ decapL3: false }`. For tests. */
  readonly features?: Partial<Features>;
  /** Make no VXLAN device for GRO. Default false. */
  readonly noGroDevice?: boolean;
}

/** What a datapath stands on. `undo`: what gives it up again. */
export interface Loaded {
  readonly lock: number;
  readonly netns: number;
  readonly nl: NetlinkSocket;
  readonly helper: { readonly near: number; readonly far: number };
  readonly start: Start;
  readonly layout: Layout;
  readonly object: EbpfObject;
  readonly undo: (() => void)[];
}

type Begun = Omit<Loaded, 'object'> & { readonly request: ObjectRequest };

/** Kernel state stays as it was found (pins, links): this process's hold on it goes, and the helper if it was not there. */
export function undoAll(undo: (() => void)[]): void {
  for (const f of undo.reverse()) f();
}

/** Takes the state directory, and says what is to be loaded. */
function begin(options: EbpfOptions): Begun {
  if (!/^[a-z0-9]{1,8}$/.test(options.instance)) {
    throw new DatapathError('WEFT_DATAPATH_OPTIONS', `'${options.instance}' is not an instance name: 1–8 of a–z, 0–9`);
  }
  const { stateDir, objects = OBJECT_DIRECTORY, objectName = 'weft.bpf.o' } = options;
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  if (statfsSync(stateDir).type !== BPF_FS_MAGIC) {
    throw new DatapathError(
      'WEFT_DATAPATH_OPTIONS',
      `${stateDir} is not on a bpffs: programs and tables cannot be pinned there; mount -t bpf bpf DIRECTORY`,
    );
  }
  const lock = openSync(stateDir, constants.O_RDONLY | constants.O_DIRECTORY);
  if (!tryLock(lock)) {
    closeSync(lock);
    throw new DatapathError('WEFT_DATAPATH_LOCKED', `${stateDir} belongs to a running process`);
  }
  const undo: (() => void)[] = [() => closeSync(lock)];
  try {
    const netns = openCurrentNetns();
    undo.push(() => closeSync(netns));
    const nl = new NetlinkSocket();
    undo.push(() => nl.close());
    const isNew = !linkGet(nl, helperNames(options.instance)[0]);
    const helper = ensureHelper(nl, options.instance);
    if (isNew) undo.push(() => linkDel(nl, helper.near));
    const layout = tableLayout(objects);
    const start = beginStart(stateDir, layoutHash(options, layout, objects));
    const config = { helper_ifindex: helper.near, use_peer: options.noPeer ? 0 : 1 };
    const without = options.features ?? {};
    const request = { options, directory: start.path, layout, config, objects, objectName, without };
    return { lock, netns, nl, helper, start, layout, request, undo };
  } catch (error) {
    undoAll(undo);
    throw error;
  }
}

/** Takes the state directory, loads the programs over its tables. Throws as `EbpfDatapath` does. */
export function load(options: EbpfOptions): Loaded {
  const begun = begin(options);
  try {
    return held(begun, openObject(begun.request));
  } catch (error) {
    undoAll(begun.undo);
    throw error;
  }
}

/** Like `load`; the kernel verifies the programs in the background. */
export async function loadInBackground(options: EbpfOptions): Promise<Loaded> {
  const begun = begin(options);
  try {
    return held(begun, await openObjectInBackground(begun.request));
  } catch (error) {
    undoAll(begun.undo);
    throw error;
  }
}

function held(begun: Begun, object: EbpfObject): Loaded {
  begun.undo.push(() => object.close());
  return { ...begun, object };
}
