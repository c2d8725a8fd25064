/** Certificates for tests: an authority of one's own and what it signed, made by openssl. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface TestCertificates {
  /** PEM text of the authority. */
  readonly ca: string;
  /** Files for a server's key store and trust store. */
  readonly keyStore: string;
  readonly trustStore: string;
  /** PEM texts of a client's key and certificate. */
  readonly clientKey: string;
  readonly clientCert: string;
}

/**
 * Makes them in `dir`. `names`: what the server's is for (default: localhost and 127.0.0.1); `days` of validity. Throws if there is no openssl.
 */
export function makeCertificates(dir: string, names = ['DNS:localhost', 'IP:127.0.0.1'], days = 1): TestCertificates {
  const file = (name: string) => join(dir, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  const key = (name: string) =>
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${name}.key`);
  const sign = (name: string, extensions: string) => {
    key(name);
    writeFileSync(file(`${name}.ext`), extensions);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
    const by = [
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      String(days),
      '-extfile',
      `${name}.ext`,
    ];
    openssl('x509', '-req', '-in', `${name}.csr`, ...by, '-out', `${name}.crt`);
  };
  key('ca');
  const subject = ['-subj', '/CN=test authority', '-days', String(days)];
  openssl('req', '-x509', '-new', '-key', 'ca.key', ...subject, '-out', 'ca.crt');
  sign('server', `subjectAltName=${names.join(',')}\n`);
  sign('client', 'extendedKeyUsage=clientAuth\n');
  const read = (name: string) => readFileSync(file(name), 'utf8');
  writeFileSync(file('server.pem'), read('server.key') + read('server.crt'), { mode: 0o600 });
  writeFileSync(file('ca.pem'), read('ca.crt'));
  return {
    ca: read('ca.crt'),
    keyStore: file('server.pem'),
    trustStore: file('ca.pem'),
    clientKey: read('client.key'),
    clientCert: read('client.crt'),
  };
}
