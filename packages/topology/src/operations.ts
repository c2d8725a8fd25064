/**
 * Changes that touch more than one object. Each is a function over an open transaction of any store, so that it can be
 * combined with others into one atomic change.
 */
import { isDeepStrictEqual } from 'node:util';
import { TopologyError } from './errors.ts';
import type { Chain } from './objects/chain.ts';
import { OBJECT_TYPES, type ObjectTypes, type TypeName } from './objects/index.ts';
import type { Port } from './objects/port.ts';
import type { Rule } from './objects/rule.ts';
import type { DerivedObject, ObjectValue } from './spec.ts';

/** What an operation needs of a transaction; the state database's `Transaction` has it. */
export interface TopologyTransaction {
  get<T = ObjectValue>(type: string, id: string): Promise<{ readonly value: T } | undefined>;
  create<T = ObjectValue>(type: string, value: ObjectValue): Promise<T>;
  update<T = ObjectValue>(type: string, id: string, value: ObjectValue, ifVersion?: number): Promise<T>;
  delete(type: string, id: string, ifVersion?: number): Promise<void>;
  /** Where this transaction shows and takes a part only: the whole. What derives is written there, whoever asked for it. */
  readonly whole?: TopologyTransaction;
}

/** Creates an object and those that derive from it (a router port: its `local` routes). */
export async function createObject<Name extends TypeName>(
  tx: TopologyTransaction,
  type: Name,
  value: ObjectValue,
): Promise<ObjectTypes[Name]> {
  const created = await tx.create<ObjectTypes[Name]>(type, value);
  await follow(tx, type, created.id, undefined);
  return created;
}

/** Replaces an object; what derives from it follows. `current` saves a read when the caller has it from this transaction. */
export async function updateObject<Name extends TypeName>(
  tx: TopologyTransaction,
  type: Name,
  id: string,
  value: ObjectValue,
  ifVersion?: number,
): Promise<ObjectTypes[Name]> {
  const previous = OBJECT_TYPES[type].derive ? (await (tx.whole ?? tx).get(type, id))?.value : undefined;
  const updated = await tx.update<ObjectTypes[Name]>(type, id, value, ifVersion);
  await follow(tx, type, id, previous);
  return updated;
}

/** Has what derives from an object follow its value as it is stored, also where the transaction shows a part of it. */
async function follow(
  tx: TopologyTransaction,
  type: TypeName,
  id: string,
  previous: ObjectValue | undefined,
): Promise<void> {
  if (!OBJECT_TYPES[type].derive) return;
  const whole = tx.whole ?? tx;
  const stored = await whole.get(type, id);
  if (stored) await applyDerived(whole, type, previous, stored.value);
}

/**
 * Brings the objects that derive from one in line with its new value: deletes, changes and creates the difference. Safe to
 * repeat: what is there already, or gone already, is left alone.
 */
export async function applyDerived(
  tx: TopologyTransaction,
  type: TypeName,
  previous: ObjectValue | undefined,
  next: ObjectValue,
): Promise<void> {
  const { derive } = OBJECT_TYPES[type];
  if (!derive) return;
  const before = byId(previous ? derive(previous) : []);
  const after = byId(derive(next));
  for (const [key, old] of before) {
    const id = old.value.id as string;
    if (!after.has(key) && (await tx.get(old.type, id))) await tx.delete(old.type, id);
  }
  for (const [key, item] of after) {
    if (isDeepStrictEqual(item.value, before.get(key)?.value)) continue;
    const id = item.value.id as string;
    if (await tx.get(item.type, id)) await tx.update(item.type, id, item.value);
    else await tx.create(item.type, item.value);
  }
}

function byId(objects: readonly DerivedObject[]): Map<string, DerivedObject> {
  return new Map(objects.map((object) => [`${object.type}/${object.value.id}`, object]));
}

/** Links two unplugged ports of different devices. */
export async function linkPorts(tx: TopologyTransaction, portId: string, peerId: string): Promise<void> {
  const port = await existing<Port>(tx, 'Port', portId);
  const peer = await existing<Port>(tx, 'Port', peerId);
  for (const end of [port, peer]) {
    if (end.peerId !== undefined) {
      throw new TopologyError('WEFT_PORT_LINKED', `port ${end.id} is linked to port ${end.peerId}; unlink it first`);
    }
    if (end.hostId !== undefined) {
      throw new TopologyError('WEFT_PORT_BOUND', `port ${end.id} is bound to host ${end.hostId}; unbind it first`);
    }
  }
  await tx.update('Port', portId, { ...port, peerId });
  await tx.update('Port', peerId, { ...peer, peerId: portId });
}

/** Takes a link away at both ends; no effect on a port without one. */
export async function unlinkPort(tx: TopologyTransaction, portId: string): Promise<void> {
  const { peerId, ...port } = await existing<Port>(tx, 'Port', portId);
  if (peerId === undefined) return;
  await tx.update('Port', portId, port);
  const peer = (await tx.get<Port>('Port', peerId))?.value;
  if (peer?.peerId !== portId) return;
  const { peerId: _, ...unplugged } = peer;
  await tx.update('Port', peerId, unplugged);
}

/**
 * Binds a port to an interface of a host; one that is bound elsewhere moves, all in one step, and remembers where it was. A move that was
 * prepared is void.
 */
export async function bindPort(
  tx: TopologyTransaction,
  portId: string,
  hostId: string,
  interfaceName: string,
): Promise<Port> {
  const { nextHostId: _, nextInterfaceName: __, ...port } = await existing<Port>(tx, 'Port', portId);
  if (port.peerId !== undefined) {
    throw new TopologyError('WEFT_PORT_LINKED', `port ${portId} is linked to port ${port.peerId}; unlink it first`);
  }
  const moved = port.hostId !== undefined && port.hostId !== hostId ? { previousHostId: port.hostId } : {};
  return tx.update<Port>('Port', portId, { ...port, ...moved, hostId, interfaceName });
}

/** Takes a port off its interface; no effect on a port without one. */
export async function unbindPort(tx: TopologyTransaction, portId: string): Promise<void> {
  const stored = await existing<Port>(tx, 'Port', portId);
  const { hostId, interfaceName: _, nextHostId: __, nextInterfaceName: ___, ...port } = stored;
  if (hostId === undefined) return;
  await tx.update('Port', portId, { ...port, previousHostId: hostId });
}

/** Prepares the move of a bound port: the next host gets ready, and nothing else changes. Anew: to another place. */
export async function prepareMove(
  tx: TopologyTransaction,
  portId: string,
  hostId: string,
  interfaceName: string,
): Promise<Port> {
  const port = await existing<Port>(tx, 'Port', portId);
  if (port.hostId === undefined) throw new TopologyError('WEFT_PORT_NOT_BOUND', `port ${portId} is bound to no host`);
  return tx.update<Port>('Port', portId, { ...port, nextHostId: hostId, nextInterfaceName: interfaceName });
}

/** Moves a port to where its move was prepared to: its packets go there from now on. */
export async function switchMove(tx: TopologyTransaction, portId: string): Promise<Port> {
  const port = await existing<Port>(tx, 'Port', portId);
  if (port.nextHostId === undefined) {
    throw new TopologyError('WEFT_PORT_NOT_MOVING', `no move of port ${portId} is prepared`);
  }
  return bindPort(tx, portId, port.nextHostId, port.nextInterfaceName!);
}

/** Ends a move: what was prepared is given up, and where the port was is forgotten. No effect on a port that does not move. */
export async function endMove(tx: TopologyTransaction, portId: string): Promise<void> {
  const stored = await existing<Port>(tx, 'Port', portId);
  const { previousHostId, nextHostId, nextInterfaceName: _, ...port } = stored;
  if (previousHostId !== undefined || nextHostId !== undefined) await tx.update('Port', portId, port);
}

/** Creates a rule and lists it in its chain. `position` counts from 1 (default: first) and may be one past the end. */
export async function addRule(tx: TopologyTransaction, rule: ObjectValue, position = 1): Promise<Rule> {
  const chain = await existing<Chain>(tx, 'Chain', String(rule.chainId));
  if (!Number.isInteger(position) || position < 1 || position > chain.ruleIds.length + 1) {
    const message = `must be between 1 and ${chain.ruleIds.length + 1}, the end of chain ${chain.id}`;
    throw new TopologyError('WEFT_RULE_POSITION', `position ${message}`, [{ property: 'position', message }]);
  }
  const created = await tx.create<Rule>('Rule', rule);
  const ruleIds = [...chain.ruleIds.slice(0, position - 1), created.id, ...chain.ruleIds.slice(position - 1)];
  await tx.update('Chain', chain.id, { ...chain, ruleIds });
  return created;
}

async function existing<T>(tx: TopologyTransaction, type: TypeName, id: string): Promise<T> {
  const stored = await tx.get<T>(type, id);
  if (!stored) throw new TopologyError('WEFT_DANGLING', `there is no ${type} ${id}`);
  return stored.value;
}
