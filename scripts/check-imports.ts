/**
 * Checks who imports whom: a package imports other packages of Weft only as its `weft.mayImport` says, packages of others
 * only as its `dependencies` say, and files of other packages never by path. Tests and benchmarks may import any of them.
 */
import { globSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, relative, resolve, sep } from 'node:path';
import { report } from './report.ts';

interface Manifest {
  readonly name: string;
  readonly weft?: { readonly mayImport: readonly string[] };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const root = resolve(import.meta.dirname, '..');
const readManifest = (path: string) => JSON.parse(readFileSync(resolve(root, path), 'utf8')) as Manifest;
const rootManifest = readManifest('package.json');
const manifests = new Map(
  globSync('packages/*/package.json', { cwd: root }).map((path) => [path.split(sep)[1]!, readManifest(path)]),
);

/** `from '…'`, `import '…'`, `import('…')`, also of types. Comments that look like one are rare enough to be reworded. */
const SPECIFIER = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)'([^'\n]+)'/g;

const problems: string[] = [];

for (const [name, manifest] of manifests) {
  for (const path of globSync(`packages/${name}/{src,bench}/**/*.ts`, { cwd: root })) {
    const lines = readFileSync(resolve(root, path), 'utf8').split('\n');
    lines.forEach((line, i) => {
      for (const [, specifier] of line.matchAll(SPECIFIER)) {
        const problem = judge(name, manifest, path, specifier!);
        if (problem) problems.push(`${path}:${i + 1}: ${problem}`);
      }
    });
  }
}

function judge(name: string, manifest: Manifest, path: string, specifier: string): string | undefined {
  if (specifier.startsWith('node:')) return undefined;
  if (specifier.startsWith('.')) {
    const target = relative(resolve(root, 'packages', name), resolve(root, dirname(path), specifier));
    return target.startsWith('..') ? `imports ${specifier}, a file of another package` : undefined;
  }
  if (builtinModules.includes(specifier)) return `imports ${specifier}; write node:${specifier}`;
  const isTest = /\.test\.ts$|\/(testing|bench|compliance)\//.test(path);
  const parts = specifier.split('/');
  if (parts[0] === '@weft') {
    const other = parts[1]!;
    if (other === name) return `imports its own package as ${specifier}; use a relative path`;
    if (!manifests.has(other)) return `imports ${specifier}, which is no package`;
    const may = manifest.weft?.mayImport.includes(other);
    return may || isTest ? undefined : `imports ${specifier}, which weft.mayImport of ${manifest.name} does not list`;
  }
  const dependency = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]!;
  if (manifest.dependencies && dependency in manifest.dependencies) return undefined;
  if (isTest && rootManifest.devDependencies && dependency in rootManifest.devDependencies) return undefined;
  return `imports ${specifier}, which is not among the dependencies of ${manifest.name}`;
}

/** `mayImport` must not allow a circle. */
function findCircle(name: string, trail: readonly string[]): readonly string[] | undefined {
  if (trail.includes(name)) return [...trail.slice(trail.indexOf(name)), name];
  for (const other of manifests.get(name)?.weft?.mayImport ?? []) {
    const circle = findCircle(other, [...trail, name]);
    if (circle) return circle;
  }
  return undefined;
}
const circles = new Set([...manifests.keys()].map((name) => findCircle(name, [])?.join(' → ')));
for (const circle of circles) if (circle) problems.push(`packages may import each other in a circle: ${circle}`);

report('check-imports', problems);
