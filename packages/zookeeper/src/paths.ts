/** Paths of znodes: what is valid, and the chroot that a client lives in. */
import { ZooKeeperError } from './errors.ts';

/**
 * What the server refuses in a path (PathUtils of Apache ZooKeeper): control characters, surrogates and the private area, empty
 * components, and components that are `.` or `..`.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const INVALID = /[\0-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\uffff]|\/\/|\/\.{1,2}(?:\/|$)/;

/** Throws WEFT_ZK_ARGUMENT unless `path` is absolute and valid. `prefix`: it may end in "/", as a number will be appended. */
export function checkPath(path: string, prefix = false): void {
  if (typeof path !== 'string' || path.charCodeAt(0) !== 47)
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `The path ${JSON.stringify(path)} does not begin with "/"`, { path });
  if (path.length === 1) return;
  if (path.charCodeAt(path.length - 1) === 47 && !prefix)
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `The path ${JSON.stringify(path)} ends in "/"`, { path });
  if (INVALID.test(path))
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `The path ${JSON.stringify(path)} is not valid`, { path });
}

/** Translates between what the caller names and what the server knows. `root` is "" or a path without "/" at its end. */
export class Chroot {
  readonly root: string;

  constructor(root: string) {
    this.root = root === '/' ? '' : root;
    if (this.root !== '') checkPath(this.root);
  }

  /** The server's path for the caller's. Throws WEFT_ZK_ARGUMENT for a path that is not valid. */
  toServer(path: string, prefix = false): string {
    checkPath(path, prefix);
    if (this.root === '') return path;
    return path === '/' && !prefix ? this.root : this.root + path;
  }

  /** The caller's path for the server's, or undefined for one outside of the chroot. */
  fromServer(path: string): string | undefined {
    if (this.root === '') return path;
    if (path === this.root) return '/';
    return path.startsWith(`${this.root}/`) ? path.slice(this.root.length) : undefined;
  }
}

/** The parent's path; undefined for "/". */
export function parentOf(path: string): string | undefined {
  if (path === '/') return undefined;
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}
