/** What the completion of a shell needs to know of the commands: read off the command tree, so that none is forgotten. */
import type { Command, Option } from 'commander';

export interface Word {
  readonly word: string;
  /** One line for people. */
  readonly meaning: string;
}

export interface OptionNode extends Word {
  /** The word behind it is its value. */
  readonly takesValue: boolean;
  /** That value is a file. */
  readonly isFile: boolean;
  /** The values that there are, where they can be listed. */
  readonly values: readonly string[];
}

export interface CommandNode {
  /** `lab up`; empty: weft itself. */
  readonly path: string;
  readonly commands: readonly Word[];
  /** One for each spelling: -u and --user are two. */
  readonly options: readonly OptionNode[];
  /** Arguments are files. */
  readonly takesFiles: boolean;
}

/** Options that take one of a few words. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  '--encap': ['gre', 'vxlan'],
  '--underlay': ['ipv4', 'ipv6'],
  '--datapath': ['ebpf', 'userspace'],
  '--state': ['syn', 'established', 'closing', 'closed', 'reset', 'unreplied', 'replied', 'icmp', 'other'],
  '--protocol': ['tcp', 'udp', 'icmp', 'icmp6', 'sctp', 'gre', 'esp'],
};

/** Placeholders that mean a file: `--config <file>`, `lab up [scenario]`. */
const FILES = /^(file|path|directory|scenario|pcap)$/;

/** All commands, weft itself first. */
export function commandTree(program: Command): CommandNode[] {
  const nodes: CommandNode[] = [];
  const walk = (command: Command, path: string) => {
    const help = command.createHelp();
    nodes.push({
      path,
      commands: help.visibleCommands(command).map((child) => ({
        word: child.name(),
        meaning: child.description() || 'help',
      })),
      options: help.visibleOptions(command).flatMap(spellings),
      takesFiles: command.registeredArguments.some((argument) => FILES.test(argument.name())),
    });
    for (const child of command.commands) walk(child, `${path} ${child.name()}`.trim());
  };
  walk(program, '');
  return nodes;
}

function spellings(option: Option): OptionNode[] {
  const placeholder = /[<[]([\w-]+)/.exec(option.flags)?.[1] ?? '';
  const node = {
    meaning: option.description,
    // An optional value may be left out, and what follows is a word like any other.
    takesValue: option.required,
    isFile: FILES.test(placeholder),
    values: option.argChoices ?? VALUES[option.long ?? ''] ?? [],
  };
  return [option.short, option.long].flatMap((word) => (word ? [{ word, ...node }] : []));
}
