/** Captures with tcpdump(8) and decodes with tshark(1): other people's eyes on our frames. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Background, inNetns, run, runInBackground } from './exec.ts';
import { isUserNamespace } from './rootless.ts';
import { awaitValue } from './wait.ts';

export interface Capture {
  readonly file: string;
  /** Waits until what has been sent is surely written, and ends the capture. */
  stop(): Promise<string>;
}

let captures = 0;

/** Starts a capture on one interface of a namespace (`any` is not an interface: its frames lose their Ethernet headers). */
export async function startCapture(
  directory: string,
  namespace: string,
  device: string,
  filter: string,
  /** Most bytes kept of a frame. With the default, any, the capture's buffer holds 128 frames at a time. */
  snapLength = 0,
): Promise<Capture> {
  const file = join(directory, `${process.pid}-${++captures}.pcap`);
  await rm(file, { force: true });
  const argv = isUserNamespace()
    ? dumpcap(device, file, snapLength)
    : [
        'tcpdump',
        '-i',
        device,
        '-n',
        '-U',
        '-s',
        String(snapLength),
        '-B',
        '8192',
        '--immediate-mode',
        '-Z',
        'root',
        '-w',
        file,
      ];
  const filtered = filter === '' ? argv : isUserNamespace() ? [...argv, '-f', filter] : [...argv, filter];
  const capture: Background = runInBackground(inNetns(namespace, filtered));
  await capture.waitFor(isUserNamespace() ? 'File: ' : 'listening on');
  return {
    file,
    async stop() {
      await capture.stop();
      return file;
    },
  };
}

/** Where only one user exists tcpdump cannot become another one, which it insists on; dumpcap does not. */
function dumpcap(device: string, file: string, snapLength: number): string[] {
  const snap = snapLength === 0 ? [] : ['-s', String(snapLength)];
  return ['dumpcap', '-i', device, '-q', '-P', '-B', '8', ...snap, '-w', file];
}

/** tcpdump that reads a file. Not as root, where it would become another user first. */
const reader = (): string[] => (isUserNamespace() ? ['unshare', '--user', 'tcpdump'] : ['tcpdump']);

/** One decoded frame: the values of each field, in order of appearance (outer before inner). */
export type DecodedFrame = ReadonlyMap<string, readonly string[]>;

const SEPARATOR = '\u001f';

/** Decodes a capture; every frame has all of `fields`, possibly empty. */
export async function decode(file: string, fields: readonly string[], displayFilter = ''): Promise<DecodedFrame[]> {
  const argv = ['tshark', '-n', '-r', file, '-T', 'fields', '-E', `separator=/t`, '-E', `aggregator=${SEPARATOR}`];
  if (displayFilter !== '') argv.push('-Y', displayFilter);
  for (const field of fields) argv.push('-e', field);
  const output = await run(argv, { timeoutMs: 120_000 });
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const columns = line.split('\t');
      return new Map(fields.map((field, i) => [field, columns[i] ? columns[i].split(SEPARATOR) : []]));
    });
}

/** Number of frames in a capture that pass a filter of tcpdump. */
export async function countFrames(file: string, filter = ''): Promise<number> {
  const argv = [...reader(), '-n', '-t', '-r', file];
  const output = await run(filter === '' ? argv : [...argv, filter]);
  return output.split('\n').filter((line) => line !== '' && !/^\s/.test(line)).length;
}

/** Waits until a running capture has written a frame that passes `filter`. */
export async function awaitFrame(capture: Capture, filter: string, timeoutMs = 3000): Promise<void> {
  await awaitValue(`a frame that passes "${filter}"`, timeoutMs, async () =>
    (await countFrames(capture.file, filter)) > 0 ? true : undefined,
  );
}
