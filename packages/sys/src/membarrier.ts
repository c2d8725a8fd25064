import { SYS, syscall } from './libc.ts';

const MEMBARRIER_CMD_GLOBAL = 1;

/**
 * Waits until every eBPF program that runs now has ended (an RCU grace period, some tens of ms). On kernels that refuse it (full dynticks)
 * it does not wait.
 */
export function waitForKernelReaders(): void {
  syscall(SYS.membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}
