/** A chain of rules planted as the inbound filter of a port that has none. */
import type { Fault } from './fault.ts';

export function chainFault(what: string, chainId: string, portId: string, rules: readonly object[]): Fault {
  return {
    what,
    plant: [
      { do: 'post', path: '/chains', body: { id: chainId, name: 'fault' } },
      ...rules.map((rule, i) => ({
        do: 'post' as const,
        path: `/chains/${chainId}/rules`,
        body: { ...rule, position: i + 1 },
      })),
      { do: 'patch', path: `/ports/${portId}`, fields: { inboundFilterId: chainId } },
    ],
    remove: [
      { do: 'patch', path: `/ports/${portId}`, fields: { inboundFilterId: null } },
      { do: 'delete', path: `/chains/${chainId}` },
    ],
  };
}
