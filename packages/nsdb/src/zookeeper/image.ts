/**
 * All of a store at one revision, while others write: everything is watched, everything is read, and then what has changed meanwhile,
 * until nothing does between a request and its answer.
 */
import type { Watch } from '@weft/zookeeper';
import { NsdbError } from '../errors.ts';
import type { StoreImage, StoreRecord } from '../transfer/records.ts';
import { entryOf, isLive, REVISION_PATH, toNode, type Znode } from './layout.ts';
import { asData, PORTION } from './reader.ts';
import type { ZookeeperStore } from './store.ts';

const ROOTS = ['/n', '/t'];

export async function readImage(store: ZookeeperStore, onProgress?: (read: number) => void): Promise<StoreImage> {
  const zk = store.link.use();
  const { reader } = store;
  const dirty = new Set<string>();
  const watches: Watch[] = [];
  let failed = false;
  try {
    for (const root of ROOTS) {
      const onEvent = (event: { readonly type: string; readonly path: string }) => {
        if (event.type === 'gap' || event.type === 'lost') failed = true;
        else dirty.add(event.path);
      };
      watches.push(await zk.addWatch(root, { recursive: true, onEvent }));
    }
    const znodes = new Map<string, Znode>();
    const walk = async (path: string): Promise<void> => {
      const [znode, children] = await Promise.all([reader.data(path), reader.children(path)]);
      if (znode !== undefined) znodes.set(path, znode);
      onProgress?.(znodes.size);
      await Promise.all(children.map((name) => walk(`${path}/${name}`)));
    };
    await Promise.all(ROOTS.map(walk));
    const changed = new Set<string>();
    let revision = 0;
    for (;;) {
      for (const path of dirty) changed.add(path);
      dirty.clear();
      const paths = [...changed];
      for (let at = 0; at <= paths.length; at += PORTION) {
        const portion = paths.slice(at, at + PORTION);
        const results = await zk.multiRead([
          ...portion.map((path) => ({ op: 'getData', path }) as const),
          { op: 'getData', path: REVISION_PATH },
        ]);
        portion.forEach((path, i) => {
          const znode = asData(results[i]);
          if (znode === undefined) znodes.delete(path);
          else znodes.set(path, znode);
        });
        revision = Number(asData(results[portion.length])!.stat.mzxid);
      }
      if (failed) throw new NsdbError('WEFT_STORE_AWAY', 'The link broke while the store was read');
      if (paths.length < PORTION && [...dirty].every((path) => changed.has(path))) break;
      if (paths.length >= PORTION && dirty.size === 0) break;
      if (paths.length >= PORTION) changed.clear();
    }
    const { records, garbage } = toRecords(znodes);
    for (const { key, value } of await store.listMeta('')) records.push({ kind: 'meta', key, value });
    for (const name of await reader.children('/q')) {
      const znode = await reader.data(`/q/${name}`);
      const next = Number(Buffer.from(znode?.data ?? '0').toString());
      records.push({ kind: 'sequence', name: decodeURIComponent(name), next });
    }
    return { generation: store.generation, revision, records, garbage };
  } finally {
    for (const watch of watches) await watch.close().catch(() => {});
  }
}

function toRecords(znodes: ReadonlyMap<string, Znode>): { records: StoreRecord[]; garbage: number } {
  const records: StoreRecord[] = [];
  let garbage = 0;
  for (const [path, znode] of znodes) {
    const parts = path.split('/');
    if (parts[1] === 'n') {
      const node = toNode(path.slice('/n/'.length), znode);
      if (node !== undefined) records.push({ kind: 'node', path: node.path, json: node.json });
      // An object or name that is empty and has nothing below it is a tombstone.
      else if ((parts[2] === 'o' || parts[2] === 'u') && parts.length >= (parts[2] === 'o' ? 5 : 6) && !isLive(znode))
        garbage++;
    } else if (parts.length === 9) {
      const epoch = Buffer.from(znodes.get(parts.slice(0, 4).join('/'))?.data ?? '').toString();
      if (epoch !== parts[4]) {
        garbage++;
        continue;
      }
      const sub = parts[5] === '_' ? '' : `/${parts[5].replaceAll('|', '/')}`;
      const value = Buffer.from(znode.data).toString();
      records.push({ kind: 'entry', table: `${parts[2]}/${parts[3]}${sub}`, ...entryOf(path), value });
    }
  }
  return { records, garbage };
}
