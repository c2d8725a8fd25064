/**
 * Both ends of conversations that tell how each looks from the other side; run inside VMs and outside networks.
 *
 *   talk.ts serve ADDRESS PORT      TCP and UDP; says "listening". Tells each TCP peer its address and port as they look from here, then
 *                                   sends back what comes; prints a line "peer ADDRESS PORT" for each, and one of JSON when told to end
 *   talk.ts tcp ADDRESS PORT OPTIONS
 *                                   one connection, a numbered message every interval, until told to end (or `count` are answered)
 *   talk.ts udp ADDRESS PORT OPTIONS
 *                                   the same with datagrams of `size` bytes
 *   talk.ts hold ADDRESS PORT COUNT LANES
 *                                   opens COUNT connections, says how many are open, holds them until told to end. Told by SIGUSR2 it says
 *                                   something else over each and prints how many have heard it again: "answered N"
 *   talk.ts fill ADDRESS PORT COUNT LANES
 *                                   the same, but each of the LANES gives up when it is not answered
 *
 * OPTIONS is JSON, see `TalkOptions`. `tcp` and `udp` say "talking" when they begin, "at N" for each 20 answers, and print a
 * `TalkReport` in the end. To end is SIGINT.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';

export interface TalkOptions {
  readonly intervalMs: number;
  /** Messages; absent: until told to end. */
  readonly count?: number;
  readonly sourcePort?: number;
  /** Bytes of a datagram, at least 16. */
  readonly size?: number;
  /** How long a connection may take to be there, and the last answers to come. */
  readonly patienceMs: number;
}

export interface TalkReport {
  /** Own address and port as the other side sees them; empty: it has never answered. */
  readonly seenAs: string;
  readonly local: string;
  /** Until the connection was there, or the first answer. */
  readonly connectMs: number;
  readonly sent: number;
  readonly answered: number;
  /** Answers that came twice, or differ from what was sent. */
  readonly twice: number;
  readonly wrong: number;
  /** Longest time between two answers (or from the last one to the end), ms. */
  readonly longestGapMs: number;
  /** Why the connection ended, if it did. */
  readonly error: string;
}

/** How long a connection that is to be held may take, one of as many as there can be, and an answer over one. */
const HOLD_MS = 10_000;
const FILL_MS = 3_000;
const ASK_MS = 5_000;

const [mode, address, portText, ...rest] = process.argv.slice(2) as [string, string, string, ...string[]];
const port = Number(portText);

function serve(): void {
  const peers = new Map<string, number>();
  let open = 0;
  const server = createServer((socket) => {
    open++;
    const peer = `${socket.remoteAddress} ${socket.remotePort}`;
    peers.set(peer, (peers.get(peer) ?? 0) + 1);
    console.log(`peer ${peer}`);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('close', () => open--);
    socket.write(`${peer}\n`);
    socket.on('data', (data) => socket.write(data));
  });
  const datagrams = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 4 << 20 });
  datagrams.on('message', (message, from) => {
    // Who asks is told so in the bytes behind the number.
    const parts = from.address.split('.').map(Number);
    if (message.length >= 10 && parts.length === 4) message.set([...parts, from.port >> 8, from.port & 0xff], 4);
    datagrams.send(message, from.port, from.address);
  });
  datagrams.bind(port, address, () =>
    server.listen({ host: address, port, backlog: 4096 }, () => console.log('listening')),
  );
  process.on('SIGINT', () => {
    console.log(JSON.stringify({ open, peers: peers.size }));
    process.exit(0);
  });
}

/** Counts numbered messages and their answers. */
class Tally {
  sent = 0;
  answered = 0;
  twice = 0;
  wrong = 0;
  seenAs = '';
  local = '';
  error = '';
  connectMs = 0;
  private readonly start = performance.now();
  private last = this.start;
  private longest = 0;
  private readonly seen = new Set<number>();
  private ended = false;
  /** When it was told to end: silence after that is none. */
  private told = 0;

  stop(): void {
    this.told = performance.now();
  }

  connected(): void {
    this.connectMs = performance.now() - this.start;
    this.last = performance.now();
  }

  answer(number: number): void {
    const now = performance.now();
    this.longest = Math.max(this.longest, now - this.last);
    this.last = now;
    if (this.seen.has(number)) this.twice++;
    else this.seen.add(number);
    this.answered = this.seen.size;
    if (this.answered % 20 === 0) console.log(`at ${this.answered}`);
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    const { sent, answered, twice, wrong, seenAs, local, error } = this;
    const longestGapMs = Math.round(Math.max(this.longest, (this.told || performance.now()) - this.last));
    const connectMs = Math.round(this.connectMs);
    const report: TalkReport = { seenAs, local, connectMs, sent, answered, twice, wrong, longestGapMs, error };
    console.log(JSON.stringify(report));
    process.exit(0);
  }
}

/** Sends every interval; ends when told to, or when all are answered, or nothing more can come. */
function pace(tally: Tally, options: TalkOptions, send: (number: number) => void): void {
  const timer = setInterval(() => {
    if (tally.sent === options.count) return;
    send(++tally.sent);
    if (tally.sent === options.count) setTimeout(() => tally.end(), options.patienceMs);
  }, options.intervalMs);
  process.on('SIGINT', () => {
    clearInterval(timer);
    tally.stop();
    // What is on its way may still come.
    setTimeout(() => tally.end(), Math.min(100, options.patienceMs));
  });
}

function talkTcp(options: TalkOptions): void {
  const tally = new Tally();
  const local = options.sourcePort === undefined ? {} : { localPort: options.sourcePort };
  const socket = connect({ host: address, port, noDelay: true, ...local });
  const impatience = setTimeout(() => {
    tally.error = 'no connection';
    tally.end();
  }, options.patienceMs);
  let text = '';
  socket.on('connect', () => {
    clearTimeout(impatience);
    tally.connected();
    tally.local = `${socket.localAddress} ${socket.localPort}`;
    console.log('talking');
    pace(tally, options, (number) => socket.write(`${number}\n`));
  });
  socket.on('data', (data) => {
    text += data.toString('latin1');
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      if (tally.seenAs === '') tally.seenAs = line;
      else tally.answer(Number(line));
    }
    if (tally.answered === options.count) {
      // A reset leaves no TIME_WAIT behind: the port can be used again at once.
      socket.resetAndDestroy();
      tally.end();
    }
  });
  socket.on('error', (error) => {
    tally.error = (error as NodeJS.ErrnoException).code ?? error.message;
    tally.end();
  });
  socket.on('close', () => {
    if (tally.error === '') tally.error = 'closed by the other side';
    tally.end();
  });
}

function talkUdp(options: TalkOptions): void {
  const tally = new Tally();
  const size = options.size ?? 64;
  const datagram = (number: number): Buffer => {
    const bytes = Buffer.alloc(size, number & 0xff);
    bytes.writeUInt32BE(number);
    return bytes;
  };
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (message) => {
    const number = message.length < 10 ? -1 : message.readUInt32BE();
    if (number < 1 || number > tally.sent || !message.subarray(10).equals(datagram(number).subarray(10))) tally.wrong++;
    else {
      if (tally.answered === 0) tally.connected();
      tally.seenAs = `${message.subarray(4, 8).join('.')} ${message.readUInt16BE(8)}`;
      tally.answer(number);
    }
    if (tally.answered === options.count) tally.end();
  });
  socket.on('error', (error) => {
    tally.error = error.message;
    tally.end();
  });
  socket.bind(options.sourcePort ?? 0, () => {
    tally.local = `${socket.address().address} ${socket.address().port}`;
    console.log('talking');
    pace(tally, options, (number) => socket.send(datagram(number), port, address));
  });
}

async function hold(count: number, lanes: number, patienceMs: number, untilRefused: boolean): Promise<void> {
  const open = new Set<Socket>();
  let left = count;
  const one = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ host: address, port, noDelay: true });
      socket.setTimeout(patienceMs, () => socket.destroy());
      socket.once('data', () => {
        socket.setTimeout(0);
        open.add(socket);
        resolve(true);
      });
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        resolve(false);
      });
    });
  const lane = async () => {
    while (left-- > 0) if (!(await one()) && untilRefused) return;
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  process.on('SIGUSR2', async () => {
    const heard = await Promise.all([...open].map((socket, i) => isHeard(socket, `${i}\n`)));
    console.log(`answered ${heard.filter(Boolean).length}`);
  });
  console.log(`open ${open.size}`);
  // It stays until told to end, also when no connection is left.
  setInterval(() => {}, 60_000);
  process.on('SIGINT', () => {
    for (const socket of open) socket.resetAndDestroy();
    setTimeout(() => process.exit(0), 50);
  });
}

/** Whether what is said comes back, and nothing else. */
function isHeard(socket: Socket, said: string): Promise<boolean> {
  return new Promise((resolve) => {
    let text = '';
    const end = (heard: boolean) => {
      clearTimeout(timer);
      socket.off('data', hear);
      resolve(heard);
    };
    const hear = (data: Buffer) => {
      text += data.toString('latin1');
      if (text.length >= said.length) end(text === said);
    };
    const timer = setTimeout(() => end(false), ASK_MS);
    socket.on('data', hear);
    socket.write(said);
  });
}

switch (mode) {
  case 'serve':
    serve();
    break;
  case 'tcp':
    talkTcp(JSON.parse(rest[0]!) as TalkOptions);
    break;
  case 'udp':
    talkUdp(JSON.parse(rest[0]!) as TalkOptions);
    break;
  case 'hold':
    await hold(Number(rest[0]), Number(rest[1]), HOLD_MS, false);
    break;
  case 'fill':
    await hold(Number(rest[0]), Number(rest[1]), FILL_MS, true);
}
