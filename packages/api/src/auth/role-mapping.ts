/** From what an identity provider says of somebody to what that is here. */
import type { MappedRole } from './config.ts';
import type { Principal } from './principal.ts';

/** Most powerful first: who has several roles gets the first that applies. */
const ORDER: readonly MappedRole[] = ['admin', 'tenant', 'viewer', 'tenant-viewer'];

/**
 * The principal, or undefined when none of the roles counts here. Roles within a tenant count only when the provider names
 * the tenant.
 */
export function mapPrincipal(
  provider: 'oidc' | 'keystone',
  name: string,
  roles: readonly string[],
  tenantId: string | undefined,
  mapping: Readonly<Record<string, MappedRole>>,
): Principal | undefined {
  const mapped = new Set(roles.flatMap((role) => (Object.hasOwn(mapping, role) ? [mapping[role]!] : [])));
  for (const role of ORDER) {
    if (!mapped.has(role)) continue;
    if (role === 'admin' || role === 'viewer') return { name, role, provider };
    if (tenantId === undefined || tenantId === '') continue;
    return { name, role: role === 'tenant' ? 'tenant' : 'viewer', tenantId, provider };
  }
  return undefined;
}
