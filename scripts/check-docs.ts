/**
 * Checks the pages: relative links lead somewhere, files named in code spans exist, the agent's defaults are those of the code,
 * and what is derived from the code (between `<!-- generated: NAME -->` and `<!-- end -->`) is fresh. `--write` renews that.
 */
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { report } from './report.ts';

const root = resolve(import.meta.dirname, '..');
const problems: string[] = [];
const load = async (path: string) => (await import(resolve(root, path))) as unknown;
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const code = (text: string) => `\`${cell(text)}\``;
const table = (head: readonly string[], rows: readonly (readonly string[])[]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

/** What is read of commander's commands. */
interface CommandLike {
  readonly commands: readonly CommandLike[];
  readonly options: readonly { flags: string; description: string; defaultValue?: unknown; mandatory?: boolean }[];
  name(): string;
  usage(): string;
  description(): string;
}

async function commands(): Promise<string> {
  const { createProgram } = (await load('packages/cli/src/program.ts')) as { createProgram: () => CommandLike };
  const parts: string[] = [];
  const walk = (command: CommandLike, path: string) => {
    if (command.commands.length === 0) {
      parts.push(`### ${code(path)}\n\n${command.description()}: ${code(`${path} ${command.usage()}`)}`);
      const rows = command.options.map(({ flags, description, defaultValue, mandatory }) => [
        code(flags),
        cell(description) + (mandatory ? ' (required)' : ''),
        defaultValue === undefined ? '' : code(String(defaultValue)),
      ]);
      if (rows.length > 0) parts.push(table(['option', 'meaning', 'default'], rows));
    }
    for (const child of command.commands) walk(child, `${path} ${child.name()}`);
  };
  for (const command of createProgram().commands) walk(command, `weft ${command.name()}`);
  return parts.join('\n\n');
}

interface TypeLike {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly verbs: readonly string[];
  readonly fields: readonly { name: string; readOnly?: boolean; inverted?: string }[];
  readonly children: readonly TypeLike[];
}

async function language(): Promise<string> {
  const { ROOT_TYPES } = (await load('packages/cli/src/grammar/types.ts')) as { ROOT_TYPES: readonly TypeLike[] };
  const rows: string[][] = [];
  const walk = (type: TypeLike, above: string) => {
    const names = [type.name, ...type.aliases].join(', ');
    const fields = type.fields.map((f) => `${f.name}${f.readOnly ? '¹' : ''}${f.inverted === undefined ? '' : '²'}`);
    rows.push([code(above + names), type.verbs.join(', '), fields.join(', ')]);
    for (const child of type.children) walk(child, `${above}${type.name} … `);
  };
  for (const type of ROOT_TYPES) walk(type, '');
  return table(['object', 'verbs', 'fields'], rows);
}

async function checkKinds(): Promise<string> {
  const { CHECK_KINDS } = (await load('packages/lab/src/checks/index.ts')) as {
    CHECK_KINDS: readonly { kind: string; summary: string; fields: readonly string[] }[];
  };
  const rows = CHECK_KINDS.map(({ kind, summary, fields }) => [code(kind), fields.map(code).join(', '), cell(summary)]);
  return table(['kind', 'fields', 'what must hold'], rows);
}

async function doctorChecks(): Promise<string> {
  const { DOCTOR_CHECKS } = (await load('packages/agent/src/doctor/doctor.ts')) as {
    DOCTOR_CHECKS: readonly { id: string; asks: string; why: string }[];
  };
  return table(
    ['check', 'question', 'why it matters'],
    DOCTOR_CHECKS.map(({ id, asks, why }) => [code(id), cell(asks), cell(why)]),
  );
}

async function resources(): Promise<string> {
  const { RESOURCES } = (await load('packages/api/src/resources.ts')) as {
    RESOURCES: readonly {
      type: string;
      path?: string;
      verbs: readonly string[];
      places: readonly { parent: string; segment: string; verbs: readonly string[] }[];
      filters: Readonly<Record<string, string>>;
      listedBy?: Readonly<Record<string, unknown>>;
    }[];
  };
  const pathOf = new Map(RESOURCES.map((r) => [r.type, r.path ?? '']));
  const describe = (path: string, verbs: readonly string[]) => {
    const some = (letters: Record<string, string>) => verbs.filter((v) => v in letters).map((v) => letters[v]);
    const collection = some({ L: 'GET', C: 'POST' });
    const item = some({ G: 'GET', U: 'PUT', D: 'DELETE' });
    return [
      ...(collection.length > 0 ? [`${code(`/${path}`)} ${collection.join(', ')}`] : []),
      ...(item.length > 0 ? [`${code(`/${path}/{id}`)} ${item.join(', ')}`] : []),
    ];
  };
  const rows = RESOURCES.map(({ type, path, verbs, places, filters, listedBy = {} }) => {
    const paths = path === undefined ? [] : describe(path, verbs);
    for (const place of places)
      paths.push(...describe(`${pathOf.get(place.parent)}/{id}/${place.segment}`, place.verbs));
    return [
      type,
      paths.join('<br>'),
      Object.keys({ ...filters, ...listedBy })
        .map(code)
        .join(', '),
    ];
  });
  return table(['object', 'below `/midonet-api`', 'filters of lists'], rows);
}

const GENERATED: Readonly<Record<string, () => Promise<string>>> = {
  commands,
  language,
  'check kinds': checkKinds,
  'doctor checks': doctorChecks,
  resources,
};

/** The page with its derived parts as they should be. */
async function renewed(path: string, text: string): Promise<string> {
  let result = text;
  for (const [block, name] of text.matchAll(/<!-- generated: (.+?) -->\n[\s\S]*?<!-- end -->/g)) {
    const make = GENERATED[name!];
    if (make === undefined) {
      problems.push(`${path}: nothing is generated as "${name}"`);
      continue;
    }
    const fresh = `<!-- generated: ${name} -->\n\n${await make()}\n\n<!-- end -->`;
    result = result.replace(block, () => fresh);
  }
  return result;
}

/** Files of the repository that code spans name: a path below one of these, without placeholders. */
const NAMED = /`((?:packages|docs|scripts|bench|test)\/[\w./-]+\.\w+)`/g;
/** Written by programs, and not always there. */
const MADE = /^(bench\/results\/|packages\/datapath\/bpf\/build\/)/;

function checkLinks(path: string, text: string): void {
  const prose = text.replaceAll(/```[\s\S]*?```/g, '');
  for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target!)) continue;
    const [file, anchor] = target!.split('#');
    const absolute = file === '' ? resolve(root, path) : resolve(root, dirname(path), file!);
    if (!existsSync(absolute) && !MADE.test(relative(root, absolute)))
      problems.push(`${path}: ${target} leads nowhere`);
    else if (anchor !== undefined && !anchorsOf(absolute).includes(anchor)) {
      problems.push(`${path}: ${target}: there is no such heading`);
    }
  }
  for (const [, file] of prose.matchAll(NAMED)) {
    const there = [root, resolve(root, dirname(path))].some((base) => existsSync(resolve(base, file!)));
    if (!there && !MADE.test(file!)) problems.push(`${path}: there is no ${file}`);
  }
}

/** Headings as GitHub spells their anchors. */
function anchorsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Rows like "| `a`, `b` | 1, 2/s | … |": each limit with its default. */
async function checkLimits(): Promise<void> {
  const { parseConfig } = (await load('packages/agent/src/config.ts')) as {
    parseConfig: (raw: unknown) => { limits: Readonly<Record<string, number>> };
  };
  const { limits } = parseConfig({});
  const said = new Map<string, number>();
  for (const line of readFileSync(resolve(root, 'docs/AGENT.md'), 'utf8').split('\n')) {
    const [, names = '', values = ''] = line.split('|');
    const numbers = values.split(',').map((text) => Number.parseInt(text, 10));
    for (const [i, [, name]] of [...names.matchAll(/`(\w+)`/g)].entries()) said.set(name!, numbers[i]!);
  }
  for (const [name, value] of Object.entries(limits)) {
    if (said.get(name) !== value) problems.push(`docs/AGENT.md: the default of ${name} is ${value}`);
  }
}

const write = process.argv.includes('--write');
const pages = [
  '*.md',
  'docs/**/*.md',
  'bench/**/*.md',
  'test/**/*.md',
  'packages/*/*.md',
  'packages/*/{src,bpf}/**/*.md',
];
for (const path of globSync(pages, { cwd: root, exclude: (name) => name.includes('node_modules') }).sort()) {
  const text = readFileSync(resolve(root, path), 'utf8');
  const wanted = await renewed(path, text);
  if (wanted !== text) {
    if (write) writeFileSync(resolve(root, path), wanted);
    else problems.push(`${path} is not up to date: run node scripts/check-docs.ts --write`);
  }
  checkLinks(path, wanted);
}
await checkLimits();

report('check-docs', problems);
