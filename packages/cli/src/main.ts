/** Entry point of the `weft` command. */
import { run } from './program.ts';

// `weft … | head` closes the pipe when it has seen enough: no reason to complain.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const status = await run(process.argv.slice(2));
process.exitCode = status;
// What a failed command left open must not keep it from ending; what it has printed must still get out.
if (status !== 0) process.stdout.write('', () => process.exit(status));
