/** Security groups on the ports of VMs: who may call, who may be called, and in whose name a guest may speak. */
import { readFile } from 'node:fs/promises';
import { startCapture } from '../capture.ts';
import { ipBatch } from '../exec.ts';
import type { FaultStep } from '../faults/fault.ts';
import { sendFrames } from '../frames.ts';
import type { VmPlan } from '../plan.ts';
import { converse, type Server, startServer, startTalk } from '../talk.ts';
import { sleep, waitUntil } from '../wait.ts';
import { answers, type Firewall, ownPort, portPath, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';
import { type Attempt, attempts, type End, pairsOf } from './spoofing.ts';

/** How long silence is listened to, ms. */
const SILENCE_MS = 400;
const ARRIVAL_MS = 3_000;

interface Fields {
  readonly secured: string;
  readonly member: string;
  readonly stranger: string;
}

export const securityGroup = defineKind({
  kind: 'security-group',
  needsApi: true,
  summary:
    '`secured`, of one network with the others, is called by `member` while that one is in the group that its security group names, by `stranger` never; it calls whom it likes, over IPv4 and IPv6, but in no name that is not its own',
  fields: ['secured', 'member', 'stranger'],
  read: (fields): Fields => ({
    secured: fields.vm('secured'),
    member: fields.vm('member'),
    stranger: fields.vm('stranger'),
  }),

  run(context, fields) {
    const [guarded, member, stranger] = [fields.secured, fields.member, fields.stranger].map((name) =>
      context.vm(name),
    ) as [VmPlan, VmPlan, VmPlan];
    const end = endOf(context, guarded);
    return withFirewall(context, async (firewall) => {
      const found: string[] = [];
      const must = (isSo: boolean, otherwise: string) => isSo || found.push(otherwise);
      const tries = () => attempts(end, endOf(context, stranger), ownPort(context) + 2);
      const before = await send(context, guarded, stranger, tries());
      must(
        before.length === tries().length,
        `of ${tries().length} frames of ${guarded.name} ${before.length} arrived while its port was not secured`,
      );

      await secure(context, firewall, guarded, member);
      const passed = await send(context, guarded, stranger, tries());
      for (const { what, isOwn } of tries())
        if (isOwn !== passed.includes(what)) found.push(`${what} ${isOwn ? 'did not pass' : 'passed'}`);
      await calls(context, firewall, [guarded, member, stranger], must);
      return {
        ok: found.length === 0,
        expected: `${guarded.name} is called by ${member.name} as long as that is a member, by ${stranger.name} never; calls everybody, and speaks in no name but its own`,
        seen: found.join('; ') || `that; of ${tries().length} kinds of frames ${passed.length} passed`,
      };
    });
  },

  sabotage(context, { secured, stranger }) {
    const ends = [context.vm(secured), context.vm(stranger)] as const;
    const inside = (vm: VmPlan, commands: readonly string[]): FaultStep => ({
      do: 'exec',
      namespace: vm.namespace,
      argv: ['ip', '-batch', '-'],
      input: `${commands.join('\n')}\n`,
    });
    const towards = (vm: VmPlan) => ['link set backdoor up', `route add ${context.address(vm, 4)}/32 dev backdoor`];
    return {
      what: `a wire from ${stranger} to ${secured} that passes no port`,
      plant: [
        inside(ends[1], [`link add backdoor type veth peer name backdoor netns ${ends[0].namespace}`]),
        inside(ends[0], towards(ends[1])),
        inside(ends[1], towards(ends[0])),
      ],
      remove: [inside(ends[1], ['link del backdoor'])],
    };
  },
});

function endOf(context: CheckContext, vm: VmPlan): End {
  return { mac: vm.interfaces[0]!.mac, address4: context.address(vm, 4), address6: context.address(vm, 6) };
}

/** Port security with a group that members of another one may call; the port of `member` is secured as well, in no group. */
async function secure(context: CheckContext, firewall: Firewall, guarded: VmPlan, member: VmPlan): Promise<void> {
  const port = ownPort(context);
  const remoteGroupId = await firewall.make('security_groups', 'members', { name: `${context.checkName}-members` });
  const group = await firewall.make('security_groups', 'group', {
    name: context.checkName,
    rules: [
      { direction: 'ingress', protocol: 'tcp', portMin: port, remoteGroupId },
      { direction: 'egress', etherType: 'ipv4' },
      { direction: 'egress', etherType: 'ipv6' },
    ],
  });
  const { prefix, address6, mac } = pairsOf(endOf(context, guarded));
  await firewall.change(portPath(guarded), {
    ...identity(context, guarded),
    securityGroupIds: [group],
    allowedAddressPairs: [{ ipAddress: prefix }, { ipAddress: address6, macAddress: mac }],
  });
  // Who is in no group may send nothing but answers; so it is in one that allows nothing more than to send.
  const senders = await firewall.make('security_groups', 'senders', { name: `${context.checkName}-senders` });
  await firewall.change(portPath(member), { ...identity(context, member), securityGroupIds: [senders] });
  await firewall.live();
}

function identity(context: CheckContext, vm: VmPlan): object {
  const { mac, address4, address6 } = endOf(context, vm);
  return { portSecurityEnabled: true, macAddress: mac, fixedIps: [address4, address6] };
}

/** Sends frames from one VM to another. @returns which of them have arrived, unchanged */
async function send(context: CheckContext, from: VmPlan, to: VmPlan, tries: readonly Attempt[]): Promise<string[]> {
  const device = 'eth0';
  const capture = await startCapture(context.plan.paths.captures, to.namespace, device, '');
  try {
    sendFrames(
      from.namespace,
      device,
      tries.map(({ frame }) => frame),
    );
    const arrived = async () => {
      const file = await readFile(capture.file);
      return tries.filter(({ frame }) => file.includes(Buffer.from(frame))).map(({ what }) => what);
    };
    // The last ones pass: when they are there, those before them have been decided.
    const due = tries.filter(({ isOwn }) => isOwn);
    await waitUntil(
      async () => (await arrived()).filter((what) => due.some((one) => one.what === what)).length === due.length,
      ARRIVAL_MS,
    );
    await sleep(SILENCE_MS);
    await capture.stop();
    return await arrived();
  } finally {
    await capture.stop();
  }
}

/** Who calls whom, while the member is none, is one, and is none any more. */
async function calls(
  context: CheckContext,
  firewall: Firewall,
  [guarded, member, stranger]: readonly [VmPlan, VmPlan, VmPlan],
  must: (isSo: boolean, otherwise: string) => unknown,
): Promise<void> {
  const port = ownPort(context);
  const [own4, own6] = [context.address(guarded, 4), context.address(guarded, 6)];
  const [other4, other6] = [context.address(stranger, 4), context.address(stranger, 6)];
  const call = async (from: VmPlan, address: string, to: number, protocol: 'tcp' | 'udp', isDue: boolean) =>
    (await converse({ from, address, port: to, protocol, options: isDue ? {} : { patienceMs: SILENCE_MS } })).answered >
    0;
  const silent = async (from: VmPlan, when: string) => {
    for (const protocol of ['tcp', 'udp'] as const)
      must(
        !(await call(from, own4, port + 1, protocol, false)),
        `${from.name} called ${protocol} port ${port + 1} ${when}`,
      );
    must(!(await call(from, own4, port, 'tcp', false)), `${from.name} called ${when}`);
  };
  const servers: Server[] = [];
  try {
    for (const at of [port, port + 1]) servers.push(await startServer(guarded, own4, at));
    servers.push(await startServer(stranger, other4, port));
    for (const protocol of ['tcp', 'udp'] as const)
      must(
        await call(guarded, other4, port, protocol, true),
        `no answer to a call of ${guarded.name} over ${protocol}`,
      );
    for (const vm of [guarded, stranger]) await ipBatch(vm.namespace, ['neigh flush dev eth0']);
    must(await answers(context, guarded, other6, true), `no answer to a ping of ${guarded.name} over IPv6`);
    must(await answers(context, guarded, other4, true), `no answer to a ping of ${guarded.name} over IPv4`);
    // Not with the identifier of the pings before: of an echo that is all that tells connections apart.
    for (const address of [own4, own6])
      must(
        !(await answers(context, stranger, address, false, 1)),
        `${stranger.name} got an answer to its ping of ${address}`,
      );
    await silent(stranger, 'which it never may');
    await silent(member, 'before it was a member');

    const { securityGroupIds } = await context.api.get<{ securityGroupIds: string[] }>(portPath(member));
    const join = { securityGroupIds: [...securityGroupIds, firewall.id('members')] };
    await firewall.step({ do: 'patch', path: portPath(member), fields: join });
    await firewall.live();
    must(await call(member, own4, port, 'tcp', true), `a call of ${member.name}, a member, was not answered`);
    must(!(await call(member, own4, port + 1, 'tcp', false)), `${member.name}, a member, called another port`);
    const talk = await startTalk({ from: member, address: own4, port });
    await sleep(SILENCE_MS);

    await firewall.step({ do: 'patch', path: portPath(member), fields: { securityGroupIds } });
    await firewall.live();
    await silent(member, 'when it was no member any more');
    const { sent, answered } = await talk.stop();
    must(
      answered > 0 && sent - answered > 10,
      `of a member's connection, ${answered} of ${sent} messages were answered until it had left`,
    );
  } finally {
    for (const server of servers) await server.stop();
  }
}
