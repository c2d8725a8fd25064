/**
 * Numbered UDP datagrams, sent in super-datagrams that the kernel cuts (UDP_SEGMENT, udp(7)); run inside VMs.
 *
 *   udp-gso.ts receive PORT COUNT             says "listening", ends when it has COUNT datagrams or its input ends; prints a line
 *                                             of JSON: how many, how many twice, how many with wrong bytes
 *   udp-gso.ts send ADDRESS PORT COUNT SIZE SEGMENTS
 *                                             COUNT datagrams of SIZE bytes, SEGMENTS of them per system call
 */
import { createSocket } from 'node:dgram';
import { AF_INET, AF_INET6, cfunc, check, close, SOCK_DGRAM, setsockopt, socket, write } from '@weft/sys';
import { parseIp } from '@weft/topology';

const SOL_UDP = 17;
const UDP_SEGMENT = 103;

const [mode, ...args] = process.argv.slice(2);

/** Every byte follows from the datagram's number and its place. */
function datagram(number: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32BE(number);
  for (let i = 4; i < size; i++) bytes[i] = (number * 31 + i * 7) & 0xff;
  return bytes;
}

if (mode === 'receive') {
  const [port, count] = args.map(Number) as [number, number];
  const seen = new Set<number>();
  let received = 0;
  let wrong = 0;
  const listener = createSocket({ type: 'udp6', recvBufferSize: 4 << 20 });
  const end = () => {
    console.log(JSON.stringify({ unique: seen.size, twice: received - seen.size, wrong }));
    process.exit(0);
  };
  listener.on('message', (message) => {
    received++;
    const number = message.length < 4 ? -1 : message.readUInt32BE(0);
    if (number < 0 || number >= count || !message.equals(datagram(number, message.length))) wrong++;
    else seen.add(number);
    // A little later, for what comes twice.
    if (seen.size === count) setTimeout(end, 50);
  });
  listener.bind(port, () => console.log('listening'));
  process.on('SIGINT', end);
} else {
  const [address, ...rest] = args as [string, ...string[]];
  const [port, count, size, segments] = rest.map(Number) as [number, number, number, number];
  const fd = connectedSocket(address, port);
  setsockopt(fd, SOL_UDP, UDP_SEGMENT, size);
  for (let first = 0; first < count; first += segments) {
    const numbers = Array.from({ length: Math.min(segments, count - first) }, (_, i) => first + i);
    write(fd, Buffer.concat(numbers.map((number) => datagram(number, size))));
    // At a pace that no queue on the way minds.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  close(fd);
}

/** Node has no name for the option, and hides the descriptor that it could be set on. */
function connectedSocket(address: string, port: number): number {
  const bytes = parseIp(address)!;
  const family = bytes.length === 4 ? AF_INET : AF_INET6;
  const name = Buffer.alloc(family === AF_INET ? 16 : 28);
  name.writeUInt16LE(family, 0);
  name.writeUInt16BE(port, 2);
  name.set(bytes, family === AF_INET ? 4 : 8);
  const fd = socket(family, SOCK_DGRAM, 0);
  check('connect', cfunc('connect', 'int', ['int', 'void *', 'uint32_t'])(fd, name, name.length), address);
  return fd;
}
