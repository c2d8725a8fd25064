/**
 * Which program stands at which interface. A tcx link is pinned, so that it outlives this process; its program is swapped in
 * one step. Where the kernel has no tcx (before 6.6), clsact filters with our prio and name take its place.
 */
import { existsSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import {
  BPF_F_BEFORE,
  BPF_TCX_INGRESS,
  close as closeFd,
  createTcxLink,
  detachLink,
  isErrno,
  linkInfo,
  type NetlinkSocket,
  openPinned,
  pinObject,
  tcAttach,
  tcDetach,
  updateLink,
} from '@weft/sys';
import { pinDirectories, removeDirectory } from './upgrade/directories.ts';
import { PIN } from './upgrade/pins.ts';

/** What an interface is to us; the pin is called `<role>_<ifindex>`. */
export type Role = 'port' | 'closed' | 'underlay' | 'helper' | 'gro';

type Held = { role: Role; fd: number };

/** Directories of tables that are not ours: of another build, or of ours before another build was here. */
function otherDirectories(stateDir: string, own: string): string[] {
  return pinDirectories(stateDir)
    .map(({ path }) => path)
    .filter((path) => path !== own);
}

export class Links {
  readonly #directory: string;
  readonly #nl: NetlinkSocket;
  readonly #clsact: boolean;
  readonly #held = new Map<number, Held>();
  /** Links of directories with other tables, to be taken over: ifindex → what it is there, its pin and the link's id. */
  readonly #foreign = new Map<number, { role: Role; path: string; id: number }>();
  /** Interfaces that went away while nobody looked. */
  readonly vanished: { role: Role; ifindex: number }[] = [];

  /** @param stateDir where directories of other versions of us may be, among those of other programs */
  constructor(stateDir: string, directory: string, nl: NetlinkSocket, clsact: boolean) {
    this.#directory = directory;
    this.#nl = nl;
    this.#clsact = clsact;
    for (const name of readdirSync(directory)) this.#adopt(name);
    for (const path of otherDirectories(stateDir, directory)) {
      for (const name of readdirSync(path)) this.#find(path, name);
    }
  }

  /** A pin in a directory of other tables. */
  #find(directory: string, name: string): void {
    const match = PIN.exec(name);
    if (!match) return;
    const path = join(directory, name);
    const role = match[1] as Role;
    const ifindex = Number(match[2]);
    const fd = openPinned(path);
    const link = linkInfo(fd);
    const other = this.#heldId(ifindex) ?? this.#foreign.get(ifindex)?.id;
    if (link.ifindex !== ifindex) {
      unlinkSync(path);
      this.vanished.push({ role, ifindex });
    } else if (other !== undefined) {
      // The process that took it over was killed before it removed this pin; or it is a second one of ours at this interface.
      if (other !== link.id) detachLink(fd);
      unlinkSync(path);
    } else this.#foreign.set(ifindex, { role, path, id: link.id });
    closeFd(fd);
  }

  /** Id of the link that is held at an interface, 0: a clsact filter; undefined: none. */
  #heldId(ifindex: number): number | undefined {
    const held = this.#held.get(ifindex);
    return held && (held.fd < 0 ? 0 : linkInfo(held.fd).id);
  }

  /** Links that still run programs over other tables. */
  foreign(): { role: Role; ifindex: number }[] {
    return [...this.#foreign].map(([ifindex, { role }]) => ({ role, ifindex }));
  }

  #adopt(name: string): void {
    const match = PIN.exec(name);
    if (!match) return;
    const role = match[1] as Role;
    const ifindex = Number(match[2]);
    const path = join(this.#directory, name);
    const fd = openPinned(path);
    // An interface of the same name, even the same number, is not the same interface: the link knows.
    if (linkInfo(fd).ifindex === ifindex) {
      this.#held.set(ifindex, { role, fd });
      return;
    }
    closeFd(fd);
    unlinkSync(path);
    this.vanished.push({ role, ifindex });
  }

  /** Interfaces held in a role. */
  of(role: Role): number[] {
    return [...this.#held].filter(([, held]) => held.role === role).map(([ifindex]) => ifindex);
  }

  role(ifindex: number): Role | undefined {
    return this.#held.get(ifindex)?.role;
  }

  #pin(role: Role, ifindex: number): string {
    return join(this.#directory, `${role}_${ifindex}`);
  }

  /**
   * Puts `program` at the interface's ingress, in place of what of ours is there. VM ports come before all other programs,
   * the underlay's after: what an operator attached to a NIC goes first.
   */
  attach(role: Role, ifindex: number, program: number): void {
    const held = this.#held.get(ifindex);
    if (held && held.fd < 0) {
      this.#attachClsact(role, ifindex, program);
      return;
    }
    if (held) {
      try {
        updateLink(held.fd, program);
        if (held.role !== role) renameSync(this.#pin(held.role, ifindex), this.#pin(role, ifindex));
        held.role = role;
        return;
      } catch (error) {
        if (!isErrno(error, 'ENOLINK')) throw error;
        this.#forget(ifindex);
      }
    }
    if (this.#takeOver(role, ifindex, program)) return;
    if (this.#clsact) {
      this.#attachClsact(role, ifindex, program);
      return;
    }
    let fd: number;
    try {
      fd = createTcxLink(program, ifindex, BPF_TCX_INGRESS, role === 'underlay' ? 0 : BPF_F_BEFORE);
    } catch (error) {
      if (!isErrno(error, 'EINVAL')) throw error;
      this.#attachClsact(role, ifindex, program);
      return;
    }
    try {
      pinObject(fd, this.#pin(role, ifindex));
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    this.#held.set(ifindex, { role, fd });
  }

  #attachClsact(role: Role, ifindex: number, program: number): void {
    tcAttach(this.#nl, ifindex, 'ingress', program, { name: `weft_${role}` });
    this.#held.set(ifindex, { role, fd: -1 });
  }

  /** Swaps the program of a link that a version of us with other tables left, and moves its pin here. */
  #takeOver(role: Role, ifindex: number, program: number): boolean {
    const found = this.#foreign.get(ifindex);
    if (found === undefined) return false;
    const { path } = found;
    this.#foreign.delete(ifindex);
    let fd: number;
    try {
      fd = openPinned(path);
    } catch {
      return false;
    }
    if (linkInfo(fd).ifindex !== ifindex) {
      closeFd(fd);
      unlinkSync(path);
      return false;
    }
    updateLink(fd, program);
    pinObject(fd, this.#pin(role, ifindex));
    unlinkSync(path);
    this.#held.set(ifindex, { role, fd });
    return true;
  }

  /** Drops directories of other tables whose links were all taken over, or whose interfaces are gone. */
  sweepForeign(stateDir: string): void {
    for (const path of otherDirectories(stateDir, this.#directory)) {
      const alive = readdirSync(path).some((name) => {
        const match = PIN.exec(name);
        if (!match) return false;
        const fd = openPinned(join(path, name));
        const there = linkInfo(fd).ifindex !== 0;
        closeFd(fd);
        return there;
      });
      if (!alive) removeDirectory(path);
    }
  }

  /** Takes our program off the interface. Nothing happens when there is none. */
  detach(ifindex: number): void {
    const held = this.#held.get(ifindex);
    if (!held) return;
    if (held.fd < 0) tcDetach(this.#nl, ifindex, 'ingress');
    else detachLink(held.fd);
    this.#forget(ifindex);
  }

  #forget(ifindex: number): void {
    const held = this.#held.get(ifindex);
    if (!held) return;
    this.#held.delete(ifindex);
    if (held.fd < 0) return;
    const pin = this.#pin(held.role, ifindex);
    if (existsSync(pin)) unlinkSync(pin);
    closeFd(held.fd);
  }

  /** Detaches everything. */
  destroy(): void {
    for (const ifindex of [...this.#held.keys()]) this.detach(ifindex);
  }

  /** Closes descriptors; pinned links stay. */
  close(): void {
    for (const held of this.#held.values()) if (held.fd >= 0) closeFd(held.fd);
    this.#held.clear();
  }
}
