/**
 * What is watched, kept as it is in the store. Watches only say where to look: an event marks a znode as dirty, and a round reads all
 * that is dirty, together with the revision, in one request, which no commit can fall into. If meanwhile events came of znodes
 * that were not read with it, the round reads again, those too. So what is told at its end is the state at one revision.
 *
 * While the link is away nothing is told. Behind it everything is read and told anew.
 */
import type { ReadResult, Watch, WatchEnded, WatchEvent, ZooKeeper } from '@weft/zookeeper';
import type { Change, Interest, Revision } from '../contract.ts';
import { parseInterest } from '../interests.ts';
import type { Hub, HubChange } from '../subscription/hub.ts';
import {
  type Content,
  contentChange,
  loadContent,
  locate,
  objectContent,
  readOf,
  updateContent,
  watchOf,
} from './content.ts';
import { nodeZnode, REVISION_PATH } from './layout.ts';
import { asData, PORTION, type Reader } from './reader.ts';

interface Watched {
  readonly watch: Promise<Watch>;
  readonly interests: Set<Interest>;
}

interface Waiting {
  readonly interests: readonly Interest[];
  readonly task: () => void;
}

export interface MirrorOptions {
  readonly reader: Reader;
  /** Milliseconds between looks at the revision, and until what nobody wants any longer is let go. */
  readonly markInterval: number;
  /** Told that the state stands at this revision now, before subscribers are. */
  onRevision(revision: Revision): void;
}

export class Mirror {
  readonly #options: MirrorOptions;
  readonly #contents = new Map<Interest, Content>();
  readonly #watches = new Map<string, Watched>();
  readonly #dirty = new Set<string>();
  /** To be read wholly. */
  #unread = new Set<Interest>();
  /** Read wholly since the last round that ended well; their subscribers are told all of it. */
  readonly #reread = new Set<Interest>();
  /** Nobody listens any longer. They are let go a little later: not while a change is on its way, and some are wanted again. */
  readonly #unwanted = new Set<Interest>();
  #waiting: Waiting[] = [];
  #hub: Hub | undefined;
  #zk: ZooKeeper | undefined;
  /** Another one with each coming and going of the link: what was begun in an earlier one may have missed events. */
  #era = 0;
  #running = false;
  #wanted = false;
  #timer: NodeJS.Timeout | undefined;
  #letGoTimer: NodeJS.Timeout | undefined;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  set hub(hub: Hub) {
    this.#hub = hub;
  }

  /** Runs `task` at the end of the round that has brought the content of these; at once if it is here and no round is under way. */
  whenRead(interests: readonly Interest[], task: () => void): void {
    const isHere = interests.every((interest) => this.#contents.has(interest) && !this.#unread.has(interest));
    if (isHere && !this.#running && this.#zk !== undefined) {
      task();
      return;
    }
    for (const interest of interests) if (!this.#contents.has(interest)) this.#unread.add(interest);
    this.#waiting.push({ interests, task });
    this.kick();
  }

  content(interest: Interest): Change {
    return contentChange(interest, this.#contents.get(interest)!);
  }

  /** Bytes that the content of an interest has cost. */
  cost(interest: Interest): number {
    return this.#contents.get(interest)?.bytes ?? 0;
  }

  unwanted(interest: Interest): void {
    this.#unwanted.add(interest);
    this.#letGoTimer ??= setTimeout(() => this.#letGo(), this.#options.markInterval).unref();
  }

  #letGo(): void {
    this.#letGoTimer = undefined;
    const wanted = new Set(this.#waiting.flatMap(({ interests }) => interests));
    for (const interest of this.#unwanted)
      if (!wanted.has(interest) && !this.#hub!.listens(interest)) this.#forget(interest);
    this.#unwanted.clear();
  }

  #forget(interest: Interest): void {
    this.#contents.delete(interest);
    this.#unread.delete(interest);
    this.#reread.delete(interest);
    const { path } = watchOf(parseInterest(interest), interest);
    const watched = this.#watches.get(path);
    if (!watched?.interests.delete(interest) || watched.interests.size > 0) return;
    this.#watches.delete(path);
    watched.watch.then((watch) => watch.close()).catch(() => {}); // the link, and the watch with it, is gone
  }

  /** `isNew`: another session of ZooKeeper; its watches are not there yet. */
  up(zk: ZooKeeper, isNew: boolean): void {
    this.#zk = zk;
    this.#era++;
    this.#dirty.clear();
    if (isNew) this.#watches.clear();
    for (const interest of this.#contents.keys()) this.#unread.add(interest);
    for (const { interests } of this.#waiting) for (const interest of interests) this.#unread.add(interest);
    this.kick();
  }

  down(): void {
    this.#zk = undefined;
    this.#era++;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Looks for what is new soon, rather than with the next mark. */
  kick(): void {
    this.#wanted = true;
    if (this.#running || this.#zk === undefined) return;
    this.#running = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    setImmediate(() => void this.#run());
  }

  async #run(): Promise<void> {
    let failed = false;
    while (this.#wanted && this.#zk !== undefined && !failed) {
      this.#wanted = false;
      const zk = this.#zk;
      try {
        await this.#round(zk);
      } catch {
        // With the link gone, its successor begins anew; a request that failed for itself is repeated.
        failed = true;
        for (const interest of this.#contents.keys()) this.#unread.add(interest);
        for (const { interests } of this.#waiting) for (const interest of interests) this.#unread.add(interest);
      }
    }
    this.#running = false;
    if (this.#zk === undefined) return;
    if (this.#wanted && !failed) return this.kick();
    if ((this.#hub?.subscribers ?? 0) > 0) {
      this.#timer = setTimeout(() => this.kick(), this.#options.markInterval);
      this.#timer.unref();
    }
  }

  async #round(zk: ZooKeeper): Promise<void> {
    const era = this.#era;
    const changes: HubChange[] = [];
    const seen = new Set<string>();
    let revision: Revision;
    for (;;) {
      while (this.#hasMoreThanObjects()) await this.#readWhole();
      const fresh = this.#takeUnreadObjects();
      // Requests are answered in their order: the watches stand when the objects are read, and nobody waits in between.
      const watching = Promise.all([...fresh.values()].map((interest) => this.#watch(zk, interest)));
      watching.catch(() => {}); // awaited below, unless what goes behind it fails, too
      for (const path of this.#dirty) seen.add(path);
      this.#dirty.clear();
      const paths = [...new Set([...seen, ...fresh.keys()])];
      let results: ReadResult[];
      try {
        results = await readAll(zk, paths);
        await watching;
      } catch (error) {
        for (const interest of fresh.values()) this.#unread.add(interest);
        throw error;
      }
      if (this.#era !== era) return;
      const last = new Set(paths.slice(-(paths.length % PORTION || PORTION)));
      revision = Number(asData(results[results.length - 1])!.stat.mzxid);
      for (const [i, path] of paths.entries()) {
        const interest = fresh.get(path);
        if (interest !== undefined) {
          this.#contents.set(interest, objectContent(interest, asData(results[i])));
          this.#reread.add(interest);
        }
        this.#update(path, results[i], changes);
      }
      // What was read in the last request is as of its answer, whatever happened to it since: that is for the next round.
      if (this.#unread.size === 0 && [...this.#dirty].every((path) => last.has(path))) break;
    }
    this.#options.onRevision(revision);
    const again = [...this.#reread];
    this.#reread.clear();
    this.#hub!.publish(changes);
    this.#hub!.resend(again);
    this.#hub!.pushMarks();
    this.#runWaiting();
  }

  /** Whether there is more to be read whole than single objects. */
  #hasMoreThanObjects(): boolean {
    for (const interest of this.#unread) if (!isObject(interest)) return true;
    return false;
  }

  /** The objects to be read, all that is unread, by their znodes. */
  #takeUnreadObjects(): Map<string, Interest> {
    const taken = new Map<string, Interest>();
    for (const interest of this.#unread) taken.set(nodeZnode(interest), interest);
    this.#unread.clear();
    return taken;
  }

  async #readWhole(): Promise<void> {
    const zk = this.#zk;
    const era = this.#era;
    if (zk === undefined) throw new Error('the link is gone');
    const interests = [...this.#unread];
    this.#unread = new Set();
    try {
      await Promise.all(
        interests.map(async (interest) => {
          // Requests are answered in their order: the watch stands when the content is read, and nobody waits in between.
          const [, content] = await Promise.all([
            this.#watch(zk, interest),
            loadContent(this.#options.reader, parseInterest(interest), interest),
          ]);
          if (this.#era !== era) throw new Error('the link is gone');
          this.#contents.set(interest, content);
          this.#reread.add(interest);
        }),
      );
    } catch (error) {
      for (const interest of interests) this.#unread.add(interest);
      throw error;
    }
  }

  async #watch(zk: ZooKeeper, interest: Interest): Promise<void> {
    const { path, recursive } = watchOf(parseInterest(interest), interest);
    let watched = this.#watches.get(path);
    if (watched === undefined) {
      const watch = zk.addWatch(path, { recursive, onEvent: (event) => this.#event(event) });
      const made: Watched = { watch, interests: new Set() };
      watched = made;
      this.#watches.set(path, made);
      watch.catch(() => {
        if (this.#watches.get(path) === made) this.#watches.delete(path);
      });
    }
    watched.interests.add(interest);
    await watched.watch;
  }

  #event(event: WatchEvent | WatchEnded): void {
    if (event.type === 'gap' || event.type === 'lost' || event.type === 'removed') return; // the link tells, too
    const read = readOf(event.path);
    if (read === undefined) return;
    if (read === 'whole') {
      for (const interest of this.#watches.get(event.path)?.interests ?? []) this.#unread.add(interest);
    } else this.#dirty.add(event.path);
    this.kick();
  }

  #update(path: string, result: ReadResult, changes: HubChange[]): void {
    for (const interest of locate(path)) {
      const content = this.#contents.get(interest);
      if (content === undefined) continue;
      const change = updateContent(interest, content, path, asData(result));
      if (change !== undefined) changes.push(change);
    }
  }

  #runWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const later: Waiting[] = [];
    const done: Waiting[] = [];
    for (const one of waiting)
      (one.interests.every((interest) => this.#contents.has(interest)) ? done : later).push(one);
    this.#waiting.push(...later);
    for (const { task } of done) task();
    for (const { interests } of done)
      for (const interest of interests) if (!this.#hub!.listens(interest)) this.unwanted(interest);
  }
}

const isObject = (interest: Interest): boolean => interest.startsWith('o/');

/** Reads all of these and, last, the revision. Of the last portion and the revision nothing lies in between. */
async function readAll(zk: ZooKeeper, paths: readonly string[]): Promise<ReadResult[]> {
  const reads = [...paths, REVISION_PATH].map((path) => ({ op: 'getData', path }) as const);
  const portions: Promise<ReadResult[]>[] = [];
  const tail = (paths.length % PORTION || Math.min(PORTION, paths.length)) + 1;
  for (let at = 0; at < reads.length - tail; at += PORTION) portions.push(zk.multiRead(reads.slice(at, at + PORTION)));
  portions.push(zk.multiRead(reads.slice(reads.length - tail)));
  return (await Promise.all(portions)).flat();
}
