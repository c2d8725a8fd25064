/** TLS and SASL against a real server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  type Credentials,
  isZooKeeperError,
  saslAcl,
  ZooKeeper,
  type ZooKeeperErrorCode,
  type ZooKeeperOptions,
} from './index.ts';
import {
  makeCertificates,
  needsServer,
  startProxy,
  startServers,
  type TestCertificates,
  type TestEnsemble,
} from './testing/index.ts';

const fails = (code: ZooKeeperErrorCode) => (error: unknown) => {
  assert.ok(isZooKeeperError(error, code), `${code}: ${String(error)}`);
  return true;
};

const hasOpenssl = (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, 'openssl')));
const skip = needsServer() || (hasOpenssl ? false : 'needs openssl');
const ALICE: Credentials = { scheme: 'sasl', user: 'alice', password: 'wonder "land" \\' };

describe('TLS and SASL', { skip }, () => {
  let ensemble: TestEnsemble;
  let certificates: TestCertificates;
  let dir: string;

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'weft-zk-tls-'));
    certificates = makeCertificates(dir);
    const { keyStore, trustStore } = certificates;
    ensemble = await startServers({
      tls: { keyStore, trustStore, clientAuth: 'need' },
      users: { alice: 'wonder \\"land\\" \\\\', bob: 'builder' },
    });
  });
  after(async () => {
    await ensemble?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const connect = (options: Partial<ZooKeeperOptions>) =>
    ZooKeeper.connect({ servers: ensemble.connectString, sessionTimeout: 4_000, connectTimeout: 8_000, ...options });
  const secure = (tls: object, options: Partial<ZooKeeperOptions> = {}) => {
    const { ca, clientKey: key, clientCert: cert } = certificates;
    return connect({ servers: ensemble.secureConnectString, tls: { ca, key, cert, ...tls }, ...options });
  };

  it('TLS by address and by name, with a certificate of the client', async () => {
    const zk = await secure({});
    assert.ok((await zk.whoAmI()).some(({ scheme, id }) => scheme === 'x509' && id === 'CN=client'));
    await zk.create('/tls', 'x'.repeat(500_000));
    assert.equal((await zk.getData('/tls')).data.length, 500_000);
    await Promise.all(Array.from({ length: 2_000 }, (_, i) => zk.setData('/tls', String(i))));
    await zk.close();
    const named = await secure({ servername: 'localhost' });
    assert.equal((await named.getData('/tls')).data.toString(), '1999');
    await named.close();
  });

  it('a session survives a cut of its TLS connection', async () => {
    const proxy = await startProxy({ port: ensemble.servers[0].securePort! });
    const zk = await secure({}, { servers: proxy.address });
    const { id } = zk.session;
    const reconnected = once(zk, 'reconnected');
    proxy.cut();
    await reconnected;
    assert.equal(zk.session.id, id);
    await zk.close();
    await proxy.close();
  });

  it('a server is not trusted without its authority, or under another name; and does not trust a client without certificate', async () => {
    const quick = { connectTimeout: 400 };
    const unknown = await secure({ ca: [] }, quick).catch((error) => error);
    assert.ok(fails('WEFT_ZK_UNREACHABLE')(unknown));
    assert.match(unknown.cause.cause.code, /^(UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET)/);
    const misnamed = await secure({ servername: 'elsewhere.example' }, quick).catch((error) => error);
    assert.equal(misnamed.cause.cause.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
    await assert.rejects(secure({ key: undefined, cert: undefined }, quick), fails('WEFT_ZK_UNREACHABLE'));
    await assert.rejects(secure({ key: 'no key' }, quick), fails('WEFT_ZK_UNREACHABLE'));
    await assert.rejects(connect({ tls: { ca: certificates.ca }, ...quick }), fails('WEFT_ZK_UNREACHABLE'));
    await assert.rejects(connect({ servers: ensemble.secureConnectString, ...quick }), fails('WEFT_ZK_UNREACHABLE'));
  });

  it('SASL: both sides know the password; ACLs of the user hold, also after a reconnect', async () => {
    const proxy = await startProxy(ensemble.servers[0]);
    const alice = await connect({ servers: proxy.address, auth: ALICE });
    assert.ok((await alice.whoAmI()).some(({ scheme, id }) => scheme === 'sasl' && id === 'alice'));
    await alice.create('/alice', 'x', { acl: [saslAcl('alice')] });
    const bob = await connect({ auth: { scheme: 'sasl', user: 'bob', password: 'builder' } });
    await assert.rejects(bob.getData('/alice'), fails('WEFT_ZK_NO_AUTH'));
    const nobody = await connect({});
    await assert.rejects(nobody.getData('/alice'), fails('WEFT_ZK_NO_AUTH'));
    const reconnected = once(alice, 'reconnected');
    proxy.cut();
    const read = alice.getData('/alice');
    await reconnected;
    assert.equal((await read).data.toString(), 'x');
    await Promise.all([alice.close(), bob.close(), nobody.close()]);
    await proxy.close();
  });

  it('SASL over TLS with digest credentials beside it', async () => {
    const digest: Credentials = { scheme: 'digest', user: 'carol', password: 'secret' };
    const zk = await secure({}, { auth: [ALICE, digest] });
    const schemes = (await zk.whoAmI()).map(({ scheme }) => scheme);
    assert.deepEqual([...new Set(schemes)].sort(), ['digest', 'ip', 'sasl', 'x509']);
    await zk.close();
  });

  it('credentials that are refused end the client', async () => {
    const bad: Credentials[] = [
      { scheme: 'sasl', user: 'alice', password: 'wrong' },
      { scheme: 'sasl', user: 'mallory', password: 'x' },
      { scheme: 'nosuch', credential: Buffer.from('x') },
    ];
    for (const auth of bad) await assert.rejects(connect({ auth }), fails('WEFT_ZK_AUTH_FAILED'), auth.scheme);
    await assert.rejects(connect({ auth: [ALICE, ALICE] }), fails('WEFT_ZK_ARGUMENT'));
  });
});
