/** Certificate and key of the API's TLS doors: TLS 1.2 or newer, the key readable by its owner only. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { readPrivateFile } from './doors.ts';
import { ApiError } from './errors.ts';

export interface TlsFiles {
  /** PEM: the certificate, followed by those between it and the root. */
  readonly certFile: string;
  /** PEM: its private key, not encrypted; the file must be private. */
  readonly keyFile: string;
}

/** Reads and checks both files. Throws WEFT_API_TLS. */
export function secureContext({ certFile, keyFile }: TlsFiles): { cert: string; key: string; minVersion: 'TLSv1.2' } {
  const refuse = (why: string): never => {
    throw new ApiError(500, 'WEFT_API_TLS', `TLS: ${why}.`);
  };
  const key = `${readPrivateFile(keyFile, (why) => refuse(`key file ${keyFile} ${why}`))}\n`;
  let cert = '';
  try {
    cert = readFileSync(certFile, 'utf8');
  } catch (error) {
    refuse(`certificate file ${certFile} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    const certificate = new X509Certificate(cert);
    if (!certificate.checkPrivateKey(createPrivateKey(key))) refuse(`${keyFile} is not the key of ${certFile}`);
    if (Date.parse(certificate.validTo) < Date.now()) refuse(`${certFile} expired on ${certificate.validTo}`);
    createSecureContext({ cert, key });
  } catch (error) {
    if (error instanceof ApiError) throw error;
    refuse(`${certFile} and ${keyFile} are not a certificate and its key (${(error as Error).message})`);
  }
  return { cert, key, minVersion: 'TLSv1.2' };
}
