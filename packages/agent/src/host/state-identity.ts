/**
 * What this host is among those that tell each other of connections: its key pair, and an incarnation that rises with every start. Both
 * stand in the state directory. When that is lost the clock still gives a greater incarnation than the last one, but for one that runs behind.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newHostKeys } from '@weft/flowstate';
import { AgentError } from '../errors.ts';
import type { StateIdentity } from '../worker/protocol.ts';
import { writeDurably } from './durable-file.ts';

const KEY_FILE = 'flow-state-key';
const INCARNATION_FILE = 'incarnation';
const KEYS = /^[0-9a-f]{128}\n?$/;
const MAX_INCARNATION = 0xffff_ffff;

/** Reads or makes the identity of this start. @throws AgentError WEFT_AGENT_CONFIG if the key file holds something else */
export function stateIdentity(stateDir: string): StateIdentity {
  const keyFile = join(stateDir, KEY_FILE);
  let text = read(keyFile);
  if (text === null) {
    const { privateKey, publicKey } = newHostKeys();
    text = Buffer.concat([privateKey, publicKey]).toString('hex');
    writeDurably(keyFile, `${text}\n`);
  }
  if (!KEYS.test(text)) {
    const cure = 'remove it: the agent makes new ones and publishes them';
    throw new AgentError('WEFT_AGENT_CONFIG', `${keyFile} does not hold the keys of this host; ${cure}`);
  }
  const keys = Buffer.from(text.trim(), 'hex');
  const last = Number(read(join(stateDir, INCARNATION_FILE)) ?? 0);
  // What no start can have had, so that it could not rise any more, is none.
  const next = last > 0 && last < MAX_INCARNATION ? last + 1 : 1;
  const incarnation = Math.max(next, Math.floor(Date.now() / 1000));
  writeDurably(join(stateDir, INCARNATION_FILE), `${incarnation}\n`);
  return {
    privateKey: new Uint8Array(keys.subarray(0, 32)),
    publicKey: new Uint8Array(keys.subarray(32)),
    incarnation,
  };
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return null;
  }
}
