/** Entry point of the `weft` command. */
import { run } from './program.ts';

process.exitCode = await run(process.argv.slice(2));
