/**
 * Conversations through two gateways while datagrams of flow state are lost, repeated and late, and agents are restarted: a packet may
 * be dropped or late, but is never translated to what another has, and no answer ever comes to whom it is not meant for.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpEcho, TCP_ACK, TCP_FIN, TCP_SYN, tcpFrame, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import type { Delivery } from '../testing/fleet.ts';
import { GATEWAY_MAC, Gateways, LEFT, PUBLIC, RIGHT } from '../testing/gateways.ts';
import { randomOf } from '../testing/random-network.ts';

const PEERS = ['198.51.100.7', '198.51.100.8'];
const KINDS = ['udp', 'tcp', 'icmp'] as const;

/** What a VM has with a peer. Its number stands at the end of each of its packets, also of the answers. */
interface Conversation {
  readonly number: number;
  readonly vm: number;
  readonly kind: (typeof KINDS)[number];
  /** What the VM sends and gets, in words, without what stands behind the addresses of an echo. */
  readonly outward: string;
  readonly inward: string;
  readonly frame: (flags: number) => Uint8Array;
  /** As it left first. */
  shown: string;
  /** What left last. */
  out: Uint8Array | null;
}

function payloadOf(n: number): Uint8Array {
  return Uint8Array.of(0x57, 0x65, 0x66, 0x74, n >> 24, n >> 16, n >> 8, n);
}

/** Number of the conversation that a packet belongs to. */
function numberOf(frame: Uint8Array): number {
  const at = frame.length - 8;
  assert.equal(String.fromCharCode(...frame.subarray(at, at + 4)), 'Weft');
  return (frame[at + 4] << 24) | (frame[at + 5] << 16) | (frame[at + 6] << 8) | frame[at + 7];
}

class Talk {
  readonly net: Gateways;
  readonly conversations: Conversation[] = [];
  answers = 0;
  private readonly random: () => number;
  private seen: number;

  constructor(seed: number) {
    this.random = randomOf(seed);
    this.net = new Gateways({ seed });
    this.seen = this.net.fleet.deliveries.length;
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  private begin(): Conversation {
    const number = this.conversations.length;
    const vm = this.below(3);
    const kind = KINDS[this.below(3)];
    const peer = PEERS[this.below(2)];
    const { mac: ethSrc, ip } = this.net.vms[vm];
    const srcPort = 3000 + number;
    const dstPort = [53, 80][this.below(2)];
    const payload = payloadOf(number);
    const ends = { ethSrc, ethDst: GATEWAY_MAC, src: ip, dst: peer };
    const one: Conversation = {
      number,
      vm,
      kind,
      outward: kind === 'icmp' ? `> ${peer} 8/0` : `> ${peer}:${dstPort}`,
      inward:
        kind === 'icmp' ? `icmp ${peer} > ${ip} 0/0 id ${srcPort}` : `${kind} ${peer}:${dstPort} > ${ip}:${srcPort}`,
      frame: (flags) => {
        if (kind === 'icmp') return icmpEcho({ ...ends, id: srcPort, payload });
        if (kind === 'udp') return udpFrame({ ...ends, srcPort, dstPort, payload });
        return tcpFrame({ ...ends, srcPort, dstPort, flags, payload });
      },
      shown: '',
      out: null,
    };
    this.conversations.push(one);
    return one;
  }

  /** One thing that happens. */
  step(): void {
    const { net } = this;
    const { fleet } = net;
    const dice = this.random();
    const known =
      this.conversations.length === 0 ? undefined : this.conversations[this.below(this.conversations.length)];
    if (dice < 0.25 || known === undefined) this.send(this.begin(), TCP_SYN);
    else if (dice < 0.45) this.send(known, this.random() < 0.1 ? TCP_FIN | TCP_ACK : TCP_ACK);
    else if (dice < 0.75) this.answer(known);
    else if (dice < 0.8) this.stray();
    else if (dice < 0.83) fleet.restart(this.below(4), this.random() < 0.5);
    else fleet.run([5, 20, 100, 1_000][this.below(4)]);
    fleet.run(5);
    this.check();
  }

  send(one: Conversation, flags: number): void {
    const { host, n } = this.net.vms[one.vm];
    this.net.fleet.send(host, n, one.frame(flags));
  }

  /** The peer answers what it got last, by either gateway. */
  private answer(one: Conversation): void {
    if (one.out === null) return;
    const by = [LEFT, RIGHT][this.below(2)];
    this.net.fleet.send(by, 0, this.net.answer(by, one.out));
  }

  /** Somebody answers what nobody has asked. */
  private stray(): void {
    const { net } = this;
    const by = [LEFT, RIGHT][this.below(2)];
    const ends = { ethSrc: '02:00:00:00:00:f1', ethDst: GATEWAY_MAC, src: PUBLIC, dst: PEERS[this.below(2)] };
    const asked = udpFrame({ ...ends, srcPort: 1024 + this.below(256), dstPort: 99, payload: payloadOf(-1) });
    net.fleet.send(by, 0, net.answer(by, asked));
  }

  /** Looks at all that came out since it was called last. */
  check(): void {
    const { deliveries } = this.net.fleet;
    for (; this.seen < deliveries.length; this.seen++) this.judge(deliveries[this.seen]);
  }

  private judge({ host, ifindex, frame, text }: Delivery): void {
    const one = this.conversations[numberOf(frame)];
    assert.ok(one !== undefined, `a stray packet came through: ${text}`);
    if ((host === LEFT || host === RIGHT) && ifindex === 10) {
      assert.ok(
        text.startsWith(`${one.kind} ${PUBLIC}`) && text.includes(one.outward),
        `${one.inward} left as ${text}`,
      );
      if (one.shown === '') one.shown = text;
      assert.equal(text, one.shown, 'a connection is translated alike for as long as it lives');
      for (const other of this.conversations) assert.ok(other === one || other.shown !== text, `two have ${text}`);
      one.out = frame;
      return;
    }
    const vm = this.net.vms[one.vm];
    assert.deepEqual([host, ifindex, text], [vm.host, 10 + vm.n, one.inward], 'an answer comes to who has asked');
    this.answers++;
  }
}

/** Records of a host that it owns must be with everybody in their audience, alike. @returns how many there are */
function agree(net: Gateways): number {
  let n = 0;
  for (const owner of net.fleet.hosts) {
    for (const record of net.records(owner.index)) {
      if (record.owner !== owner.id) continue;
      n++;
      assert.ok(record.audience.length > 0, record.text);
      for (const id of record.audience) {
        const member = net.fleet.hosts.find((host) => host.id === id)!;
        const there = net.records(member.index).find(({ text }) => text === record.text);
        assert.ok(there !== undefined, `host ${member.index} knows of ${record.text}`);
        assert.equal(there.bits, record.bits, `host ${member.index} has seen as much of ${record.text}`);
      }
    }
  }
  return n;
}

test('under loss of state no packet is taken for another’s; in quiet all who are told agree, and all answers come', () => {
  let answers = 0;
  let records = 0;
  let asked = 0;
  fc.assert(
    fc.property(fc.nat(2 ** 31), (seed) => {
      const talk = new Talk(seed);
      const { net } = talk;
      const { fleet } = net;
      fleet.loss = 0.3;
      fleet.repeat = 0.1;
      fleet.delay = 40;
      for (let i = 0; i < 60; i++) talk.step();
      answers += talk.answers;
      fleet.loss = 0;
      fleet.delay = 0;
      fleet.run(6_000);
      talk.check();
      for (const one of talk.conversations) {
        talk.send(one, TCP_ACK);
        fleet.run(100);
        talk.check();
        assert.ok(one.out !== null, `${one.inward} has left`);
        for (const by of [LEFT, RIGHT]) {
          const before = talk.answers;
          fleet.send(by, 0, net.answer(by, one.out));
          // A gateway that was restarted has topology to fetch.
          fleet.run(200);
          talk.check();
          assert.equal(talk.answers, before + 1, `${one.inward} by ${by}`);
        }
      }
      fleet.run(2_000);
      records += agree(net);
      for (const host of fleet.hosts) {
        assert.equal(net.status(host.index).errors, 0);
        asked += net.exchanged(host.index).asksFound;
      }
    }),
    { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? 25) },
  );
  assert.ok(answers > 100 && records > 200 && asked > 5, JSON.stringify({ answers, records, asked }));
});
