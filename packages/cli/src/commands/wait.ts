/** `weft wait`: until a change is live on every host. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import type { ApiClient } from '../api/client.ts';
import { type ApiOptions, connectApi } from '../api/connect.ts';
import { addApiOptions } from '../api/options.ts';
import type { ServerEvent } from '../api/server-events.ts';
import { CliError } from '../errors.ts';
import { print, printJson } from '../output.ts';
import { type Progress, progressLine } from '../progress-text.ts';
import { StatusLine } from '../status-line.ts';

interface WaitOptions extends ApiOptions {
  readonly timeout?: string;
  readonly json?: boolean;
}

/** Milliseconds until an API whose answer broke off is asked again. */
const AGAIN_MS = 500;
const MOST_SECONDS = 1_000_000;

export function waitCommand(): Command {
  const command = new Command('wait')
    .description('wait until a change is live on every host; status 0 only then')
    .argument('[revision]', 'X-Weft-Revision of the write (default: the last one of the store)')
    .option('-t, --timeout <seconds>', 'give up after so many seconds, with status 1 (default: never)')
    .option('--json', 'print where the hosts stand at the end as JSON');
  return addApiOptions(command)
    .addHelpText('after', '\nExamples:\n  weft wait\n  weft wait 4711 --timeout 30\n  weft wait --json --timeout 5')
    .action(wait);
}

async function wait(text: string | undefined, options: WaitOptions): Promise<void> {
  if (text !== undefined && !/^\d{1,15}$/.test(text))
    throw new CliError('WEFT_CLI_USAGE', `a revision is a whole number, not "${text}"`);
  const seconds = options.timeout === undefined ? undefined : secondsFrom(options.timeout);
  const { api } = await connectApi(options);
  const line = new StatusLine(process.stderr);
  const start = performance.now();
  const signal = seconds === undefined ? undefined : AbortSignal.timeout(seconds * 1_000);
  try {
    const path = text === undefined ? await lastRevision(api) : `/convergence/${text}`;
    const end = await follow(api, path, line, signal);
    line.clear();
    if (options.json && end !== undefined) printJson(end);
    if (end?.converged !== true) {
      const where = end === undefined ? 'the API has not said where the hosts stand' : progressLine(end);
      throw new CliError('WEFT_CLI_NOT_LIVE', `${where}; gave up after ${options.timeout} s`, 1);
    }
    if (!options.json) print(`${progressLine(end)}, after ${Math.round(performance.now() - start)} ms`);
  } finally {
    line.clear();
    api.close();
  }
}

async function lastRevision(api: ApiClient): Promise<string> {
  const { revision, generation } = await api.get<{ revision: number; generation: string }>('/system_state');
  return `/convergence/${revision}?generation=${generation}`;
}

/** Shows how far the change has got until it is live on all hosts, or the time is over. Returns the last that was heard. */
async function follow(
  api: ApiClient,
  path: string,
  line: StatusLine,
  signal: AbortSignal | undefined,
): Promise<Progress | undefined> {
  let last: Progress | undefined;
  while (!signal?.aborted) {
    try {
      for await (const { event, data } of api.events(path, signal)) {
        if (event === 'trouble') line.show(() => `${(data as { message: string }).message}`);
        else if (event === 'end') endOf(data);
        else last = showProgress({ event, data }, line);
        if (event === 'converged') return last;
      }
    } catch (error) {
      // Nobody there at all is no reason to wait; one that was there may come back.
      const isGone = error instanceof CliError && error.code === 'WEFT_CLI_NO_API';
      if (signal?.aborted) break;
      if (!isGone || last === undefined) throw error;
      line.show(() => (error as Error).message);
    }
    await sleep(AGAIN_MS, undefined, { signal }).catch(() => {});
  }
  return last;
}

function showProgress({ data }: ServerEvent, line: StatusLine): Progress {
  const progress = data as Progress;
  const heard = performance.now();
  line.show(() => progressLine(progress, performance.now() - heard));
  return progress;
}

/** The API ends a stream that has lasted long; every other end is a refusal. */
function endOf(data: unknown): void {
  const { error, message } = data as { error: string; message: string };
  if (error !== 'WEFT_API_EVENTS_AGED') throw new CliError('WEFT_CLI_API', `${error} ${message}`, 1);
}

function secondsFrom(text: string): number {
  const seconds = /^\d{1,7}(?:\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (seconds > 0 && seconds <= MOST_SECONDS) return seconds;
  throw new CliError('WEFT_CLI_USAGE', `--timeout takes seconds, at most ${MOST_SECONDS}, not "${text}"`);
}
