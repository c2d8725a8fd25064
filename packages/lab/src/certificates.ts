/** One authority of a lab, and the certificate that it gives to all servers of the management network. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCertificates } from '@weft/zookeeper/testing';
import type { LabPaths } from './paths.ts';
import type { ManagementPlan } from './plan-management.ts';

const DAYS = 365;

/** Files: who signs, and key and certificate in one. */
export function certificateFiles({ certificates }: LabPaths): { ca: string; server: string } {
  return { ca: join(certificates, 'ca.pem'), server: join(certificates, 'server.pem') };
}

export async function certify(paths: LabPaths, { servers, archive }: ManagementPlan): Promise<void> {
  await mkdir(paths.certificates, { recursive: true, mode: 0o700 });
  const places = [...servers, ...(archive ? [archive] : [])];
  makeCertificates(paths.certificates, ['DNS:localhost', ...places.map(({ address }) => `IP:${address}`)], DAYS);
}
