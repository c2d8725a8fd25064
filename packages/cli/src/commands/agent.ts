/** `weft agent`: the daemon of one host. */
import { Command } from 'commander';

export function agentCommand(): Command {
  return new Command('agent')
    .description('run the agent of this host')
    .requiredOption('--config <file>', 'configuration (JSON); docs/AGENT.md lists its fields')
    .addHelpText(
      'after',
      `
Its control socket (HTTP, JSON) answers GET /status, /ports, /flows?limit=N, /counters, /metrics, /doctor, and POST /stop.

Examples:
  weft agent --config /etc/weft/agent.json
  curl --unix-socket /run/weft/agent.sock http://agent/status`,
    )
    .action(async ({ config }: { config: string }) => {
      const { loadConfig, runAgent } = await import('@weft/agent');
      await runAgent(loadConfig(config));
    });
}
