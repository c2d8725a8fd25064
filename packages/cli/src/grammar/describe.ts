/** `describe TYPE`: fields with what they take, defaults and meaning, read off the object model. */
import { OBJECT_TYPES } from '@weft/topology';
import { formatTable } from '../output.ts';
import type { FieldType, ObjectType } from './types.ts';

interface Property {
  readonly description?: string;
  readonly default?: unknown;
}

export function describeTypes(types: readonly ObjectType[]): string {
  return types.map(describeType).join('\n\n');
}

function describeType(type: ObjectType): string {
  const rows = type.fields.map((field) => {
    const { description, default: fallback } = propertyOf(type, field) ?? {};
    const marks = [
      ...(field.readOnly ? ['cannot be set'] : []),
      ...(field.inverted === undefined ? [] : ['! inverts']),
      ...(fallback === undefined ? [] : [`default ${field.value.print(fallback) ?? JSON.stringify(fallback)}`]),
    ];
    const meaning = field.doc ?? description ?? '';
    const takes = field.readOnly ? '' : field.value.takes;
    return [`  ${field.name}`, takes, marks.length === 0 ? meaning : `${meaning} (${marks.join('; ')})`];
  });
  const below = type.children.map((child) => [`  ${child.name}`, child.doc]);
  return [
    `${[type.name, ...type.aliases].join(', ')}: ${type.doc}`,
    `verbs: ${type.verbs.join(', ')}`,
    'fields:',
    formatTable(rows),
    ...(below.length === 0 ? [] : ['below it:', formatTable(below)]),
    'examples:',
    ...type.examples.map((example) => `  ${example}`),
  ].join('\n');
}

export function propertyOf(type: ObjectType, field: FieldType): Property | undefined {
  if (type.model === undefined) return undefined;
  const spec = OBJECT_TYPES[type.model as keyof typeof OBJECT_TYPES];
  return (spec.schema.properties as Readonly<Record<string, Property>>)[field.property];
}
