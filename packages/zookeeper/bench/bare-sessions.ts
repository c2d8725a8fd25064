/**
 * Sessions that do nothing but hear of one znode: each has a watch on it and reads it when told. For a benchmark that forks it: the least
 * that so many clients can need to follow a change.
 */
import { ZooKeeper } from '../src/index.ts';

export interface StartSessions {
  readonly kind: 'start';
  readonly servers: string;
  readonly path: string;
  readonly count: number;
}

/** Answered, when all have read at least this version, with when the last one had (CLOCK_MONOTONIC, ms). */
export interface AwaitVersion {
  readonly kind: 'version';
  readonly version: number;
}

/** Of each session: the version that it has read last, and when. */
const read: { version: number; at: number }[] = [];
let wake = (): void => {};

async function open({ servers, path, count }: StartSessions): Promise<void> {
  for (let i = 0; i < count; i++) {
    const zk = await ZooKeeper.connect({ servers, sessionTimeout: 10_000 });
    const look = async (): Promise<void> => {
      const { stat } = await zk.getData(path);
      read[i] = { version: stat.version, at: Number(process.hrtime.bigint()) / 1e6 };
      wake();
    };
    await zk.addWatch(path, { onEvent: () => void look() });
    await look();
  }
}

async function allRead(version: number): Promise<number> {
  while (!read.every((one) => one.version >= version)) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  return Math.max(...read.map(({ at }) => at));
}

process.on('message', async (message: StartSessions | AwaitVersion) => {
  if (message.kind === 'start') {
    await open(message);
    process.send!({});
  } else process.send!({ at: await allRead(message.version) });
});
process.on('disconnect', () => process.exit(0));
