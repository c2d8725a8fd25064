/** The commands as a completion function of bash. It needs no other package, and starts no program. */
import type { CommandNode } from './tree.ts';

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const list = (words: readonly string[]) => quote(words.length > 0 ? ` ${words.join(' ')} ` : '');

export function bashScript(tree: readonly CommandNode[]): string {
  return `# Completion of weft for bash: source <(weft completion bash)
_weft_node() {
  values=''
  case "$1" in
${tree.map(caseOf).join('\n')}
  esac
}

_weft() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local path='' commands options valued files takes_files values word skip='' i
  COMPREPLY=()
  _weft_node ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then skip=''; continue; fi
    # Behind -- stand the words of another command.
    if [[ $word == -- ]]; then COMPREPLY=($(compgen -f -- "$cur")); return; fi
    if [[ $word == -* ]]; then
      [[ $valued == *" $word "* ]] && skip=1
    elif [[ $commands == *" $word "* ]]; then
      path="\${path:+$path }$word"
      _weft_node "$path"
    fi
  done
  if [[ -n $skip ]]; then
    local of
    for of in $values; do
      if [[ $of == "$prev="* ]]; then of=\${of#*=}; COMPREPLY=($(compgen -W "\${of//,/ }" -- "$cur")); return; fi
    done
    if [[ $files == *" $prev "* ]]; then
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$cur"))
    fi
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -W "$commands" -- "$cur"))
    if [[ -n $takes_files ]]; then
      compopt -o filenames 2>/dev/null
      COMPREPLY+=($(compgen -f -- "$cur"))
    fi
  fi
}

complete -F _weft weft ./weft
`;
}

function caseOf({ path, commands, options, takesFiles }: CommandNode): string {
  const valued = options.filter((option) => option.takesValue);
  const values = valued
    .filter((option) => option.values.length > 0)
    .map(({ word, values }) => `${word}=${values.join(',')}`);
  return `    ${quote(path)})
      commands=${list(commands.map(({ word }) => word))}
      options=${list(options.map(({ word }) => word))}
      valued=${list(valued.map(({ word }) => word))}
      files=${list(valued.filter(({ isFile }) => isFile).map(({ word }) => word))}
      takes_files=${takesFiles ? '1' : "''"}${values.length > 0 ? `\n      values=${list(values)}` : ''} ;;`;
}
