/** Keeps what rules have matched for the next process: loads it at the start, writes it down from time to time and at the end. */
import type { VirtualTopology } from '@weft/simulator';
import type { Core } from './core.ts';
import { encodeRuleState, type RuleStore, restoreRuleState } from './rule-state.ts';

/** With more flows than this it is written down only so often, ms, instead of at each call. */
const MANY_FLOWS = 16_384;
const SAVE_MS = 10_000;

export class RuleKeeper {
  private readonly core: Core;
  private readonly view: VirtualTopology;
  private readonly store: RuleStore | undefined;
  private readonly clock: () => number;
  private nextSave = 0;

  /** @param store where it is kept; absent: nowhere @param clock steady, ms */
  constructor(core: Core, view: VirtualTopology, store: RuleStore | undefined, clock: () => number) {
    this.core = core;
    this.view = view;
    this.store = store;
    this.clock = clock;
  }

  /** Steady time → ms since 1970. */
  readonly toWall = (steady: number): number => Date.now() - (this.clock() - steady);

  restore(): void {
    const { rules, installer, effects } = this.core;
    try {
      const bytes = this.store?.load() ?? null;
      if (bytes === null) return;
      restoreRuleState(bytes, rules, installer, this.view, (wall) => this.clock() - (Date.now() - wall));
    } catch (error) {
      effects.log('rules.forgotten', { error: (error as Error).message });
    }
  }

  /** Writes it down when it is time. */
  tick(now: number): void {
    if (now < this.nextSave) return;
    this.nextSave = now + (this.core.installer.table.size > MANY_FLOWS ? SAVE_MS : 0);
    this.save();
  }

  /** Writes it down, if it is more than before. */
  save(): void {
    const { rules, installer, effects } = this.core;
    if (this.store === undefined || !rules.changed) return;
    try {
      this.store.save(encodeRuleState(rules, installer, this.view, this.toWall));
      rules.changed = false;
    } catch (error) {
      effects.log('rules.not_kept', { error: (error as Error).message });
    }
  }
}
