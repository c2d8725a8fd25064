/**
 * For tests of what a killed process leaves behind: ends this one as kill -9 would, right behind one of the changes that it makes to
 * kernel objects and their pins. Imported and called before anything that loads `@weft/sys`, whose calls it counts.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import koffi from 'koffi';

const BPF = process.arch === 'x64' ? 321 : 280;
/** Commands of bpf(2) that change something, by what they do. */
const COMMANDS = new Map([
  [2, 'update'],
  [3, 'delete'],
  [6, 'pin'],
  [26, 'update'],
  [27, 'delete'],
  [28, 'attach'],
  [29, 'swap'],
  [34, 'detach'],
]);
const FILES = ['mkdirSync', 'renameSync', 'rmdirSync', 'unlinkSync'] as const;

type Call = (...args: unknown[]) => unknown;

/**
 * Changes are made by bpf(2), by libbpf (`load`: tables made and pinned, programs loaded) and in the file system.
 * @param isLast called behind each change with what it was; true: the process is killed
 */
export function killBehind(isLast: (what: string) => boolean): void {
  const change = (what: string): void => {
    if (isLast(what)) process.kill(process.pid, 'SIGKILL');
  };
  const behind =
    (call: Call, what: (args: readonly unknown[]) => string | undefined): Call =>
    (...args) => {
      const result = call(...args);
      const name = what(args);
      // A call that was refused has changed nothing.
      if (name !== undefined && result !== -1) change(name);
      return result;
    };
  for (const name of FILES) Object.assign(fs, { [name]: behind(fs[name] as Call, () => name.replace('Sync', '')) });
  syncBuiltinESMExports();
  const load = koffi.load as Call;
  const functions: Record<string, (args: readonly unknown[]) => string | undefined> = {
    syscall: ([number, command]) => (number === BPF ? COMMANDS.get(command as number) : undefined),
    bpf_object__load: () => 'load',
  };
  const func = (library: { func: Call }, name: string, rest: unknown[]): Call => {
    const found = library.func(name, ...rest) as Call;
    const what = functions[name];
    return what === undefined ? found : behind(found, what);
  };
  koffi.load = ((path: string) => {
    const library = load(path) as { func: Call };
    return { func: (name: string, ...rest: unknown[]) => func(library, name, rest) };
  }) as typeof koffi.load;
}
