/**
 * A build of Weft with another layout of flows and tables, as a later or an earlier one may have: to see agents upgraded and downgraded.
 * It is this source tree, copied, with a few changes at the places that say what is where; all else follows from these.
 */
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LabError } from './errors.ts';
import { run } from './exec.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

type Edit = readonly [from: string, to: string];

/** Per file. Each text must be there, or the tree has changed and this list with it. */
const EDITS: Readonly<Record<string, readonly Edit[]>> = {
  // Two fields of the key change places.
  'packages/flow/src/key.ts': [
    ["['ipTos', 53, 1],\n  ['ipTtl', 54, 1],", "['ipTtl', 53, 1],\n  ['ipTos', 54, 1],"],
    ['K_IP_TOS = 53;\nexport const K_IP_TTL = 54;', 'K_IP_TOS = 54;\nexport const K_IP_TTL = 53;'],
    ['F_IP_TOS = 1 << 8;\nexport const F_IP_TTL = 1 << 9;', 'F_IP_TOS = 1 << 9;\nexport const F_IP_TTL = 1 << 8;'],
  ],
  'packages/datapath/bpf/parse.h': [['(__u64)tos << 40 | (__u64)ttl << 48', '(__u64)ttl << 40 | (__u64)tos << 48']],
  // Two fields of the action, too, and one is new. A reason of drops is new.
  'packages/flow/src/action.ts': [
    ["['ttlDec', 18, 1],\n  ['tos', 19, 1],", "['tos', 18, 1],\n  ['ttlDec', 19, 1],"],
    ['A_TTL_DEC = 18;\nexport const A_TOS = 19;', 'A_TTL_DEC = 19;\nexport const A_TOS = 18;'],
    ["['spare', 96, 8],", "['label', 96, 4],\n  ['spare', 100, 4],"],
    ['export const A_ID_TAIL', 'export const A_LABEL = 96;\nexport const A_ID_TAIL'],
    ['] as const;\nexport type DropReason', "  'quarantined',\n] as const;\nexport type DropReason"],
  ],
  // A mask class is gone, and another one in its place.
  'packages/flow/src/mask.ts': [
    ["{ name: 'service', fields: PROTO | F_TP_DST }", "{ name: 'client', fields: PROTO | F_TP_SRC }"],
  ],
  // A table has a field more.
  'packages/datapath/bpf/maps.h': [['__u32 port; /* ifindex, 0:', '__u32 zone;\n\t__u32 port; /* ifindex, 0:']],
  'packages/datapath/src/ebpf/layout.ts': [
    ['EGRESS_SIZE = 16', 'EGRESS_SIZE = 20'],
    [
      'view.setUint32(4, port, true);\n  view.setUint32(12, key, true);',
      'view.setUint32(8, port, true);\n  view.setUint32(16, key, true);',
    ],
  ],
  'packages/datapath/src/ebpf/ebpf.ts': [['const port = u32At(value, 4);', 'const port = u32At(value, 8);']],
};

/** Of the tree, what an agent and its programs are built from. */
const PARTS = ['packages', 'scripts', 'package.json'];

/**
 * Makes the build in a directory, which is made anew. Needs clang.
 * @returns the command that starts its `weft`
 * @throws LabError WEFT_LAB_COMMAND if it does not build, WEFT_LAB_OTHER_BUILD if a place to change is not there
 */
export async function makeOtherBuild(directory: string): Promise<string[]> {
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const isSource = (path: string) => !/\/(node_modules|bpf\/build)(\/|$)|\.test\.ts$/.test(path.slice(ROOT.length));
  for (const part of PARTS) await cp(join(ROOT, part), join(directory, part), { recursive: true, filter: isSource });
  await linkModules(directory);
  for (const [file, edits] of Object.entries(EDITS)) await edit(join(directory, file), edits);
  await run([process.execPath, 'scripts/generate.ts'], { cwd: directory });
  await run(['scripts/build-bpf.sh'], { cwd: directory });
  return [process.execPath, join(directory, 'packages/cli/src/main.ts')];
}

/** Other people's packages are shared, our own are the copies. */
async function linkModules(directory: string): Promise<void> {
  const modules = join(directory, 'node_modules');
  await mkdir(join(modules, '@weft'), { recursive: true });
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name !== '@weft' && !name.startsWith('.')) await symlink(join(ROOT, 'node_modules', name), join(modules, name));
  }
  for (const name of await readdir(join(directory, 'packages'))) {
    await symlink(join(directory, 'packages', name), join(modules, '@weft', name));
  }
}

async function edit(file: string, edits: readonly Edit[]): Promise<void> {
  let text = await readFile(file, 'utf8');
  for (const [from, to] of edits) {
    if (!text.includes(from)) {
      throw new LabError('WEFT_LAB_OTHER_BUILD', `${file} does not contain what is to be changed there: ${from}`);
    }
    text = text.replace(from, to);
  }
  await writeFile(file, text);
}
