/** A subscription as the client keeps it: what is wanted outlives the link, and is asked for again on the next one. */
import type { Interest, SubscribeOptions, Subscription } from '../contract.ts';
import { parseInterest } from '../interests.ts';
import type { Link } from './link.ts';
import type { Reply } from './protocol.ts';

export class RemoteSubscription implements Subscription {
  readonly #id: number;
  readonly #options: SubscribeOptions;
  readonly #onClose: () => void;
  /** Number of the message that asked for it: batches sent before the server knew of it are not about this wish. */
  readonly #interests = new Map<Interest, number>();
  #link: Link | undefined;
  #seq = 0;
  #tail: Promise<void> = Promise.resolve();
  #closed = false;
  bytesReceived = 0;

  constructor(id: number, options: SubscribeOptions, onClose: () => void) {
    this.#id = id;
    this.#options = options;
    this.#onClose = onClose;
  }

  add(interests: Iterable<Interest>): void {
    if (this.#closed) return;
    const fresh: Interest[] = [];
    for (const interest of interests) {
      parseInterest(interest);
      if (!this.#interests.has(interest)) fresh.push(interest);
    }
    if (fresh.length === 0) return;
    this.#seq++;
    for (const interest of fresh) this.#interests.set(interest, this.#seq);
    this.#link?.note('sub.add', this.#id, this.#seq, fresh);
  }

  remove(interests: Iterable<Interest>): void {
    const gone = [...interests].filter((interest) => this.#interests.delete(interest));
    if (gone.length === 0) return;
    this.#seq++;
    this.#link?.note('sub.remove', this.#id, this.#seq, gone);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link?.note('sub.close', this.#id);
    this.#onClose();
  }

  /** A link is there: ask for everything in one message, so that it arrives in one batch, before any progress mark. */
  linkUp(link: Link): void {
    this.#link = link;
    this.#options.onLink?.(true);
    this.#seq++;
    for (const interest of this.#interests.keys()) this.#interests.set(interest, this.#seq);
    link.note('sub.open', this.#id, this.#seq, [...this.#interests.keys()]);
  }

  linkDown(): void {
    this.#link = undefined;
    this.#options.onLink?.(false);
  }

  receive(link: Link, { q, b }: Extract<Reply, { s: number }>, bytes: number): void {
    if (b.changes.length > 0) this.bytesReceived += bytes;
    this.#tail = this.#tail.then(async () => {
      // Of a link that is gone, or from before its end: the next link brings everything anew.
      if (this.#closed || this.#link !== link) return;
      const changes = b.changes.filter(({ interest }) => (this.#interests.get(interest) ?? Infinity) <= q);
      try {
        await this.#options.onBatch(changes.length === b.changes.length ? b : { ...b, changes });
      } catch (error) {
        void Promise.reject(error); // the subscriber's own fault: loud, but not the end of it
      }
      link.note('sub.ack', this.#id);
    });
  }
}
