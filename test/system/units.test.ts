/** The units of systemd: systemd itself takes them, and the agent's rights are enough for it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const units = join(root, 'packaging/systemd');
const names = readdirSync(units).filter((name) => name.endsWith('.service'));
const analyze = (...args: string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });
const skip = analyze('--version').status === 0 ? false : 'systemd-analyze is not installed (Debian: systemd)';

/** A unit that starts the command of this repository instead of an installed one. */
function here(dir: string, name: string): string {
  const file = join(dir, name);
  writeFileSync(file, readFileSync(join(units, name), 'utf8').replaceAll('/opt/weft', root));
  return file;
}

describe('systemd units', { skip }, () => {
  test('systemd finds nothing wrong with them', (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-units-'));
    t.after(() => rmSync(dir, { recursive: true }));
    assert.ok(names.length >= 2);
    const { status, stdout, stderr } = analyze('verify', '--man=no', ...names.map((name) => here(dir, name)));
    assert.equal(stdout + stderr, '');
    assert.equal(status, 0);
    // A word that it does not know is found: the check can fail.
    const wrong = here(dir, 'weft-api.service');
    writeFileSync(wrong, readFileSync(wrong, 'utf8').replace('KillMode=', 'KillMood=').replace('Restart=', 'Restrat='));
    assert.match(analyze('verify', '--man=no', wrong).stderr, /Restrat/);
  });

  test('what an attacker could do from within is bounded', (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-units-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const most: Readonly<Record<string, number>> = { 'weft-api.service': 25, 'weft-agent.service': 50 };
    for (const name of names) {
      // Tenths of systemd's measure of exposure: 100 for a service without any bounds.
      const { status, stdout } = analyze('security', '--offline=true', `--threshold=${most[name]}`, here(dir, name));
      assert.equal(status, 0, stdout.slice(-200));
    }
  });
});
