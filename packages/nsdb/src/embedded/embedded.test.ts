/** The compliance suite on the embedded store, within the process. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nsdbCompliance } from '../compliance/index.ts';
import { openEmbedded } from './index.ts';

nsdbCompliance('embedded', async (options = {}) => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
  const nsdb = await openEmbedded({ ...options, dir: join(dir, 'store') });
  return {
    nsdb,
    another: async () => nsdb,
    close: async () => {
      await nsdb.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
});
