import type { Nsdb } from './contract.ts';

/** Creates the Host object unless it is there; a changed name is taken over. */
export async function registerHost(nsdb: Nsdb, host: { id: string; name: string }): Promise<void> {
  await nsdb.transact(async (tx) => {
    const stored = await tx.get('Host', host.id);
    if (stored === undefined) await tx.create('Host', { id: host.id, name: host.name });
    else if (stored.value.name !== host.name) await tx.update('Host', host.id, { ...stored.value, name: host.name });
  });
}
