/** Test helper: a client of server-sent events over the API's socket. */
import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { after } from 'node:test';
import { ROOT } from '../context.ts';

/** One server-sent event, its data parsed. */
export interface Event {
  readonly id?: string;
  readonly event?: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  readonly data?: any;
}

/** A client that reads events one by one, comments and bare ids left out; `lastId` is what a browser would send. */
export class Listener {
  lastId = '';
  ended = false;
  comments = 0;
  readonly response: IncomingMessage;
  readonly #events: Event[] = [];
  #wake = () => {};
  #text = '';

  constructor(response: IncomingMessage) {
    this.response = response;
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => this.#take(chunk));
    const end = () => {
      this.ended = true;
      this.#wake();
    };
    response.on('close', end).on('error', end);
  }

  /** `path`: below the API's root. The connection goes with the file's tests. */
  static async open(socketPath: string, path: string, headers: Record<string, string> = {}): Promise<Listener> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request({ socketPath, path: `${ROOT}${path}`, headers }, resolve);
      call.on('error', reject);
      call.end();
    });
    const listener = new Listener(response);
    after(() => response.destroy());
    return listener;
  }

  #take(chunk: string): void {
    this.#text += chunk;
    const blocks = this.#text.split('\n\n');
    this.#text = blocks.pop()!;
    for (const block of blocks) {
      const event: Record<string, unknown> = {};
      for (const line of block.split('\n')) {
        if (line.startsWith(':')) this.comments++;
        else event[line.slice(0, line.indexOf(':'))] = line.slice(line.indexOf(':') + 2);
      }
      if (typeof event.id === 'string') this.lastId = event.id;
      if (typeof event.data === 'string') this.#events.push({ ...event, data: JSON.parse(event.data) });
    }
    this.#wake();
  }

  /** The next event that was not taken yet. Fails when the stream ends before. */
  async next(): Promise<Event> {
    while (this.#events.length === 0) {
      assert.ok(!this.ended, 'the stream ended');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#events.shift()!;
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.response.destroy();
  }
}
