/** The tables of the language against the object model: nothing of it is out of reach, nothing is spelled differently. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OBJECT_TYPES } from '@weft/topology';
import { propertyOf } from './describe.ts';
import { type ObjectType, ROOT_TYPES } from './types.ts';

const all = ROOT_TYPES.flatMap((type) => [type, ...type.children]);

/** Properties that have no field, and why. */
const ABSENT: Readonly<Record<string, string>> = {
  'Port.deviceType': 'is what the port stands below',
  'Port.bridgeId': 'shown as device',
  'Port.routerId': 'shown as device',
  'Port.previousHostId': 'kept by the system',
  'Port.nextHostId': 'weft migrate says it',
  'Port.nextInterfaceName': 'weft migrate says it',
  'Chain.ruleIds': 'the order in which rules are listed',
  'Rule.chainId': 'what the rule stands below',
  'Route.routerId': 'what the route stands below',
  'Route.attributes': 'means nothing to Weft',
  'TunnelZoneHost.id': 'members are named by their host',
};

/** All fields of the types of a model: of a port, those of bridges and of routers. */
function fieldsOf(model: string) {
  return all.filter((type) => type.model === model).flatMap((type) => type.fields);
}

describe('every property of the model has a field', () => {
  for (const spec of Object.values(OBJECT_TYPES)) {
    if (spec.private) continue;
    test(spec.name, () => {
      const fields = fieldsOf(spec.name);
      assert.ok(fields.length > 0, `${spec.name} is not in the language`);
      const known = new Set(
        fields.flatMap((field) => [field.property, field.inverted ?? [], Object.values(field.flags ?? {})].flat()),
      );
      for (const property of Object.keys(spec.schema.properties)) {
        const excused = `${spec.name}.${property}` in ABSENT;
        assert.notEqual(known.has(property), excused, `${property} ${excused ? 'is excused' : 'has no field'}`);
      }
    });
  }
});

test('words of a field are those that the model takes', () => {
  for (const type of all) {
    for (const field of type.fields) {
      const property = propertyOf(type, field) as { enum?: readonly string[] } | undefined;
      if (property?.enum) assert.deepEqual(field.value.words, property.enum, `${type.name} ${field.name}`);
    }
  }
});

test('references lead where the model says', () => {
  const MODEL_OF: Readonly<Record<string, string>> = {
    port: 'Port',
    chain: 'Chain',
    host: 'Host',
    'tunnel-zone': 'TunnelZone',
    'port-group': 'PortGroup',
    'ip-address-group': 'IpAddrGroup',
    'security-group': 'SecurityGroup',
    'logging-resource': 'LoggingResource',
  };
  for (const type of all) {
    const spec = type.model === undefined ? undefined : OBJECT_TYPES[type.model as keyof typeof OBJECT_TYPES];
    for (const { property, value } of type.fields) {
      const target = spec?.references.find((reference) => reference.field === property)?.target;
      if (target) assert.equal(MODEL_OF[value.refersTo ?? ''], target, `${type.name} ${property}`);
    }
  }
});

test('every field is explained, every type has a sentence and examples', () => {
  for (const type of all) {
    assert.notEqual(type.doc, '');
    assert.ok(type.examples.length > 0, type.name);
    for (const field of type.fields) {
      const explained = field.doc ?? propertyOf(type, field)?.description;
      assert.ok(explained, `${type.name} ${field.name}`);
    }
  }
});

test('names and aliases do not clash', () => {
  const unique = (types: readonly ObjectType[]) => {
    const names = types.flatMap((type) => [type.name, ...type.aliases]);
    assert.equal(new Set(names).size, names.length, names.join(' '));
    const aliases = types.flatMap((type) => type.alias ?? []);
    assert.equal(new Set(aliases).size, aliases.length, aliases.join(' '));
  };
  unique(ROOT_TYPES);
  for (const type of ROOT_TYPES) unique(type.children);
});
