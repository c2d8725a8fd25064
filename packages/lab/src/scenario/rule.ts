/** A rule of a scenario: the fields are those of the REST API (with names for ids), and are judged here already, where the line is known. */
import { type ObjectValue, validateObject } from '@weft/topology';
import { labUuid } from '../names.ts';
import type { Reader } from './reader.ts';
import { withNames } from './rule-names.ts';

/** Set by the lab itself: they follow from where the rule stands. */
const OWN_FIELDS = ['id', 'chainId', 'position'] as const;

/** @returns the fields as they are written. Throws WEFT_SCENARIO at the field that is wrong. */
export function readRule(reader: Reader): ObjectValue {
  const fields = reader.openMap();
  fields.get('type').string();
  for (const name of OWN_FIELDS) if (fields.has(name)) fields.get(name).fail('follows from the place of the rule');
  const rule = reader.plain() as ObjectValue;
  // Any chain will do, and any id for a name: what is judged are the rule's own fields. Names are looked up when all is read.
  const spelled = withNames(rule, (text) => labUuid('name', text));
  const judged = validateObject('Rule', { ...spelled, chainId: labUuid('chain') }, { coerce: true });
  if (judged.ok) return rule;
  const [{ property, message }] = judged.violations as [(typeof judged.violations)[number]];
  return placeOf(reader, property).fail(message);
}

/** The node that a path of the model (`tpDst.end`, `inPorts.0`) leads to, as far as it leads. */
function placeOf(rule: Reader, property: string): Reader {
  let place = rule;
  for (const step of property.split('.')) {
    if (/^\d+$/.test(step)) {
      place = place.list()[Number(step)] ?? place;
      continue;
    }
    const fields = place.isMap() ? place.openMap() : undefined;
    // A field that is missing is an error of the mapping that lacks it.
    if (!fields?.has(step)) return place.named(step);
    place = fields.get(step);
  }
  return place;
}
