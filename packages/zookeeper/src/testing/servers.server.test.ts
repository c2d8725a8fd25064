/** Servers of tests do not outlive their test, however it ends. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { needsServer } from './server-files.ts';
import { startServers } from './servers.ts';

/** Not there, or a zombie that nobody has waited for. */
function isGone(pid: number): boolean {
  try {
    return /^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

const directoriesOf = (pid: number) =>
  readdirSync(tmpdir()).filter((name) => name.startsWith(`weft-zookeeper-${pid}-`));

async function untilGone(pid: number): Promise<void> {
  while (!isGone(pid)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('servers of tests', { skip: needsServer() }, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    it(`are gone when the test gets ${signal}, and so are their files`, async () => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'servers.child.ts')], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(child, 'exit');
      const [line] = await once(child.stdout, 'data');
      const { pid } = JSON.parse(String(line)) as { pid: number };
      assert.equal(isGone(pid), false);
      assert.equal(directoriesOf(child.pid!).length, 1);
      child.kill(signal);
      await ended;
      await untilGone(pid);
      // What a killed process left is removed by the next one that starts servers.
      if (signal === 'SIGKILL') await (await startServers()).close();
      assert.deepEqual(directoriesOf(child.pid!), []);
    });
  }

  it('keep what they were told when they are killed and started again', async () => {
    const ensemble = await startServers();
    const [server] = ensemble.servers;
    assert.equal(await server.mode(), 'standalone');
    await server.kill();
    assert.equal(server.running, false);
    assert.equal(await server.mode(), undefined);
    assert.equal(await server.start(), 'standalone');
    const pid = server.pid!;
    await ensemble.close();
    await untilGone(pid);
    assert.deepEqual(directoriesOf(process.pid), []);
  });
});
