/** UUID → handle: dense positive numbers, interned for the life of the process. */

export class Handles {
  private readonly byId = new Map<string, number>();
  private readonly ids: string[] = [''];

  /** Handle of a UUID, made if new. '' is 0. */
  of(id: string): number {
    if (id === '') return 0;
    let handle = this.byId.get(id);
    if (handle === undefined) {
      handle = this.ids.length;
      this.ids.push(id);
      this.byId.set(id, handle);
    }
    return handle;
  }

  id(handle: number): string {
    return this.ids[handle] ?? '';
  }

  /** Handles given out so far, 0 included. */
  get count(): number {
    return this.ids.length;
  }
}

/** A number that depends on a UUID alone, the same on every host (FNV-1a). */
export function uuidHash(id: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) h = Math.imul(h ^ id.charCodeAt(i), 0x01000193);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  return (h ^ (h >>> 12)) | 0;
}
