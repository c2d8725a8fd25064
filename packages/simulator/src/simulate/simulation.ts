/** The result object: made once, filled many times. */
import { KEY_SIZE } from '@weft/flow';
import { ConnectionRecord, TUPLE_WORDS } from '@weft/flowstate';
import {
  MAX_OUTPUTS,
  MAX_RULE_HITS,
  MAX_RULE_LOGS,
  MAX_STATES,
  MAX_TAGS,
  RULE_HIT_WORDS,
  RULE_LOG_WORDS,
  type Simulation,
  VERDICT_DROP,
} from '../contract.ts';

/** Most facts and wishes of each kind that one packet can leave; what goes beyond is learned by a later packet. */
const MAX_FACTS = 16;

const NO_BYTES = new Uint8Array(0);

/** A result for any number of simulations, one at a time. */
export function newSimulation(): Simulation {
  return {
    verdict: VERDICT_DROP,
    reason: 0,
    where: 0,
    fields: 0,
    tags: new Uint32Array(MAX_TAGS),
    tagCount: 0,
    key: new Uint8Array(KEY_SIZE),
    ttlDec: 0,
    outputs: new Int32Array(MAX_OUTPUTS),
    outputCount: 0,
    outputFlood: new Int32Array(MAX_OUTPUTS),
    divergent: false,
    outputKeys: NO_BYTES,
    outputTtlDec: NO_BYTES,
    cacheable: false,
    shortLived: 0,
    generated: [],
    learnedMacs: Array.from({ length: MAX_FACTS }, () => ({ bridge: 0, vlan: 0, mac: new Uint8Array(6), port: 0 })),
    learnedMacCount: 0,
    learnedNeighbours: Array.from({ length: MAX_FACTS }, () => ({
      device: 0,
      port: 0,
      ip: new Uint8Array(16),
      mac: new Uint8Array(6),
      from: 0,
    })),
    learnedNeighbourCount: 0,
    needs: [],
    wantedNeighbours: Array.from({ length: MAX_FACTS }, () => ({ port: 0, ip: new Uint8Array(16) })),
    wantedNeighbourCount: 0,
    wantedBlocks: [],
    states: new Int32Array(MAX_STATES),
    stateCount: 0,
    created: Array.from({ length: MAX_STATES }, () => new ConnectionRecord()),
    createdRules: new Int32Array(MAX_STATES),
    createdCount: 0,
    missed: new Int32Array(MAX_STATES * TUPLE_WORDS),
    missedCount: 0,
    missedBack: false,
    frame: null,
    ruleHits: new Int32Array(MAX_RULE_HITS * RULE_HIT_WORDS),
    ruleHitCount: 0,
    ruleLogs: new Int32Array(MAX_RULE_LOGS * RULE_LOG_WORDS),
    ruleLogCount: 0,
    devices: 0,
    routers: 0,
  };
}

/** Empties all lists; leaves buffers as they are. */
export function resetSimulation(out: Simulation): void {
  out.verdict = VERDICT_DROP;
  out.reason = 0;
  out.where = 0;
  out.fields = 0;
  out.tagCount = 0;
  out.ttlDec = 0;
  out.outputCount = 0;
  out.divergent = false;
  out.cacheable = true;
  out.shortLived = 0;
  if (out.generated.length > 0) out.generated.length = 0;
  out.learnedMacCount = 0;
  out.learnedNeighbourCount = 0;
  if (out.needs.length > 0) out.needs.length = 0;
  out.wantedNeighbourCount = 0;
  if (out.wantedBlocks.length > 0) out.wantedBlocks.length = 0;
  out.stateCount = 0;
  out.createdCount = 0;
  out.missedCount = 0;
  out.missedBack = false;
  out.frame = null;
  out.ruleHitCount = 0;
  out.ruleLogCount = 0;
  out.devices = 0;
  out.routers = 0;
}
