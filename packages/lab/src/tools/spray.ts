/**
 * A guest out of control: sends frames that differ from each other for some time, at a rate. Run on the lab's machine, which
 * enters the guest's namespace; the one argument is JSON, see `Spray`. Prints how many frames it has sent.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { parseIp } from '@weft/topology';
import { BurstSender } from '../bursts.ts';
import { ethernetFrame } from '../frames.ts';
import { ipPacket, neighbourSolicitation, udpDatagram } from '../packets.ts';

export interface Spray {
  readonly namespace: string;
  readonly how: 'macs' | 'neighbours' | 'scan' | 'flows';
  readonly seconds: number;
  readonly perSecond: number;
  /** The guest's own. */
  readonly mac: string;
  readonly address4: string;
  readonly address6: string;
  /** Whom it sends to: a VM of its network (`macs`), else its router. */
  readonly targetMac: string;
  /** `flows`: a VM behind the router; `neighbours`: the router itself; `scan`: an address of the network to scan. */
  readonly target: string;
}

const BATCH = 128;

const spray = JSON.parse(process.argv[2]!) as Spray;

/** Same network, another host. */
function randomHost6(address: string): string {
  const bytes = Buffer.from(parseIp(address)!);
  randomBytes(8).copy(bytes, 8);
  return bytes.toString('hex').replaceAll(/(....)(?=.)/g, '$1:');
}

function frame(): Uint8Array {
  const { how, mac, address4, address6, targetMac, target } = spray;
  switch (how) {
    case 'macs': {
      const own = `02:5a:${[...randomBytes(4)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;
      return ethernetFrame(targetMac, own, undefined, 0x88be, new Uint8Array(46));
    }
    case 'neighbours':
      return ethernetFrame(
        targetMac,
        mac,
        undefined,
        0x86dd,
        neighbourSolicitation(randomHost6(address6), target, mac),
      );
    case 'scan': {
      const payload = udpDatagram(7, 7, new Uint8Array(8));
      const packet = ipPacket({ source: address6, target: randomHost6(target), protocol: 17, payload });
      return ethernetFrame(targetMac, mac, undefined, 0x86dd, packet);
    }
    case 'flows': {
      const ports = randomBytes(4);
      const payload = udpDatagram(ports.readUInt16BE(0), ports.readUInt16BE(2), new Uint8Array(18));
      const packet = ipPacket({ source: address4, target, protocol: 17, payload });
      return ethernetFrame(targetMac, mac, undefined, 0x0800, packet);
    }
  }
}

const sender = new BurstSender(spray.namespace, 'eth0');
console.log('spraying');
const start = performance.now();
const end = start + spray.seconds * 1000;
let sent = 0;
for (let now = start; now < end; now = performance.now()) {
  while (sent < ((now - start) * spray.perSecond) / 1000) {
    sender.load(Array.from({ length: BATCH }, frame));
    sent += sender.send() || BATCH;
  }
  await setTimeout(1);
}
console.log(JSON.stringify({ sent }));
sender.close();
