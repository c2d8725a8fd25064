/** The rule log of this host: a file, and those who follow it. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { pino } from 'pino';
import type { AgentConfig } from '../config.ts';
import { EventLimit } from '../event-limit.ts';
import type { Log } from '../events.ts';
import type { RuleLogLine } from '../rule-log.ts';
import { RotatingFile } from './rotating-file.ts';

/** How far back the last lines are looked for, bytes. */
const TAIL_BYTES = 1 << 20;
/** Followers at a time. */
const MAX_FOLLOWERS = 8;

export class RuleLogFile {
  private readonly file: RotatingFile;
  private readonly log: Log;
  private readonly limit = new EventLimit();
  private readonly logger: ReturnType<typeof pino>;
  private readonly followers = new Set<(line: string) => void>();

  constructor(config: AgentConfig['ruleLog'], hostId: string, log: Log) {
    this.log = log;
    this.file = new RotatingFile(config.file, config.maxBytes, config.files);
    this.logger = pino({ base: { host: hostId } }, { write: (line: string) => this.take(line) });
  }

  write(line: RuleLogLine): void {
    this.logger.info(line);
  }

  private take(line: string): void {
    for (const follower of this.followers) follower(line);
    try {
      this.file.write(line);
    } catch (error) {
      const suppressed = this.limit.take('rules.log_failed', performance.now());
      if (suppressed >= 0) this.log('rules.log_failed', { error: (error as Error).message });
    }
  }

  /** The last lines of the file, the oldest first; `count` at most, and of the last MiB. Those of files before are not among them. */
  tail(count: number): string[] {
    if (count === 0) return [];
    let fd: number;
    try {
      fd = openSync(this.file.path, 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    try {
      const { size } = fstatSync(fd);
      const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
      const read = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
      const lines = bytes.subarray(0, read).toString('utf8').split('\n');
      // The first one may have been cut.
      if (size > bytes.length) lines.shift();
      return lines.filter((line) => line !== '').slice(-count);
    } finally {
      closeSync(fd);
    }
  }

  /** Hears of each line as it is written; null: there are enough who do. @returns how to stop */
  follow(hear: (line: string) => void): (() => void) | null {
    if (this.followers.size >= MAX_FOLLOWERS) return null;
    this.followers.add(hear);
    return () => this.followers.delete(hear);
  }

  close(): void {
    this.file.close();
  }
}
