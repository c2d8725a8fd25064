/** The C header of the flow key, the action and their constants, derived from the tables in this package. */
import * as action from './action.ts';
import { ACTION_BE, ACTION_FIELDS, ACTION_SIZE, DROP_REASONS } from './action.ts';
import * as key from './key.ts';
import { KEY_FIELDS, KEY_SIZE } from './key.ts';
import { MASK_BYTES, MASK_CLASSES } from './mask.ts';

type Field = readonly [name: string, offset: number, size: number];

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

function cField([name, , size]: Field, bigEndian: (name: string) => boolean): string {
  if (size === 1) return `__u8 ${snake(name)};`;
  if (size === 6 || size > 8) return `__u8 ${snake(name)}[${size}];`;
  return `__${bigEndian(name) ? 'be' : 'u'}${size * 8} ${snake(name)};`;
}

function cStruct(name: string, fields: readonly Field[], size: number, bigEndian: (name: string) => boolean): string {
  const lines = [`struct ${name} {`];
  let at = 0;
  for (const f of fields) {
    if (f[1] !== at) throw new Error(`${name}.${f[0]}: offset ${f[1]}, expected ${at}`);
    lines.push(`\t${cField(f, bigEndian)} /* ${f[1]} */`);
    at += f[2];
  }
  if (at !== size) throw new Error(`${name}: ${at} bytes, expected ${size}`);
  lines.push('};', `_Static_assert(sizeof(struct ${name}) == ${size}, "${name}");`);
  return lines.join('\n');
}

function defines(module: Record<string, unknown>, prefixes: readonly string[]): string {
  return Object.entries(module)
    .filter(([name, value]) => typeof value === 'number' && prefixes.some((p) => name.startsWith(p)))
    .map(([name, value]) => `#define ${name} ${value}`)
    .join('\n');
}

/** Text of `generated/weft_flow.h`. The same input gives the same bytes. */
export function generateHeader(): string {
  const masks = MASK_CLASSES.map((cls, c) => {
    const bytes = [...MASK_BYTES.subarray(c * KEY_SIZE, (c + 1) * KEY_SIZE)].map((b) => (b ? '0xff' : '0'));
    return `\t/* ${cls.name} */ { ${bytes.join(',')} },`;
  });
  return `/* Generated from packages/flow/src by scripts/generate.ts. Do not edit. */
#ifndef WEFT_FLOW_H
#define WEFT_FLOW_H

#define WEFT_KEY_SIZE ${KEY_SIZE}
#define WEFT_ACTION_SIZE ${ACTION_SIZE}
#define WEFT_MASK_CLASSES ${MASK_CLASSES.length}

${cStruct('weft_key', KEY_FIELDS, KEY_SIZE, (n) => n !== 'inPort')}

${cStruct('weft_action', ACTION_FIELDS, ACTION_SIZE, (n) => ACTION_BE.includes(n))}

${defines(key, ['VLAN_', 'FRAG_'])}
${defines(action, ['OUT_', 'AF_', 'RW_', 'UPCALL_', 'FLOW_STATE_KEY', 'KEY_FORWARDED'])}

enum weft_drop {
${DROP_REASONS.map((r, i) => `\tDROP_${r.toUpperCase()} = ${i},`).join('\n')}
	DROP_REASONS_COUNT = ${DROP_REASONS.length},
};

static const __u8 weft_masks[WEFT_MASK_CLASSES][WEFT_KEY_SIZE] = {
${masks.join('\n')}
};

#endif
`;
}
