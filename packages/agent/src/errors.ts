/** Errors of the agent that a person can see. */

export const ERRORS = {
  WEFT_AGENT_CONFIG:
    'The agent’s configuration file is missing, not JSON, or a field has a wrong value. The message names the field; mend the file and start again.',
  WEFT_AGENT_RUNNING:
    'Another agent already runs with this state directory. Stop it first, or give this one its own stateDir.',
  WEFT_AGENT_NEEDS_ROOT:
    'The agent attaches programs to interfaces and needs root (CAP_NET_ADMIN, CAP_BPF, CAP_SYS_ADMIN). Start it as root.',
  WEFT_AGENT_CONTROL:
    'A request to the agent’s control socket was not understood. See `weft agent --help` for the paths it answers.',
  WEFT_AGENT_PACKET:
    'The description of a packet was not understood; the message names the part. `weft trace --help` lists the words and fields.',
  WEFT_AGENT_NO_PORT:
    'The port to trace from is not bound on this host, or its interface is not there. `weft trace` without arguments lists the ports of a host; name another host, or bind the port.',
  WEFT_AGENT_WORKER:
    'The packet worker stopped unexpectedly. Known flows go on in the kernel; the agent exits so that its supervisor starts it anew. The log holds the cause.',
} as const;

export type AgentErrorCode = keyof typeof ERRORS;

export class AgentError extends Error {
  readonly code: AgentErrorCode;

  constructor(code: AgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AgentError';
    this.code = code;
  }
}
