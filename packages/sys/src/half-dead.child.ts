/** For a test: a process whose first thread has ended and left the others behind, holding a lock on the file that it is given. */
import { openSync } from 'node:fs';
import { syscall } from './libc.ts';
import { tryLock } from './lock.ts';

/** exit(2): of this thread alone. */
const EXIT = process.arch === 'x64' ? 60 : 93;

if (!tryLock(openSync(process.argv[2]!, 'a', 0o600))) throw new Error('the file is locked');
syscall(EXIT);
