/**
 * Since when hosts are away. An ephemeral node that goes says nothing of when it went, so those who may write down what is the
 * operator's do: the janitor and whoever has asked for it once watch presences; and who asks and finds that nobody has noted it, does.
 *
 * A note counts for as long as it is newer than what the host wrote last about itself (`/a/<host>`), which it touches whenever it
 * comes back. So nobody has to take notes away.
 */
import { lastPart } from '../objects/paths.ts';
import { AWAY } from '../transfer/records.ts';
import { APPLIED_ROOT, appliedZnode, metaZnode, nodeZnode, PRESENCE_PATH, presencePath, type Znode } from './layout.ts';
import type { ZookeeperStore } from './store.ts';
import { ignoring } from './tables.ts';

export class Absences {
  readonly #store: ZookeeperStore;
  /** Session of ZooKeeper that presences are watched by. */
  #session: bigint | undefined;

  #attends = false;

  constructor(store: ZookeeperStore) {
    this.#store = store;
  }

  /** From now on this process notes who goes, if it may. */
  attend(): void {
    if (this.#attends || !this.#store.access.isAdmin) return;
    this.#attends = true;
    this.#store.listen({ up: () => this.#begin(), down: () => {} });
  }

  /** Znode of a host's note. */
  static znode(hostId: string): string {
    return metaZnode(`${AWAY}${hostId}`);
  }

  /** Since when a host without presence has been away, ms of the store's clock; null: nobody has noted it, or it never was here. */
  async since(hostId: string, note: Znode | undefined, applied: Znode | undefined): Promise<number | null> {
    if (applied === undefined) return null;
    if (isValid(note, applied)) return Number(Buffer.from(note!.data).toString());
    return this.#store.access.isAdmin ? this.#note(hostId) : null;
  }

  /** Notes that a host is away from now on, unless it is here, never was, or somebody has noted it already. */
  async #note(hostId: string): Promise<number | null> {
    const { reader, link } = this.#store;
    const path = Absences.znode(hostId);
    const [present, applied, note, now] = await Promise.all([
      reader.data(nodeZnode(presencePath(hostId))),
      reader.data(appliedZnode(hostId)),
      reader.data(path),
      this.#store.now(),
    ]);
    if (present !== undefined || applied === undefined) return null;
    if (isValid(note, applied)) return Number(Buffer.from(note!.data).toString());
    const zk = link.use();
    // Of several that notice it at the same time the first one's time counts.
    if (note === undefined) {
      const acl = this.#store.access.of(path);
      await zk.create(path, String(now), { acl }).catch(ignoring('WEFT_ZK_NODE_EXISTS'));
    } else await zk.setData(path, String(now), { version: note.stat.version }).catch(ignoring('WEFT_ZK_BAD_VERSION'));
    return now;
  }

  #begin(): void {
    const zk = this.#store.link.use();
    const { id } = zk.session;
    const watched =
      this.#session === id
        ? Promise.resolve()
        : zk.addWatch(nodeZnode(PRESENCE_PATH), {
            recursive: true,
            onEvent: ({ type, path }) => {
              if (type === 'deleted') void this.#note(lastPart(path)).catch(() => {}); // whoever asks finds it out
            },
          });
    this.#session = id;
    watched
      .then(() => this.#lookAtAll())
      .catch(() => {
        this.#session = undefined; // the next link tries anew
      });
  }

  /** What has happened while nobody watched. */
  async #lookAtAll(): Promise<void> {
    const hosts = await this.#store.reader.children(APPLIED_ROOT);
    await Promise.all(hosts.map((hostId) => this.#note(hostId)));
  }
}

function isValid(note: Znode | undefined, applied: Znode): boolean {
  return note !== undefined && note.stat.mzxid > applied.stat.mzxid;
}
