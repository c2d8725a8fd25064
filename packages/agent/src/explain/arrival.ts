/** The egress side of a trace: what becomes of a tunnel packet that has arrived. */
import { ipFormat } from '@weft/packet';
import type { Names } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import type { Arrival, ArrivalRequest } from './trace.ts';

/** Judges by source and key, as the datapath does before it looks at the rest. */
export function arrivalOf(core: Core, names: Names, { key, source }: ArrivalRequest): Arrival {
  const { bindings, tunnels, hostId } = core;
  const ports = bindings.egressPorts(key).map((ifindex) => {
    const { portId, interfaceName } = bindings.attachedAt(ifindex);
    return { port: names.of(portId), interface: interfaceName };
  });
  const next = bindings.egressHost(key);
  const peer = source === '' ? undefined : tunnels.list().find(({ remote }) => ipFormat(remote) === source);
  const from = peer?.hostId ?? '';
  const stranger = source !== '' && peer === undefined;
  const reason = stranger ? 'outer_unknown_peer' : ports.length === 0 && next === '' ? 'outer_unknown_key' : '';
  const hex = `0x${key.toString(16)}`;
  const told = ports.map(({ port }) => port.name).join(', ');
  const text = stranger
    ? `dropped: outer_unknown_peer (no tunnel leads to ${source})`
    : next !== ''
      ? `key ${hex} is that of a port that has moved: it goes on to host ${next}`
      : ports.length === 0
        ? `dropped: outer_unknown_key (no port of this host has key ${hex})`
        : `key ${hex} is delivered to ${told}`;
  const verdict = reason !== '' ? 'drop' : next === '' ? 'delivered' : 'forwarded';
  return { hostId, key, from, ports, next, verdict, reason, text };
}
