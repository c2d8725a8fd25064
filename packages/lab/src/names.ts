/** How the lab names what it makes, so that it finds and removes all of it even when its records are lost. */
import { createHash } from 'node:crypto';
import { LabError } from './errors.ts';

const NAME = /^[a-z][a-z0-9-]{0,11}$/;

/** A name that fits into namespace and (with a suffix) interface names: 1 to 12 characters. */
export function isLabName(name: string): boolean {
  return NAME.test(name) && !name.endsWith('-');
}

export function requireLabName(name: string): string {
  if (isLabName(name)) return name;
  throw new LabError(
    'WEFT_LAB_NAME',
    `"${name}" is no name for a lab: ${'1 to 12 of a-z, 0-9 and -, beginning with a letter'}`,
  );
}

/** All namespaces of a lab begin so. The double dash keeps lab `a` apart from lab `a-b`. */
export function namespacePrefix(lab: string): string {
  return `weft-${lab}--`;
}

export function fabricNamespace(lab: string): string {
  return `${namespacePrefix(lab)}fabric`;
}

export function hostNamespace(lab: string, host: string): string {
  return `${namespacePrefix(lab)}host-${host}`;
}

export function vmNamespace(lab: string, vm: string): string {
  return `${namespacePrefix(lab)}vm-${vm}`;
}

/** Where the management network and the API are, when the store is an ensemble. */
export function managementNamespace(lab: string): string {
  return `${namespacePrefix(lab)}management`;
}

export function serverNamespace(lab: string, server: string): string {
  return `${namespacePrefix(lab)}${server}`;
}

/** Host end of a VM's interface, at most 15 characters: `blue-a1` for the first, `blue-a1.1` for the second. */
export function tapName(vm: string, index: number): string {
  return index === 0 ? vm : `${vm}.${index}`;
}

export function externalNamespace(lab: string, external: string): string {
  return `${namespacePrefix(lab)}ext-${external}`;
}

/** Gateway host's end of a link to an outside network, at most 15 characters. */
export function externalInterface(external: string, link: number): string {
  return `x-${external}${link}`;
}

/** The same name always gives the same id (RFC 9562 version 8): `lab up` twice creates every object once. */
export function labUuid(...parts: readonly string[]): string {
  const bytes = createHash('sha256')
    .update(`weft-lab\0${parts.join('\0')}`)
    .digest()
    .subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
