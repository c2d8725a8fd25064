/** Keys, actions, outputs and tags of this host's flows in words. */
import type { ListSpec } from '@weft/datapath';
import {
  A_OUT_PORT,
  A_OUTPUT,
  ACTION_SIZE,
  MASK_CLASSES,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  printAction,
  printKey,
  readU32le,
  TAG_INGRESS,
  tag,
} from '@weft/flow';
import { ipFormat } from '@weft/packet';
import type { Ref } from '@weft/simulator';
import type { Core } from '../worker/core.ts';
import { localPortTag, type Output, tunnelTag } from '../worker/translate.ts';
import type { Destination } from './trace.ts';

const UNKNOWN: Ref = { kind: 'unknown', id: '', name: 'nothing' };

export class FlowWords {
  private readonly core: Core;
  private readonly name: (id: string) => Ref;

  /** @param name what to call an object */
  constructor(core: Core, name: (id: string) => Ref) {
    this.core = core;
    this.name = name;
  }

  /** What to call a host: nothing for this one. */
  host(id: string): string {
    if (id === this.core.hostId) return '';
    const tunnel = this.core.tunnels.list().find(({ hostId }) => hostId === id);
    const brief = `host ${id.slice(0, 8)}`;
    return tunnel === undefined ? brief : `${brief} (${ipFormat(tunnel.remote)})`;
  }

  match(masked: Uint8Array, cls: number): string {
    return printKey(masked, cls);
  }

  maskClass(cls: number): string {
    return MASK_CLASSES[cls]?.name ?? String(cls);
  }

  /** The action; members of a list instead of its number, so that equal actions are equal texts. */
  action(action: Uint8Array, list: ListSpec | undefined): string {
    const text = printAction(action.subarray(0, ACTION_SIZE));
    if (action[A_OUTPUT] !== OUT_LIST) return text;
    const members = [
      ...[...(list?.ports ?? [])].sort((a, b) => a - b).map((port) => `output:${port}`),
      ...(list?.remotes ?? []).map(({ peer, key }) => `tunnel(peer=${peer},key=0x${key.toString(16)})`).sort(),
    ];
    return text.replace(/list:\d+/, `list(${members.join(',')})`);
  }

  /** The members of an installed action's list, if it has one. */
  installedList(action: Uint8Array): ListSpec | undefined {
    return action[A_OUTPUT] === OUT_LIST ? this.core.lists.get(readU32le(action, A_OUT_PORT)) : undefined;
  }

  /** Where a translated output goes. `list`: members of a list output; `keys`: what tunnel keys are of. */
  destinations(output: Output, list: ListSpec | undefined, keys: ReadonlyMap<number, Ref>): Destination[] {
    switch (output.output) {
      case OUT_DROP:
        return [];
      case OUT_PORT:
        return [this.local(output.outPort)];
      case OUT_TUNNEL:
        return [this.tunnel(output.outPort, output.tunnelKey, keys)];
      default:
        return [
          ...(list?.ports ?? []).map((ifindex) => this.local(ifindex)),
          ...(list?.remotes ?? []).map(({ peer, key }) => this.tunnel(peer, key, keys)),
        ];
    }
  }

  private local(ifindex: number): Destination {
    const bound = this.core.bindings.list().find((binding) => binding.ifindex === ifindex);
    const port = bound === undefined ? UNKNOWN : this.name(bound.portId);
    const name = bound?.interfaceName ?? '';
    return { via: 'interface', port, interface: name, text: `interface ${name || ifindex} of this host: ${port.name}` };
  }

  private tunnel(peer: number, key: number, keys: ReadonlyMap<number, Ref>): Destination {
    const { tunnels } = this.core;
    const spec = tunnels.list().find((tunnel) => tunnel.peer === peer);
    const host = spec?.hostId ?? '';
    const remote = spec === undefined ? '' : ipFormat(spec.remote);
    const of = keys.get(key) ?? UNKNOWN;
    const what = of.kind === 'port' ? of.name : `all ports of ${of.name} there`;
    const text = `tunnel to host ${host.slice(0, 8)} at ${remote}, key 0x${key.toString(16)}: ${what}`;
    return { via: 'tunnel', port: of.kind === 'port' ? of : null, host, remote, key, text };
  }

  /** The agent's own tags: tag → words. The simulation's are told by the explainer. */
  ownTags(): Map<number, string> {
    const { bindings, tunnels, view } = this.core;
    const words = new Map<number, string>();
    for (const { portId, interfaceName, ifindex } of bindings.list()) {
      words.set(localPortTag(view.handle(portId)), `whether ${this.name(portId).name} is live here`);
      words.set(tag(TAG_INGRESS, ifindex), `enters by ${interfaceName}`);
    }
    for (const { hostId } of tunnels.list()) {
      words.set(tunnelTag(view.handle(hostId)), `the tunnel to ${this.host(hostId)}`);
    }
    return words;
  }
}
