/** A file sent with netcat arrives byte for byte. */
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { inNetns, runInBackground, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { defineKind } from './kind.ts';

const PORT = 5204;

export const transfer = defineKind({
  kind: 'transfer',
  summary: 'a file of `megabytes` sent with ncat arrives byte for byte',
  fields: ['from', 'to', 'family', 'megabytes'],
  read: (fields) => ({
    from: fields.place('from'),
    to: fields.place('to'),
    family: fields.family('family'),
    megabytes: fields.integer('megabytes', 1, 1000, 8),
  }),

  async run(context, { from, to, family, megabytes }) {
    const target = context.place(to);
    const address = context.address(target, family);
    const { captures } = context.plan.paths;
    const sent = join(captures, `${context.checkName}.sent`);
    const received = join(captures, `${context.checkName}.received`);
    await writeFile(sent, randomBytes(megabytes * 2 ** 20));
    await writeFile(received, '');
    const shell = (script: string) => ['sh', '-c', script];
    const listen = `exec ncat -${family} -v -l ${PORT} --recv-only > '${received}'`;
    const server = runInBackground(inNetns(target.namespace, shell(listen)));
    try {
      await server.waitFor('Listening on');
      const send = `exec ncat -${family} --send-only -w 3 ${address} ${PORT} < '${sent}'`;
      const { code, stderr } = await tryRun(inNetns(context.place(from).namespace, shell(send)), { timeoutMs: 20_000 });
      if (code === 0) await Promise.race([server.ended(), new Promise((resolve) => setTimeout(resolve, 10_000))]);
      const [ours, theirs] = [await sha256(sent), await sha256(received)];
      return {
        ok: code === 0 && ours === theirs,
        expected: `${megabytes} MiB with SHA-256 ${ours.slice(0, 16)}… at ${to}`,
        seen: code === 0 ? `SHA-256 ${theirs.slice(0, 16)}…` : `ncat ended with ${code}: ${stderr.trim()}`,
      };
    } finally {
      await server.stop();
      await Promise.all([rm(sent, { force: true }), rm(received, { force: true })]);
    }
  },

  sabotage(context, { from, to, family }) {
    const address = context.address(context.place(to), family);
    const version = family === 4 ? 'ip' : 'ip6';
    return nftFault(
      `${from} loses its TCP segments to ${address}, port ${PORT}`,
      context.place(from).namespace,
      `chain out { type filter hook output priority 0; ${version} daddr ${address} tcp dport ${PORT} drop; }`,
    );
  },
});

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
