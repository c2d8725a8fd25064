import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Port, securityInChainId, securityOutChainId } from '@weft/topology';
import { isFiltered } from '../contract.ts';
import { HOST, MAC_A } from '../testing/networks.ts';
import { World } from '../testing/world.ts';
import { Handles } from './handles.ts';
import { compilePort, isFilteredPort, samePort } from './port.ts';

describe('port', () => {
  const world = new World();
  const bridgeId = world.put('Bridge', {});
  const routerId = world.put('Router', {});
  const chain = world.chain([{ type: 'accept' }]);
  const bound = { bridgeId, hostId: HOST, macAddress: MAC_A };
  const ports: [name: string, filtered: boolean, fields: Record<string, unknown>][] = [
    ['plain', false, { ...bound, interfaceName: 'a' }],
    ['filtered inwards', false, { ...bound, interfaceName: 'b', inboundFilterId: chain }],
    ['filtered outwards', true, { ...bound, interfaceName: 'c', outboundFilterId: chain }],
    ['secured', true, { ...bound, interfaceName: 'd', portSecurityEnabled: true }],
    ['not secured', false, { ...bound, interfaceName: 'e', portSecurityEnabled: false }],
    ['both', true, { ...bound, interfaceName: 'f', portSecurityEnabled: true, outboundFilterId: chain }],
    ['of a router', false, { routerId, portSubnet: ['10.0.0.1/24'] }],
  ];

  it('is filtered on the way out alike as an object and compiled: hosts that send and hosts that receive agree on it', () => {
    const handles = new Handles();
    for (const [name, filtered, fields] of ports) {
      const object = world.get('Port', world.put('Port', fields)) as Port;
      assert.equal(isFilteredPort(object), filtered, name);
      assert.equal(isFiltered(compilePort(object, handles)!), filtered, name);
    }
  });

  it('has the chains of its security only while that is enabled', () => {
    const handles = new Handles();
    const id = world.put('Port', { ...bound, interfaceName: 'g', portSecurityEnabled: true });
    const secured = compilePort(world.get('Port', id)!, handles)!;
    assert.equal(handles.id(secured.securityIn), securityInChainId(id));
    assert.equal(handles.id(secured.securityOut), securityOutChainId(id));
    world.patch('Port', id, { portSecurityEnabled: false });
    const open = compilePort(world.get('Port', id)!, handles)!;
    assert.deepEqual([open.securityIn, open.securityOut], [0, 0]);
    assert.ok(!samePort(secured, open));
  });
});
