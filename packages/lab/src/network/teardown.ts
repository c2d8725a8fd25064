/** Removes every kernel object of a lab by its name, whether or not anything else is known of it. */
import { readFile } from 'node:fs/promises';
import { listNetns } from '@weft/sys';
import { tryRun } from '../exec.ts';
import { namespacePrefix } from '../names.ts';

/** Namespaces of the lab; deleting one deletes the links in it and the far ends of their veths. */
export function labNamespaces(lab: string): string[] {
  return listNetns().filter((name) => name.startsWith(namespacePrefix(lab)));
}

export async function removeNamespaces(lab: string): Promise<number> {
  const names = labNamespaces(lab);
  for (const name of names) await tryRun(['ip', 'netns', 'delete', name]);
  return names.length;
}

/** Unmounts everything mounted at or below a directory, the last mounted first. */
export async function unmountBelow(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target === directory || target.startsWith(`${directory}/`));
  for (const target of mounts.reverse()) await tryRun(['umount', '--lazy', target]);
}
