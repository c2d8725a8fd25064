/** Pins in a directory of tables and links. */
import { existsSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Pin of a link: role and interface index. */
export const PIN = /^(port|closed|underlay|helper|gro)_(\d+)$/;

/** Removes all pins of a directory and the directory itself. What only pins kept alive goes. */
export function removePins(directory: string): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory)) unlinkSync(join(directory, name));
  rmdirSync(directory);
}
