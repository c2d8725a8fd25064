/**
 * Exit status 0 when node_modules holds what package-lock.json asks for. Plain JavaScript without imports from packages:
 * it runs before they are installed.
 */
import { existsSync, readFileSync } from 'node:fs';

try {
  const wanted = JSON.parse(readFileSync('package-lock.json', 'utf8')).packages;
  const installed = JSON.parse(readFileSync('node_modules/.package-lock.json', 'utf8')).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (!path.startsWith('node_modules/') || (entry.optional && !(path in installed))) continue;
    const same = entry.link ? existsSync(path) : installed[path]?.version === entry.version && existsSync(path);
    if (!same) process.exit(1);
  }
} catch {
  process.exit(1);
}
