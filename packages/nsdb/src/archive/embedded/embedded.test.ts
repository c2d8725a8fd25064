import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { archiveCompliance } from '../compliance/index.ts';
import { openEmbeddedArchive } from './index.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-archive-'));
after(() => rmSync(root, { recursive: true }));
let count = 0;

archiveCompliance('embedded', () => ({
  open: async (options = {}) => openEmbeddedArchive({ dir: join(root, String(count++)), ...options }),
  runs: 60,
}));
