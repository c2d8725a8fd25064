import koffi from 'koffi';

/** Codes of every error this package shows to a person, and what to do about each. */
export const ERRORS = {
  WEFT_SYS_PLATFORM: 'Weft needs Linux with glibc on x86_64 or aarch64. Run it on such a host.',
  WEFT_SYS_CALL:
    'A system call failed. The message names the call, the errno and what it worked on; EPERM and EACCES mean that the process lacks root or CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_BPF.',
  WEFT_SYS_NETLINK:
    "The kernel refused a netlink request. The message carries the kernel's own explanation where it gave one; ENODEV means that the interface is gone, EEXIST that the object is already there.",
  WEFT_SYS_PROTOCOL:
    'The kernel or a peer sent a message that is cut short or does not parse. Report it together with the kernel version.',
  WEFT_SYS_CLOSED: 'The object was used after it was closed. This is a fault of the program: report it.',
  WEFT_SYS_ARGUMENT:
    'An argument cannot be passed to the kernel (out of range, too long, or not an address). Correct it.',
  WEFT_SYS_LOCKED: 'Another process holds the lock. Stop the other instance, or give this one its own directory.',
  WEFT_SYS_NETNS:
    'A network namespace could not be entered, left or created. Check that /run/netns exists, that the name is right and that the process is root.',
  WEFT_SYS_LIBBPF: 'libbpf.so.1 is not installed, or does not fit this machine. Install it (Debian: libbpf1).',
  WEFT_SYS_BPF_LOAD:
    'The kernel refused an eBPF object. The message ends with what the verifier said; EPERM means that the process lacks CAP_BPF and CAP_NET_ADMIN. Weft needs Linux 6.3 or newer with CONFIG_DEBUG_INFO_BTF.',
} as const;

/** One of the codes in {@link ERRORS}. */
export type SysErrorCode = keyof typeof ERRORS;

/** Numbers that user space headers do not name, but that the kernel returns all the same. */
const KERNEL_ONLY: ReadonlyArray<readonly [string, number]> = [
  ['ENOTSUPP', 524],
  ['ERESTARTSYS', 512],
  ['EADV', 68],
  ['ESRMNT', 69],
  ['ECOMM', 70],
];

/** Preferred where two names share a number. */
const ALIASES = new Set(['EWOULDBLOCK', 'EDEADLOCK', 'ENOTSUP']);

/** errno by name, as in errno(3): `ERRNO.EAGAIN === 11`. */
export const ERRNO: Readonly<Record<string, number>> = Object.freeze({
  ...koffi.os.errno,
  ...Object.fromEntries(KERNEL_ONLY),
});

const NAMES = new Map<number, string>();
for (const [name, value] of Object.entries(ERRNO)) {
  if (!ALIASES.has(name) || !NAMES.has(value)) NAMES.set(value, name);
}

/** Name of an errno, positive or negated: `errnoName(105) === 'ENOBUFS'`; `'E999'` for a number without a name. */
export function errnoName(errno: number): string {
  const n = Math.abs(errno);
  return NAMES.get(n) ?? `E${n}`;
}

const HINTS: Readonly<Record<string, string>> = {
  EPERM: 'run as root, or grant the capability that the call needs',
  EACCES: 'run as root, or check the permissions of the path',
  EMFILE: 'the process has too many open descriptors: raise RLIMIT_NOFILE',
  ENFILE: 'the system has too many open descriptors: raise fs.file-max',
  ENOMEM: 'the kernel is out of memory, or a memory cgroup limit is reached',
  ENODEV: 'the interface does not exist (any more)',
  ENXIO: 'the interface does not exist (any more)',
  ENETDOWN: 'the interface is down',
  EOPNOTSUPP: 'this kernel or device does not support it',
  ENOTSUPP: 'this kernel or device does not support it',
  ENOSYS: 'this kernel is too old for the call',
  EAFNOSUPPORT: 'the kernel lacks this address family',
  EEXIST: 'it exists already',
};

/** What a person may do about an errno, or undefined when the name says it all. */
export function errnoHint(name: string): string | undefined {
  return HINTS[name];
}

/** A failure with a code of {@link ERRORS}. */
export class WeftSysError extends Error {
  readonly code: SysErrorCode;

  constructor(code: SysErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'WeftSysError';
    this.code = code;
  }
}

/** A system call that failed. `errno` is positive; `errnoName` is its name, `syscall` what was called. */
export class SysError extends WeftSysError {
  readonly errno: number;
  readonly errnoName: string;
  readonly syscall: string;
  readonly hint: string | undefined;

  constructor(
    syscall: string,
    errno: number,
    detail?: string,
    hint?: string,
    code: 'WEFT_SYS_CALL' | 'WEFT_SYS_NETLINK' | 'WEFT_SYS_NETNS' = 'WEFT_SYS_CALL',
  ) {
    const name = errnoName(errno);
    const advice = hint ?? errnoHint(name);
    super(code, `${syscall}${detail ? ` (${detail})` : ''}: ${name}${advice ? `: ${advice}` : ''}`);
    this.name = 'SysError';
    this.errno = Math.abs(errno);
    this.errnoName = name;
    this.syscall = syscall;
    this.hint = advice;
  }
}

/** True when `error` is a failed system call with one of these errno names. */
export function isErrno(error: unknown, ...names: string[]): error is SysError {
  return error instanceof SysError && names.includes(error.errnoName);
}
