/** Runs the agent as a process: until a signal or the control socket ends it. */
import type { AgentConfig } from './config.ts';
import { startAgent } from './daemon.ts';

/** SIGTERM and SIGINT stop in order; a second one ends at once. Rejects with the cause if the agent had to give up. */
export async function runAgent(config: AgentConfig): Promise<void> {
  const agent = await startAgent(config);
  let signals = 0;
  const onSignal = (): void => {
    if (++signals > 1) process.exit(1);
    agent.stop();
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    await agent.ended;
  } finally {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  }
}
