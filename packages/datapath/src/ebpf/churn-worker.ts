/** Traffic for the churn test, on a thread of its own: test runs of the port program until told to stop. */
import { workerData } from 'node:worker_threads';
import { runIn, testRun } from '@weft/sys';

const { shared, program, ifindex, frame, netns } = workerData as {
  shared: Int32Array;
  program: number;
  ifindex: number;
  frame: Uint8Array;
  netns: number;
};

runIn({ fd: netns }, () => {
  while (Atomics.load(shared, 0) === 0) testRun(program, frame, { ifindex, repeat: 20_000 });
});
