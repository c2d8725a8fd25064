/** The MAC address by which a VM reaches its default gateway. */
import { require } from './errors.ts';
import { runJson } from './exec.ts';
import type { End } from './paths.ts';

/** Asks the VM's own neighbour table; the path has been used before. */
export async function gatewayMac(vm: End): Promise<string> {
  const [route] = await runJson<{ gateway?: string }[]>(['ip', '-n', vm.namespace, '-j', 'route', 'show', 'default']);
  const gateway = route?.gateway;
  const neighbours = await runJson<{ dst: string; lladdr?: string }[]>(['ip', '-n', vm.namespace, '-j', 'neigh']);
  const mac = neighbours.find(({ dst }) => dst === gateway)?.lladdr;
  require(mac !== undefined, () => `the VM has not resolved its gateway ${gateway}`);
  return mac;
}
