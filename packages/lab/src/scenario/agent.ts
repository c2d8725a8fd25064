/** The fields that a scenario adds to the configuration of every agent. */
import type { Reader } from './reader.ts';

/** Throws an error that says what is wrong with an agent's configuration, naming the field. The agent's own knowledge. */
export type AgentCheck = (fields: Record<string, unknown>) => void;

/** What the lab sets for each agent. */
const LAB_SETS = ['hostId', 'name', 'stateDir', 'runDir', 'store', 'bpffs', 'controlSocket'];
/** Fields that one agent has, and a whole lab. */
const OF_THE_LAB = ['encap', 'datapath'];

/** Understood by the agent itself, which refuses what it does not know. */
export function readAgent(reader: Reader, check: AgentCheck | undefined): Record<string, unknown> {
  const fields = reader.openMap();
  for (const name of fields.names()) {
    if (LAB_SETS.includes(name)) fields.get(name).fail('is set by the lab, for each host');
    if (OF_THE_LAB.includes(name))
      fields.get(name).fail('is the same on all hosts: it is a field of the scenario, or an option');
    judge(fields.get(name), { [name]: fields.get(name).plain() }, check);
  }
  const agent = reader.plain() as Record<string, unknown>;
  judge(reader, agent, check);
  return agent;
}

/** Field by field, so that the message has the line of the one that is wrong. */
function judge(reader: Reader, agent: Record<string, unknown>, check: AgentCheck | undefined): void {
  try {
    check?.(agent);
  } catch (error) {
    reader.fail(`is refused by the agent: ${(error as Error).message}`);
  }
}
