/**
 * A record as bytes, the same in logs, in Cassandra and between hosts, without its lifetime, which each of them keeps in its own way:
 *
 *   0  format (1)          4  epoch        28  ingress      60  length of the name, bytes of the record: 16 bits each
 *   1  1: has an egress    8  version      44  egress       64  name, record
 *   2  zero               12  owner
 */
import { isUtf8 } from 'node:buffer';
import { type ArchivedKey, type ArchivedRecord, MAX_NAME_BYTES, MAX_RECORD_BYTES } from './contract.ts';

const FORMAT = 1;
const FIXED = 64;
/** Most bytes of a body. */
export const MAX_BODY = FIXED + MAX_NAME_BYTES + MAX_RECORD_BYTES;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NO_BYTES = new Uint8Array(0);

export function isUuid(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text);
}

function isU32(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffffffff;
}

function putUuid(out: Buffer, uuid: string, at: number): void {
  out.write(uuid.replaceAll('-', ''), at, 16, 'hex');
}

/** The UUID in 16 bytes. */
export function uuidAt(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** The body of a record, or of a removal (without `bytes`); undefined if it breaks a rule. UUIDs are lower case. */
export function encodeBody(key: ArchivedKey, bytes: Uint8Array = NO_BYTES): Buffer | undefined {
  const { name, ingress, egress, version } = key;
  const nameBytes = Buffer.byteLength(name);
  if (nameBytes === 0 || nameBytes > MAX_NAME_BYTES || bytes.length > MAX_RECORD_BYTES) return undefined;
  if (!isUuid(ingress) || (egress !== undefined && !isUuid(egress)) || !isUuid(version.owner)) return undefined;
  if (!isU32(version.epoch) || !isU32(version.version)) return undefined;
  const out = Buffer.alloc(FIXED + nameBytes + bytes.length);
  out[0] = FORMAT;
  out[1] = egress === undefined ? 0 : 1;
  out.writeUInt32BE(version.epoch, 4);
  out.writeUInt32BE(version.version, 8);
  putUuid(out, version.owner, 12);
  putUuid(out, ingress, 28);
  if (egress !== undefined) putUuid(out, egress, 44);
  out.writeUInt16BE(nameBytes, 60);
  out.writeUInt16BE(bytes.length, 62);
  out.write(name, FIXED);
  out.set(bytes, FIXED + nameBytes);
  return out;
}

/** What `encodeBody` wrote, or undefined if these bytes are anything else. `bytes` is a copy. */
export function decodeBody(body: Buffer): Omit<ArchivedRecord, 'remaining'> | undefined {
  if (body.length < FIXED || body[0] !== FORMAT || body[1]! > 1) return undefined;
  const nameEnd = FIXED + body.readUInt16BE(60);
  const length = body.readUInt16BE(62);
  if (nameEnd === FIXED || nameEnd > FIXED + MAX_NAME_BYTES || length > MAX_RECORD_BYTES) return undefined;
  if (body.length !== nameEnd + length || !isUtf8(body.subarray(FIXED, nameEnd))) return undefined;
  return {
    name: body.toString('utf8', FIXED, nameEnd),
    ingress: uuidAt(body, 28),
    egress: body[1] === 1 ? uuidAt(body, 44) : undefined,
    version: { epoch: body.readUInt32BE(4), version: body.readUInt32BE(8), owner: uuidAt(body, 12) },
    bytes: new Uint8Array(body.subarray(nameEnd)),
  };
}
