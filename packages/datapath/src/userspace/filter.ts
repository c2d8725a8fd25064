/** Classic BPF filters on sockets (SO_ATTACH_FILTER): what the kernel does not even copy to us. */
import { NativeBuffer, SOL_SOCKET, setsockopt } from '@weft/sys';
import type { Encap } from '../oracle/index.ts';

const SO_ATTACH_FILTER = 26;

/** struct sock_filter: operation, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number];

const LD_H = 0x28;
const LD_B = 0x30;
const LD_H_X = 0x48;
const LD_B_X = 0x50;
/** X = 4 × (low nibble of the byte at k): the length of an IPv4 header. */
const LDX_MSH = 0xb1;
const JEQ = 0x15;
const JSET = 0x45;
const JGE = 0x35;
const LD_IMM = 0x00;
const TAX = 0x07;
const TXA = 0x87;
const RET = 0x06;

/** Nothing passes: for sockets that exist only so that the kernel does not answer for a port or protocol. */
export const FILTER_NOTHING: readonly Instruction[] = [[RET, 0, 0, 0]];

/**
 * Frames of an underlay interface that may be ours: GRE, or UDP (not a later fragment) to the VXLAN port, and the ICMP
 * errors that may speak of them.
 */
export function tunnelFilter(encap: Encap, vxlanPort: number): readonly Instruction[] {
  const proto = encap === 'gre' ? 47 : 17;
  return assemble([
    [LD_H, '', '', 12],
    [JEQ, 'v4', '', 0x0800],
    [JEQ, 'v6', 'no', 0x86dd],
    'v4',
    // A header length below the least is to be counted as such, not to hide the packet: ports are looked for behind 20 bytes.
    [LDX_MSH, '', '', 14],
    [TXA, '', '', 0],
    [JGE, 'l4', '', 20],
    [LD_IMM, '', '', 20],
    [TAX, '', '', 0],
    'l4',
    [LD_B, '', '', 23],
    [JEQ, 'icmp4', '', 1],
    [JEQ, encap === 'gre' ? 'yes' : '', 'no', proto],
    [LD_H, '', '', 20],
    [JSET, 'no', '', 0x1fff],
    [LD_H_X, '', '', 16],
    [JEQ, 'yes', 'no', vxlanPort],
    'icmp4',
    [LD_B_X, '', '', 14],
    [JEQ, 'yes', 'no', 3],
    'v6',
    [LD_B, '', '', 20],
    [JEQ, 'icmp6', '', 58],
    [JEQ, encap === 'gre' ? 'yes' : '', 'no', proto],
    [LD_H, '', '', 56],
    [JEQ, 'yes', 'no', vxlanPort],
    'icmp6',
    [LD_B, '', '', 54],
    [JEQ, 'yes', 'no', 2],
    'yes',
    [RET, '', '', 0x40000],
    'no',
    [RET, '', '', 0],
  ]);
}

/** A jump target, or an instruction whose jumps name targets ('' is the next instruction). */
type Line = string | readonly [code: number, jt: string, jf: string, k: number];

/** Resolves targets; classic BPF jumps forwards only, by up to 255. */
function assemble(lines: readonly Line[]): Instruction[] {
  const targets = new Map<string, number>();
  let n = 0;
  for (const line of lines) {
    if (typeof line === 'string') targets.set(line, n);
    else n++;
  }
  const program: Instruction[] = [];
  for (const line of lines) {
    if (typeof line === 'string') continue;
    const next = program.length + 1;
    const jump = (to: string) => (to === '' ? 0 : targets.get(to)! - next);
    program.push([line[0], jump(line[1]), jump(line[2]), line[3]]);
  }
  return program;
}

/** Attaches a filter; from then on the socket receives what it lets pass. Throws SysError. */
export function attachFilter(fd: number, program: readonly Instruction[]): void {
  const code = NativeBuffer.alloc(program.length * 8);
  try {
    program.forEach(([op, jt, jf, k], i) => {
      code.view.setUint16(i * 8, op, true);
      code.view.setUint8(i * 8 + 2, jt);
      code.view.setUint8(i * 8 + 3, jf);
      code.view.setUint32(i * 8 + 4, k, true);
    });
    const request = new Uint8Array(16); // struct sock_fprog
    const view = new DataView(request.buffer);
    view.setUint16(0, program.length, true);
    view.setUint32(8, code.address % 0x1_0000_0000, true);
    view.setUint32(12, Math.floor(code.address / 0x1_0000_0000), true);
    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, request);
  } finally {
    code.close();
  }
}
