/** Kernel parameters below /proc/sys, of any network namespace. */
import { readFileSync, writeFileSync } from 'node:fs';
import { SysError, WeftSysError } from './errors.ts';
import { type Netns, runIn } from './netns.ts';

/**
 * Path parts below /proc/sys: `['net', 'ipv4', 'conf', 'eth0.100', 'forwarding']`, or the same joined by '/'.
 * Never with dots between parts: interface names contain them.
 */
export type SysctlKey = string | readonly string[];

function path(key: SysctlKey): string {
  const parts = typeof key === 'string' ? key.split('/') : key;
  for (const part of parts) {
    if (part === '' || part === '.' || part === '..' || part.includes('/') || part.includes('\0')) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${parts.join('/')}' is not a sysctl`);
    }
  }
  return `/proc/sys/${parts.join('/')}`;
}

function failure(call: string, error: unknown, file: string): Error {
  const { errno } = error as NodeJS.ErrnoException;
  return typeof errno === 'number' ? new SysError(call, -errno, file) : (error as Error);
}

// /proc/sys/net shows the namespace of the thread that opens it, and synchronous file calls run on the calling thread.
const within = <T>(netns: Netns | undefined, fn: () => T): T => (netns === undefined ? fn() : runIn(netns, fn));

/** Value of a parameter without the final newline. Throws SysError (ENOENT: no such parameter or interface). */
export function sysctlGet(key: SysctlKey, netns?: Netns): string {
  const file = path(key);
  try {
    return within(netns, () => readFileSync(file, 'latin1')).trimEnd();
  } catch (error) {
    throw failure('read', error, file);
  }
}

/** Sets a parameter. Throws SysError (ENOENT, EINVAL, EACCES, EROFS when /proc/sys is read-only). */
export function sysctlSet(key: SysctlKey, value: string | number, netns?: Netns): void {
  const file = path(key);
  try {
    within(netns, () => writeFileSync(file, `${value}`, { flag: 'r+' }));
  } catch (error) {
    throw failure('write', error, file);
  }
}
