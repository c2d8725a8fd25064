/**
 * Dispatches commits to subscribers by `Map<interest, subscribers>`: what a commit costs depends on what it changed and on
 * who wants to know, never on how many other objects or subscribers exist.
 */
import type {
  Change,
  Interest,
  Revision,
  StoredObject,
  SubscribeOptions,
  Subscription,
  TableEntry,
} from '../contract.ts';
import { parseInterest } from '../interests.ts';
import { Delivery } from './delivery.ts';

/** What a group of commits left behind, in terms of interests. `null`: gone. */
export interface HubChange {
  readonly interest: Interest;
  readonly kind: Change['kind'];
  readonly key: string;
  /** Called at most once, and only if somebody listens. */
  load(): StoredObject | TableEntry | true | null;
  /** Bytes that it took to learn of it. Default 0. */
  readonly bytes?: number;
}

/** The state at the revision that the hub was last told of. */
interface HubView {
  /** Empty: nothing is known yet. */
  readonly generation: string;
  readonly revision: Revision;
  content(interest: Interest): Change;
}

export interface HubOptions {
  readonly view: HubView;
  /** Runs `task` as soon as the view stands exactly at the published revision and has the content of these; at once if so. */
  quiet(task: () => void, interests: readonly Interest[]): void;
  /** Nobody wants to hear of the interest any longer. */
  unwanted?(interest: Interest): void;
  /** Bytes that it takes to give the content of an interest. Default 0. */
  cost?(interest: Interest): number;
  /** Milliseconds after which a quiet subscriber is told that the store has moved on. */
  readonly markInterval: number;
}

class Subscriber implements Subscription {
  readonly interests = new Set<Interest>();
  readonly delivery: Delivery;
  bytesReceived = 0;
  closed = false;
  /** Additions whose content is still to come: a mark before it would claim too much. */
  loading = 0;
  readonly #hub: Hub;

  constructor(hub: Hub, options: SubscribeOptions) {
    this.#hub = hub;
    this.delivery = new Delivery((batch) => options.onBatch(batch));
  }

  add(interests: Iterable<Interest>): void {
    this.#hub.add(this, [...interests]);
  }

  remove(interests: Iterable<Interest>): void {
    this.#hub.remove(this, interests);
  }

  close(): void {
    this.#hub.close(this);
  }
}

export class Hub {
  readonly #options: HubOptions;
  readonly #byInterest = new Map<Interest, Set<Subscriber>>();
  readonly #subscribers = new Set<Subscriber>();
  #markTimer: NodeJS.Timeout | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  subscribe(options: SubscribeOptions): Subscription {
    const subscriber = new Subscriber(this, options);
    this.#subscribers.add(subscriber);
    this.#scheduleMarks();
    return subscriber;
  }

  /** Tells of everything that changed up to the view's revision. */
  publish(changes: Iterable<HubChange>): void {
    const { view } = this.#options;
    const touched = new Set<Subscriber>();
    for (const change of changes) {
      const subscribers = this.#byInterest.get(change.interest);
      if (subscribers === undefined) continue;
      const merged = toChange(change);
      for (const subscriber of subscribers) {
        subscriber.delivery.merge(merged);
        subscriber.bytesReceived += change.bytes ?? 0;
        touched.add(subscriber);
      }
    }
    for (const subscriber of touched) subscriber.delivery.advance(view.generation, view.revision, false);
    this.#scheduleMarks();
  }

  /** Tells the whole content of these interests anew: what was told may have gaps. */
  resend(interests: Iterable<Interest>): void {
    const { view } = this.#options;
    const touched = new Set<Subscriber>();
    for (const interest of interests) {
      const subscribers = this.#byInterest.get(interest);
      if (subscribers === undefined) continue;
      const content = view.content(interest);
      for (const subscriber of subscribers) {
        this.#give(subscriber, content);
        touched.add(subscriber);
      }
    }
    for (const { delivery } of touched) delivery.advance(view.generation, view.revision, false);
  }

  /** Whether somebody is told of the interest. */
  listens(interest: Interest): boolean {
    return this.#byInterest.has(interest);
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Tells every subscriber that is behind that the store has moved on. */
  pushMarks(): void {
    const { view } = this.#options;
    // Of a store that was not reached there is no revision to claim: a mark would stand for its content.
    if (view.generation === '') return;
    for (const { delivery, loading } of this.#subscribers)
      if (loading === 0 && delivery.handed !== view.revision) delivery.advance(view.generation, view.revision, true);
  }

  add(subscriber: Subscriber, interests: Interest[]): void {
    if (subscriber.closed) return;
    const fresh: Interest[] = [];
    for (const interest of interests) {
      parseInterest(interest);
      if (subscriber.interests.has(interest)) continue;
      subscriber.interests.add(interest);
      fresh.push(interest);
    }
    if (fresh.length === 0) return;
    subscriber.loading++;
    this.#options.quiet(() => {
      subscriber.loading--;
      if (subscriber.closed) return;
      const { view } = this.#options;
      for (const interest of fresh) {
        if (!subscriber.interests.has(interest)) continue; // removed again meanwhile
        let set = this.#byInterest.get(interest);
        if (set === undefined) this.#byInterest.set(interest, (set = new Set()));
        if (set.has(subscriber)) continue; // removed and added again meanwhile: the other task did it
        set.add(subscriber);
        this.#give(subscriber, view.content(interest));
      }
      subscriber.delivery.advance(view.generation, view.revision, false);
    }, fresh);
  }

  remove(subscriber: Subscriber, interests: Iterable<Interest>): void {
    for (const interest of interests) {
      if (!subscriber.interests.delete(interest)) continue;
      this.#unlist(subscriber, interest);
      subscriber.delivery.forget(interest);
    }
  }

  close(subscriber: Subscriber): void {
    subscriber.closed = true;
    for (const interest of subscriber.interests) this.#unlist(subscriber, interest);
    subscriber.interests.clear();
    subscriber.delivery.close();
    this.#subscribers.delete(subscriber);
  }

  closeAll(): void {
    clearTimeout(this.#markTimer);
    for (const subscriber of [...this.#subscribers]) this.close(subscriber);
  }

  #give(subscriber: Subscriber, content: Change): void {
    subscriber.delivery.merge(content);
    subscriber.bytesReceived += this.#options.cost?.(content.interest) ?? 0;
  }

  #unlist(subscriber: Subscriber, interest: Interest): void {
    const set = this.#byInterest.get(interest);
    if (!set?.delete(subscriber) || set.size > 0) return;
    this.#byInterest.delete(interest);
    this.#options.unwanted?.(interest);
  }

  #scheduleMarks(): void {
    if (this.#markTimer !== undefined || this.#subscribers.size === 0) return;
    this.#markTimer = setTimeout(() => {
      this.#markTimer = undefined;
      this.pushMarks();
    }, this.#options.markInterval);
    this.#markTimer.unref();
  }
}

function toChange({ interest, kind, key, load }: HubChange): Change {
  const item = load();
  const removed = item === null ? [key] : [];
  switch (kind) {
    case 'object':
      return { interest, kind, object: item as StoredObject | null };
    case 'objects':
      return { interest, kind, reset: false, upserts: item === null ? [] : [item as StoredObject], removed };
    case 'table':
      return { interest, kind, reset: false, upserts: item === null ? [] : [item as TableEntry], removed };
    case 'index':
      return { interest, kind, reset: false, added: item === null ? [] : [key], removed };
  }
}
