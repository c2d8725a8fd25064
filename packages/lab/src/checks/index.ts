/** All kinds of checks, and the checks of a scenario made ready to run. */
import type { Fault } from '../faults/fault.ts';
import type { Lab } from '../lab.ts';
import type { Scenario } from '../scenario/types.ts';
import { isolation } from './isolation.ts';
import { CheckContext, CheckFields, type CheckKind, type Outcome } from './kind.ts';
import { ping } from './ping.ts';
import { tcp } from './tcp.ts';
import { trace } from './trace.ts';
import { transfer } from './transfer.ts';
import { udp } from './udp.ts';
import { wire } from './wire.ts';

export const CHECK_KINDS: readonly CheckKind[] = [isolation, ping, tcp, trace, transfer, udp, wire];

/** A check with its fields read. */
export interface Check {
  readonly name: string;
  readonly kind: string;
  run(lab: Lab): Promise<Outcome>;
  sabotage(lab: Lab): Promise<Fault>;
}

/** Reads the checks of a scenario. Throws WEFT_SCENARIO with line and field. */
export function prepareChecks(scenario: Scenario): Check[] {
  return scenario.checks.map(({ name, kind: kindName, reader }) => {
    const kind = CHECK_KINDS.find((candidate) => candidate.kind === kindName);
    if (!kind) {
      const kinds = CHECK_KINDS.map((candidate) => candidate.kind).join(', ');
      return reader.openMap().get('kind').fail(`"${kindName}" is not a kind of check; the kinds are: ${kinds}`);
    }
    const fields = kind.read(new CheckFields(reader.map(['name', 'kind', ...kind.fields]), scenario));
    return {
      name,
      kind: kindName,
      run: (lab) => kind.run(new CheckContext(lab, name), fields),
      sabotage: async (lab) => kind.sabotage(new CheckContext(lab, name), fields),
    };
  });
}
