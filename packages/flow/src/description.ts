/**
 * The flow key, the action and the meaning of their numbers in this build, as data. It is kept beside stored flows, so that a build
 * with another layout, newer or older, can read them (`FlowTranslator`).
 */
import * as action from './action.ts';
import { ACTION_BE, ACTION_FIELDS, ACTION_SIZE, DROP_REASONS } from './action.ts';
import { KEY_FIELDS, KEY_SIZE } from './key.ts';
import { MASK_CLASSES } from './mask.ts';
import type { StructLayout } from './struct-translator.ts';

/** Name → number. */
export type Numbers = Readonly<Record<string, number>>;

export interface FlowDescription {
  readonly key: StructLayout;
  readonly action: StructLayout;
  /** Per mask class, from the most general on: the key's fields that it holds. */
  readonly classes: readonly (readonly string[])[];
  readonly outputs: Numbers;
  /** Bits of `flags` and `rewrite`. */
  readonly flags: Numbers;
  readonly rewrites: Numbers;
  /** Reasons of drops, by number. */
  readonly drops: readonly string[];
}

function numbers(prefix: string): Numbers {
  const all = Object.entries(action as Record<string, unknown>);
  return Object.fromEntries(
    all.filter(([name, value]) => name.startsWith(prefix) && typeof value === 'number'),
  ) as Numbers;
}

/** Describes this build's flows. The same build gives the same text as JSON. */
export function describeFlows(): FlowDescription {
  return {
    key: {
      size: KEY_SIZE,
      // What comes from the wire keeps network byte order.
      fields: KEY_FIELDS.map(([name, at, size]) => [name, at, size, name === 'inPort' ? 'le' : 'be']),
    },
    action: {
      size: ACTION_SIZE,
      fields: ACTION_FIELDS.map(([name, at, size]) => [name, at, size, ACTION_BE.includes(name) ? 'be' : 'le']),
    },
    classes: MASK_CLASSES.map(({ fields }) =>
      KEY_FIELDS.filter(([name], bit) => name !== 'maskClass' && fields & (1 << bit)).map(([name]) => name),
    ),
    outputs: numbers('OUT_'),
    flags: numbers('AF_'),
    rewrites: numbers('RW_'),
    drops: DROP_REASONS,
  };
}
