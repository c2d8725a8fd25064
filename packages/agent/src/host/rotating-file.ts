/** A log file of bounded size: when it is full it becomes `<file>.1`, what was that `<file>.2`, and so on; the last one goes. */
import { closeSync, fchmodSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

export class RotatingFile {
  readonly path: string;
  private readonly maxBytes: number;
  private readonly files: number;
  private fd: number;
  private size: number;

  /** @param maxBytes of one file @param files how many, the one that is written to among them. Mode 0600. */
  constructor(path: string, maxBytes: number, files: number) {
    this.path = path;
    this.maxBytes = maxBytes;
    this.files = files;
    this.fd = this.open();
    this.size = fstatSync(this.fd).size;
  }

  private open(): number {
    const fd = openSync(this.path, 'a', 0o600);
    fchmodSync(fd, 0o600);
    return fd;
  }

  /** Appends lines; they are in the file when this returns. @throws when the disk is full or the file cannot be made */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.size > 0 && this.size + bytes.length > this.maxBytes) this.rotate();
    if (this.fd < 0) this.reopen();
    this.size += bytes.length;
    for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done);
  }

  private rotate(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    if (this.files === 1) rmSync(this.path, { force: true });
    for (let n = this.files - 1; n > 0; n--) {
      try {
        renameSync(n === 1 ? this.path : `${this.path}.${n - 1}`, `${this.path}.${n}`);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
    this.reopen();
  }

  private reopen(): void {
    this.fd = this.open();
    this.size = fstatSync(this.fd).size;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
  }
}
