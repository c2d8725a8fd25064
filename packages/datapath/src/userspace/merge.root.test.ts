/** Segments of wire size come out of the tunnel; what the guest's TCP takes in is fewer and larger. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DriverFactory, TwoHosts } from '../compliance/index.ts';
import { UserspaceDatapath } from './index.ts';

const FACTORY: DriverFactory = {
  kind: 'userspace',
  create: (options) => new UserspaceDatapath(options),
  skip: () => false,
  adopts: false,
};
const MEGABYTES = 20;
/** TCP payload of a full segment at the guests' MTU of 1450. */
const SEGMENT = 1398;

for (const encap of ['vxlan', 'gre'] as const) {
  test(`a transfer over ${encap} arrives in less than half of its segments, none of them damaged`, {
    skip: process.geteuid?.() === 0 ? false : 'needs root (network namespaces, packet sockets)',
  }, async () => {
    const lab = new TwoHosts([FACTORY, FACTORY], encap, false);
    try {
      const counter = async (name: string) => {
        const { output } = await lab.run(1, ['nstat', '-asz', name], 5);
        return Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(output)?.[1]);
      };
      assert.equal((await lab.run(0, ['ping', '-c', '2', '-i', '0.1', '-W', '2', '10.9.0.2'], 10)).code, 0);
      const segments = await counter('TcpInSegs');
      const server = lab.start(1, ['iperf3', '-s', '-1', '-p', '5999', '--forceflush']);
      assert.ok(await lab.until(() => server.output().includes('Server listening'), 5), server.output());
      const sent = await lab.run(0, ['iperf3', '-c', '10.9.0.2', '-p', '5999', '-n', `${MEGABYTES}M`], 30);
      assert.equal(sent.code, 0, sent.output);
      await lab.until(() => false, 0.2);
      assert.ok((await counter('TcpInSegs')) - segments < (MEGABYTES * 2 ** 20) / SEGMENT / 2);
      assert.equal(await counter('TcpInCsumErrors'), 0);
      assert.equal(await counter('TcpInErrs'), 0);
    } finally {
      lab.close();
    }
  });
}
