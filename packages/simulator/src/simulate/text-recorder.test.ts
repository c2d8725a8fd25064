import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, MAC_B, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { TextRecorder } from './text-recorder.ts';

describe('text recorder', () => {
  it('tells the way of a packet, decision by decision', () => {
    const net = routed();
    const chain = net.world.chain([
      { type: 'drop', nwProto: 6 },
      { type: 'accept', nwProto: 17 },
    ]);
    net.world.patch('Port', net.b, { outboundFilterId: chain });
    const names = new Map(Object.entries(net).map(([name, id]) => [String(id), name]));
    const [first, second] = net.world.get('Chain', chain)!.ruleIds as string[];
    for (const [id, name] of [
      [chain, 'filter'],
      [first, 'noTcp'],
      [second, 'udp'],
    ])
      names.set(id, name);
    const recorder = new TextRecorder((id) => names.get(id) ?? '?');
    const bench = new Workbench(net.world, recorder);
    recorder.view = bench.view;
    const head = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 1, dstPort: 2 };
    const input = bench.input(udpFrame({ ...head, payload: new Uint8Array(8) }), net.a);
    bench.run(input);
    recorder.clear();
    bench.run(input);
    assert.deepEqual(recorder.lines, [
      'enters by port a',
      'bridge leftBridge',
      `${LEFT_MAC} is at port ?`,
      'leaves by port ?',
      'enters by port left',
      'router router',
      'route ? for 10.0.1.10 > 10.0.2.10',
      'the next hop behind port right is known',
      'leaves by port right',
      'enters by port ?',
      'bridge rightBridge',
      `${MAC_B} is at port b`,
      'leaves by port b',
      'rule noTcp does not match: protocol',
      'rule udp matches',
      'chain filter: rule udp says accept',
      'goes out at port b',
    ]);
  });
});
