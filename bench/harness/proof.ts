/** Proof that a path is what its name says, before anything is measured on it. */
import { require } from './errors.ts';
import { background, inNamespace, waitUntil } from './exec.ts';
import type { Throughput } from './iperf.ts';
import { type NetworkPath, warmUp } from './paths.ts';

const WIRE_FRAME = 1514;

/** A ping over the path is seen in the fabric in the form that `path.onWire` describes. */
export async function proveOnWire(path: NetworkPath): Promise<void> {
  const seen = await isSeen(path, path.fabric.namespace, path.onWire);
  require(seen, () => `no frame of "${path.name}" (${path.onWire}) crossed the fabric`);
}

/** A ping over the path arrives from an address that `source` describes (tcpdump), and not from the client's own. */
export async function proveTranslated(path: NetworkPath, source: string): Promise<void> {
  const filter = `icmp[icmptype] == icmp-echo and src ${source} and not src host ${path.client.address}`;
  const seen = await isSeen(path, path.server.namespace, filter);
  require(seen, () => `no packet of "${path.name}" arrived from ${source}: nothing was translated`);
}

async function isSeen(path: NetworkPath, namespace: string, filter: string): Promise<boolean> {
  const argv = ['tcpdump', '-i', 'any', '-n', '-l', '--immediate-mode', filter];
  const capture = background(inNamespace(namespace, argv));
  try {
    await capture.waitFor('listening on');
    await warmUp(path);
    return await waitUntil(async () => / IP /.test(capture.output()), 2000);
  } finally {
    await capture.stop();
  }
}

/** Everything that was received also left the host by its uplinks, in frames of the size that the figure is about. */
export function proveCrossing(path: NetworkPath, result: Throughput, superPackets: boolean): void {
  const { wire, bytes } = result;
  require(bytes > 0, () => `"${path.name}" carried nothing`);
  require(wire.bytes >= bytes, () =>
    `"${path.name}": ${bytes} bytes arrived, but only ${wire.bytes} left the host by its uplinks`);
  const mean = wire.bytes / wire.packets;
  if (superPackets)
    require(mean > 2 * WIRE_FRAME, () =>
      `"${path.name}": frames of ${Math.round(mean)} bytes in the mean are no super-packets`);
  else
    require(mean <= WIRE_FRAME, () =>
      `"${path.name}": frames of ${Math.round(mean)} bytes in the mean are larger than the wire's`);
}
