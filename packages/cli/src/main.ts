/** Entry point of the `weft` command. */
import { enableCompileCache, getCompileCacheDir } from 'node:module';
import { resolve } from 'node:path';

// What Node makes of our sources is kept beside them, never where others may write: a start would spend a good part of its time on it.
// Workers find it by the environment. Where nothing can be written all goes on as without.
enableCompileCache(resolve(import.meta.dirname, '../../../.cache/node'));
const cache = getCompileCacheDir();
if (cache !== undefined) process.env.NODE_COMPILE_CACHE ??= cache;
const { run } = await import('./program.ts');

// `weft … | head` closes the pipe when it has seen enough: no reason to complain.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const status = await run(process.argv.slice(2));
process.exitCode = status;
// What a failed command left open must not keep it from ending; what it has printed must still get out.
if (status !== 0) process.stdout.write('', () => process.exit(status));
