/**
 * Building blocks of the schemas. What a field *is* stands in its schema, also where JSON Schema has no word for it:
 * `x-weft-ref` marks a reference and says what the deletion of its target does. The rest of the package reads it there.
 */
import Type from 'typebox';
import type { FormatName } from './formats.ts';
import type { OnTargetDelete } from './spec.ts';

/** A string in one of Weft's formats; stored in canonical spelling. */
export const formatted = (format: FormatName, options: object = {}) =>
  Type.String({ format, maxLength: 128, ...options });

export const uuid = (options: object = {}) => formatted('uuid', options);

/** A field holding the id of an object of `target`. */
export const ref = (target: string, onTargetDelete: OnTargetDelete, description = `Id of a ${target}`) =>
  uuid({ description, 'x-weft-ref': { target, onTargetDelete } });

/** A field holding ids of objects of `target`. */
export const refs = (target: string, onTargetDelete: OnTargetDelete, options: object = {}) =>
  Type.Array(uuid(), { maxItems: 65_536, ...options, 'x-weft-ref': { target, onTargetDelete } });

/** Name for people; not unique unless the object says so. */
export const name = (options: object = {}) =>
  Type.String({ maxLength: 255, description: 'Name for people', ...options });

export const tenantId = () =>
  Type.String({ maxLength: 255, description: 'Tenant that owns the object, as the identity service names it' });

export const adminStateUp = () =>
  Type.Boolean({ default: true, description: 'false: the object is there, but passes no packet' });

/** Allocated by the store (24 bit, 1..0xFFFFFE), never by the user. */
export const tunnelKey = (description: string) =>
  Type.Integer({ minimum: 1, maximum: 0xfffffe, readOnly: true, description });

/** Free words of those who made the object; nothing in Weft decides by them. Rule logs carry them. */
export const metadata = () =>
  Type.Optional(
    Type.Record(Type.String({ maxLength: 255 }), Type.String({ maxLength: 255 }), {
      maxProperties: 32,
      description: 'Free keys and values; rule logs carry them',
    }),
  );

export const id = () => uuid({ description: 'Made up when absent on creation' });
