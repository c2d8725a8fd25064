/**
 * Flows that another build stored, in this build's layout. What cannot be said in it without becoming more general, or without doing
 * something else to packets, is not translated.
 *
 * A field that only this build has: the earlier decision did not look at it. The narrowest class that holds what the earlier mask
 * held is taken; if that class has such a field, the flow is for packets that lack it (0) alone, and others come up once. A field that
 * only the other build had: a flow whose mask holds it cannot be told from its neighbours here.
 */
import { describeFlows, type FlowDescription, type Numbers } from './description.ts';
import { fieldOf, type StructLayout, StructTranslator } from './struct-translator.ts';

/** Class for flows of a mask that this build cannot express. */
const NONE = -1;

/** Where a number of at most 4 bytes stands. */
interface Place {
  readonly at: number;
  readonly size: number;
}

/** Where a layout has the fields that are more than bytes to copy. */
interface Places {
  readonly maskClass: number;
  readonly output: number;
  readonly ownerClass: number;
  readonly flags: Place;
  readonly rewrite: Place;
  readonly reason: Place;
}

interface OldClass {
  /** Class of this build, or NONE. */
  readonly cls: number;
  /** Bytes of the old mask, without the class byte. */
  readonly mask: Uint8Array;
}

export class FlowTranslator {
  private readonly from: FlowDescription;
  private readonly to: FlowDescription;
  private readonly keys: StructTranslator;
  private readonly actions: StructTranslator;
  private readonly classes: readonly OldClass[];
  private readonly newMasks: readonly Uint8Array[];
  private readonly outputs: readonly (number | undefined)[];
  private readonly reasons: readonly number[];
  private readonly old: Places;
  private readonly own: Places;

  /** @throws RangeError if `from` lacks a field without which a flow is none */
  constructor(from: FlowDescription, to: FlowDescription = describeFlows()) {
    this.from = from;
    this.to = to;
    this.keys = new StructTranslator(from.key, to.key);
    this.actions = new StructTranslator(from.action, to.action);
    this.newMasks = to.classes.map((fields) => maskOf(to.key, fields));
    this.classes = from.classes.map((fields) => ({
      cls: to.classes.findIndex((held) => fields.every((name) => held.includes(name))),
      mask: maskOf(from.key, fields),
    }));
    this.outputs = renumbered(from.outputs, to.outputs);
    // A reason that this build does not know is none: the packets are dropped all the same.
    this.reasons = from.drops.map((name) => Math.max(0, to.drops.indexOf(name)));
    this.old = placesOf(from);
    this.own = placesOf(to);
    for (const name of ['idHead', 'idTail', 'ownerPort', 'counterSlot']) fieldOf(from.action, name);
    fieldOf(from.key, 'inPort');
  }

  /** Bytes of a key and of an action as the other build stored them. */
  get sizes(): { readonly key: number; readonly action: number } {
    return { key: this.from.key.size, action: this.from.action.size };
  }

  /** A packet's full key in this build's layout. @returns false if a value does not fit */
  key(source: Uint8Array, sourceBase: number, out: Uint8Array, outBase: number): boolean {
    return this.keys.translate(source, sourceBase, out, outBase);
  }

  /**
   * Translates a stored flow: `masked` with class byte, `action` and the key of its first packet, each at its base. Writes the masked
   * key to `outKey[0…]`, action and first key, one behind the other, to `outValue[0…]`.
   * @returns false if this build cannot have the flow, or the first packet is not one of it
   */
  flow(
    masked: Uint8Array,
    action: Uint8Array,
    first: Uint8Array,
    firstBase: number,
    outKey: Uint8Array,
    outValue: Uint8Array,
  ): boolean {
    const { to } = this;
    const held = this.classes[masked[this.old.maskClass]];
    if (held === undefined || held.cls === NONE || !fits(first, firstBase, masked, held.mask)) return false;
    if (!this.keys.translate(first, firstBase, outValue, to.action.size)) return false;
    const mask = this.newMasks[held.cls];
    for (let i = 0; i < to.key.size; i++) outKey[i] = outValue[to.action.size + i] & mask[i];
    outKey[this.own.maskClass] = held.cls;
    if (!this.action(action, outValue)) return false;
    outValue[this.own.ownerClass] = held.cls;
    return true;
  }

  private action(source: Uint8Array, out: Uint8Array): boolean {
    const { from, to, actions, old, own } = this;
    if (!actions.keepsAll(source, 0) || !actions.translate(source, 0, out, 0)) return false;
    const output = this.outputs[source[old.output]];
    if (output === undefined) return false;
    out[own.output] = output;
    if (output === to.outputs.OUT_DROP) write(out, own.reason, this.reasons[read(source, old.reason)] ?? 0);
    return (
      moveBits(source, old.flags, from.flags, out, own.flags, to.flags) &&
      moveBits(source, old.rewrite, from.rewrites, out, own.rewrite, to.rewrites)
    );
  }
}

/** Moves each bit to where the one of the same name is. @returns false if a bit that is set has no such place */
function moveBits(source: Uint8Array, from: Place, old: Numbers, out: Uint8Array, to: Place, own: Numbers): boolean {
  let rest = read(source, from);
  let value = 0;
  for (const name in old) {
    if ((rest & old[name]) === 0) continue;
    if (own[name] === undefined) return false;
    rest &= ~old[name];
    value |= own[name];
  }
  write(out, to, value);
  return rest === 0;
}

function placesOf({ key, action }: FlowDescription): Places {
  const place = (name: string): Place => {
    const [, at, size] = fieldOf(action, name);
    return { at, size };
  };
  return {
    maskClass: fieldOf(key, 'maskClass')[1],
    output: fieldOf(action, 'output')[1],
    ownerClass: fieldOf(action, 'ownerClass')[1],
    flags: place('flags'),
    rewrite: place('rewrite'),
    reason: place('reason'),
  };
}

function maskOf(layout: StructLayout, fields: readonly string[]): Uint8Array {
  const out = new Uint8Array(layout.size);
  for (const [name, at, size] of layout.fields) if (fields.includes(name)) out.fill(0xff, at, at + size);
  return out;
}

function fits(key: Uint8Array, base: number, masked: Uint8Array, mask: Uint8Array): boolean {
  for (let i = 0; i < mask.length; i++) if (mask[i] !== 0 && key[base + i] !== masked[i]) return false;
  return true;
}

/** New number by old number. */
function renumbered(from: Numbers, to: Numbers): (number | undefined)[] {
  const out: (number | undefined)[] = [];
  for (const [name, number] of Object.entries(from)) out[number] = to[name];
  return out;
}

function read(bytes: Uint8Array, { at, size }: Place): number {
  let value = 0;
  for (let i = Math.min(size, 4) - 1; i >= 0; i--) value = (value << 8) | bytes[at + i];
  return value >>> 0;
}

function write(bytes: Uint8Array, { at, size }: Place, value: number): void {
  for (let i = 0; i < size; i++) bytes[at + i] = i < 4 ? value >>> (8 * i) : 0;
}
