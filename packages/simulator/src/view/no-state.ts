/** What a simulator without a table of connections sees: none is known, and no port is to be had. */
import { FlowStateTable, MAX_DEVICE, NAT_EXHAUSTED } from '@weft/flowstate';
import type { StateView } from '../contract.ts';

let empty: FlowStateTable | undefined;

export function noState(): StateView {
  empty ??= new FlowStateTable({
    self: new Uint8Array(16).fill(1),
    incarnation: 1,
    capacity: 1,
    uuids: 1,
    blocks: 1,
    now: 0,
    seed: [1, 2],
  });
  return {
    table: empty,
    // Nothing is entered under it, so that any number will do.
    number: (handle) => handle & MAX_DEVICE,
    chooseSource: () => NAT_EXHAUSTED,
    keeps: () => false,
    sourceNeed: () => '',
  };
}
