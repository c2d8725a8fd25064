/** What the kernel thinks of its clock (adjtimex(2), include/uapi/linux/timex.h). */
import { cfunc, check } from './libc.ts';

const STA_UNSYNC = 0x40;
/** struct timex is 208 bytes on 64-bit machines; offsets of the fields that are read. */
const SIZE = 208;
const STATUS = 40;
const MAX_ERROR = 24;

const cAdjtimex = cfunc('adjtimex', 'int', ['void *']);

/** Whether something (NTP, PTP) keeps the clock in time, and by how much it may be wrong at most, in microseconds. */
export function clockState(): { readonly synchronised: boolean; readonly maxErrorUs: number } {
  const raw = new Uint8Array(SIZE);
  check('adjtimex', cAdjtimex(raw));
  const view = new DataView(raw.buffer);
  return {
    synchronised: (view.getInt32(STATUS, true) & STA_UNSYNC) === 0,
    maxErrorUs: Number(view.getBigInt64(MAX_ERROR, true)),
  };
}
