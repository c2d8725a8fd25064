/** Where the settings come from, and who wins. */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { loadSettings, parseSettings } from './settings.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-settings-'));
after(() => rmSync(directory, { recursive: true }));

function file(text: string, mode = 0o600): string {
  const path = join(directory, 'weftrc');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('precedence', () => {
  const path = file('[cli]\napi_url = https://file:1\nusername = filer\npassword = secret\ntenant = from-file\n');

  test('the file alone', () => {
    assert.deepEqual(loadSettings({}, { WEFT_CONFIG: path }), {
      apiUrl: 'https://file:1',
      user: 'filer',
      password: 'secret',
      tenant: 'from-file',
    });
  });

  test('the environment over the file, Weft over MidoNet, options over all', () => {
    const env = {
      WEFT_CONFIG: path,
      MIDO_API_URL: 'https://mido:1',
      MIDO_TENANT: 'from-mido',
      WEFT_TENANT: 'from-env',
    };
    assert.equal(loadSettings({}, env).apiUrl, 'https://mido:1');
    assert.equal(loadSettings({}, { ...env, WEFT_API_URL: 'https://weft:1' }).apiUrl, 'https://weft:1');
    assert.equal(loadSettings({}, env).tenant, 'from-env');
    assert.equal(loadSettings({ tenant: 'from-option' }, env).tenant, 'from-option');
  });

  test('one door: a socket that is named above hides an address below, and the other way round', () => {
    assert.equal(loadSettings({ apiSocket: '/s' }, { WEFT_CONFIG: path }).apiUrl, undefined);
    const settings = loadSettings({ apiUrl: 'https://o:1' }, { WEFT_CONFIG: '', WEFT_API_SOCKET: '/s' });
    assert.deepEqual(settings, { apiUrl: 'https://o:1' });
  });

  test('one way to ask: a token that is named above hides a user below, and the other way round', () => {
    const { user, password, tokenFile } = loadSettings({ tokenFile: '/t' }, { WEFT_CONFIG: path });
    assert.deepEqual([user, password, tokenFile], [undefined, undefined, '/t']);
    const asUser = loadSettings({ user: 'ann', password: 'x' }, { WEFT_CONFIG: '', WEFT_TOKEN: 'abc' });
    assert.deepEqual(asUser, { user: 'ann', password: 'x' });
  });

  test('without the file of the home directory nothing is set', () => {
    assert.deepEqual(loadSettings({}, { WEFT_CONFIG: '' }), {});
  });
});

describe('the file', () => {
  const refused: [text: string, message: RegExp][] = [
    ['api_url = x', /^f:1: the section \[cli\] must begin/],
    ['[cli]\n[other]', /^f:2: there is no section \[other\]/],
    ['[cli]\n# all right\ncolour = red', /^f:3: there is no setting "colour"; there are api_socket, api_url/],
    ['[cli]\nnonsense', /^f:2: must be "name = value"/],
    ['[cli]\ndisable_ssl_certificate_validation = perhaps', /must be true or false/],
  ];
  for (const [text, message] of refused) {
    test(`refuses ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseSettings(text, 'f'), { code: 'WEFT_CLI_CONFIG', message });
    });
  }

  test('TLS is verified unless it says otherwise', () => {
    assert.equal(parseSettings('[cli]\n', 'f').insecure, undefined);
    assert.equal(parseSettings('[cli]\ndisable_ssl_certificate_validation = True', 'f').insecure, true);
  });

  test('a password that others may read is refused', () => {
    const path = file('[cli]\npassword = secret\n', 0o644);
    assert.throws(() => loadSettings({}, { WEFT_CONFIG: path }), { code: 'WEFT_CLI_CONFIG', message: /chmod 600/ });
    const harmless = file('[cli]\napi_url = https://x:1\n', 0o644);
    assert.equal(loadSettings({}, { WEFT_CONFIG: harmless }).apiUrl, 'https://x:1');
  });

  test('one that is named must be there', () => {
    const env = { WEFT_CONFIG: join(directory, 'none') };
    assert.throws(() => loadSettings({}, env), { code: 'WEFT_CLI_CONFIG' });
  });
});
