/** Connections as a packet meets them that is only talked about: choices are foretold, not made. */
import type { StateView } from '@weft/simulator';
import type { Connections } from '../worker/connections/connections.ts';

export function hypotheticalState(connections: Connections): StateView {
  return {
    table: connections.table,
    number: (handle) => connections.number(handle),
    chooseSource: (device, target, record) => connections.pools.preview(device, target, record),
    keeps: (filter) => connections.keeps(filter),
    sourceNeed: (device, target) => connections.sourceNeed(device, target),
  };
}
