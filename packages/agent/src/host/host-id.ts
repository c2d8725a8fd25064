/** The host's identity: a UUID made at the first start and kept in `<stateDir>/host-id`. */
import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { AgentError } from '../errors.ts';
import { writeDurably } from './durable-file.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Makes a directory of mode 0700, also if it exists with another mode. */
export function privateDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}

/**
 * The configured id, or the stored one, or a new one (stored durably before it is used).
 * @throws AgentError WEFT_AGENT_CONFIG if the file holds something else, or another id than the configured one.
 */
export function hostIdentity(stateDir: string, configured: string | null): string {
  const file = join(stateDir, 'host-id');
  let stored: string | null = null;
  try {
    stored = readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (stored !== null && !UUID.test(stored)) {
    throw new AgentError(
      'WEFT_AGENT_CONFIG',
      `${file} does not hold a UUID; restore it, or remove it to become a new host`,
    );
  }
  if (stored !== null && configured !== null && stored !== configured) {
    throw new AgentError('WEFT_AGENT_CONFIG', `hostId is ${configured}, but ${file} says ${stored}; they must agree`);
  }
  const id = stored ?? configured ?? randomUUID();
  if (stored === null) writeDurably(file, `${id}\n`);
  return id;
}
