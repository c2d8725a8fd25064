/** Records of one layout rewritten in another, field by field: what is stored outlives the build that stored it. */

/** How a number stands in its bytes; text and addresses are `le` when they begin at the first byte. */
export type ByteOrder = 'le' | 'be';

/** Name, offset and size in bytes, byte order. */
export type FieldLayout = readonly [name: string, offset: number, size: number, order: ByteOrder];

/** Bytes of a record and what is where. The name of a field stands for its meaning: another meaning is another name. */
export interface StructLayout {
  readonly size: number;
  readonly fields: readonly FieldLayout[];
}

interface Move {
  readonly name: string;
  readonly from: number;
  readonly fromSize: number;
  readonly to: number;
  readonly toSize: number;
  readonly order: ByteOrder;
}

/** Fields that hold nothing. */
const PADDING = /^(pad\d*|spare)$/;

export class StructTranslator {
  private readonly from: StructLayout;
  private readonly to: StructLayout;
  private readonly moves: readonly Move[];
  /** Fields that only the old layout has. */
  private readonly dropped: readonly FieldLayout[];

  constructor(from: StructLayout, to: StructLayout) {
    this.from = from;
    this.to = to;
    const old = new Map(from.fields.map((field) => [field[0], field]));
    const moves: Move[] = [];
    for (const [name, at, size, order] of to.fields) {
      const field = old.get(name);
      if (field) moves.push({ name, from: field[1], fromSize: field[2], to: at, toSize: size, order });
    }
    this.moves = moves;
    const kept = new Set(to.fields.map(([name]) => name));
    this.dropped = from.fields.filter(([name]) => !kept.has(name) && !PADDING.test(name));
  }

  /** Names of the fields that the new layout does not have. */
  get droppedFields(): readonly string[] {
    return this.dropped.map(([name]) => name);
  }

  /**
   * Writes the record at `source[sourceBase]` to `out[outBase]` in the new layout; fields that only the new layout has are 0.
   * @returns false if a value does not fit its new field: `out` is then of no use.
   */
  translate(source: Uint8Array, sourceBase: number, out: Uint8Array, outBase: number): boolean {
    out.fill(0, outBase, outBase + this.to.size);
    for (const move of this.moves) if (!copyField(move, source, sourceBase, out, outBase)) return false;
    return true;
  }

  /** Whether fields that the new layout does not have are 0 in this record. */
  keepsAll(source: Uint8Array, sourceBase: number): boolean {
    for (const [, offset, size] of this.dropped) {
      for (let i = 0; i < size; i++) if (source[sourceBase + offset + i] !== 0) return false;
    }
    return true;
  }

  /** Whether both layouts are the same but for padding. */
  get isIdentity(): boolean {
    const same = (field: FieldLayout, i: number) => field.every((word, j) => word === this.from.fields[i]?.[j]);
    return (
      this.from.size === this.to.size && this.from.fields.length === this.to.fields.length && this.to.fields.every(same)
    );
  }
}

/** Copies the low-order bytes. @returns false if others are not 0 */
function copyField(move: Move, source: Uint8Array, sourceBase: number, out: Uint8Array, outBase: number): boolean {
  const { fromSize, toSize, order } = move;
  const at = sourceBase + move.from;
  const to = outBase + move.to;
  const common = Math.min(fromSize, toSize);
  const skip = order === 'be' ? fromSize - common : 0;
  const gap = order === 'be' ? toSize - common : 0;
  for (let i = 0; i < common; i++) out[to + gap + i] = source[at + skip + i];
  for (let i = common; i < fromSize; i++) if (source[at + (order === 'be' ? i - common : i)] !== 0) return false;
  return true;
}

/** Place of a field. @throws RangeError if the layout has none of this name */
export function fieldOf({ fields }: StructLayout, name: string): FieldLayout {
  const found = fields.find(([one]) => one === name);
  if (!found) throw new RangeError(`no field ${name}`);
  return found;
}
