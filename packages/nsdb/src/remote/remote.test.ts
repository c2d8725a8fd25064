/** The compliance suite over the Unix socket. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nsdbCompliance } from '../compliance/index.ts';
import { connect } from '../connect.ts';
import type { Nsdb } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import { serve } from './server.ts';

nsdbCompliance('remote', async (options = {}) => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
  const [store, socket] = [join(dir, 'store'), join(dir, 'socket')];
  const start = async () => {
    const nsdb = await openEmbedded({ ...options, dir: store });
    return { nsdb, server: await serve(nsdb, { socket }) };
  };
  let running = await start();
  const stop = async () => {
    await running.server.close();
    await running.nsdb.close();
  };
  const handles: Nsdb[] = [];
  const another = async () => {
    const handle = await connect({ socket, reconnect: { first: 2, most: 20 } });
    handles.push(handle);
    return handle;
  };
  return {
    nsdb: await another(),
    another,
    cut: async () => {
      await running.server.close();
      running.server = await serve(running.nsdb, { socket });
    },
    isolate: async () => {
      await running.server.close();
      return async () => {
        running.server = await serve(running.nsdb, { socket });
      };
    },
    restart: async () => {
      await stop();
      running = await start();
    },
    down: async () => {
      await stop();
      return async () => {
        running = await start();
      };
    },
    close: async () => {
      for (const handle of handles) await handle.close();
      await stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
});
