/** Child of the durability test: commits pairs as fast as it can and prints what was acknowledged, until it is killed. */
import { writeSync } from 'node:fs';
import { openEmbedded } from './index.ts';

const nsdb = await openEmbedded({ dir: process.argv[2] });
let n = 0;
await Promise.all(
  Array.from({ length: 20 }, async () => {
    for (;;) {
      const name = String(n++);
      const { revision, result } = await nsdb.transact(async (tx) => {
        const bridge = await tx.create<{ id: string }>('Bridge', { name });
        const port = await tx.create<{ id: string }>('Port', { bridgeId: bridge.id });
        tx.putEntry(`mac/${bridge.id}`, 'k', port.id);
        return { bridge: bridge.id, port: port.id };
      });
      writeSync(1, `${revision} ${name} ${result.bridge} ${result.port}\n`);
    }
  }),
);
