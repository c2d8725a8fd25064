/** Small files that must be whole after a crash. */
import { closeSync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';

/** Replaces a file (mode 0600) by `text`, on the disk before it returns. */
export function writeDurably(file: string, text: string): void {
  const fd = openSync(`${file}.new`, 'w', 0o600);
  writeSync(fd, text);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(`${file}.new`, file);
}
