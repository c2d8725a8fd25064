/** The commands as a completion function of zsh, with their meanings. */
import type { CommandNode, Word } from './tree.ts';

const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
/** For `_describe`: word and meaning, with a colon between them. */
const described = (words: readonly Word[]) =>
  words.map(({ word, meaning }) => quote(`${word.replaceAll(':', '\\:')}:${meaning}`)).join(' ');

export function zshScript(tree: readonly CommandNode[]): string {
  return `#compdef weft
# Completion of weft for zsh: source <(weft completion zsh), behind compinit; or a file _weft in a folder of $fpath.
_weft_node() {
  values=()
  case "$1" in
${tree.map(caseOf).join('\n')}
  esac
}

_weft() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT-1]}
  local at='' word skip='' takes_files i
  local -a commands options valued files
  local -A values
  _weft_node ''
  for ((i = 2; i < CURRENT; i++)); do
    word=\${words[i]}
    if [[ -n $skip ]]; then skip=''; continue; fi
    # Behind -- stand the words of another command.
    if [[ $word == -- ]]; then _files; return; fi
    if [[ $word == -* ]]; then
      (( \${valued[(Ie)$word]} )) && skip=1
    elif [[ -n \${commands[(r)$word:*]} ]]; then
      at="\${at:+$at }$word"
      _weft_node "$at"
    fi
  done
  if [[ -n $skip ]]; then
    if [[ -n \${values[$prev]} ]]; then
      compadd -- \${(s:,:)values[$prev]}
    elif (( \${files[(Ie)$prev]} )); then
      _files
    fi
  elif [[ $cur == -* ]]; then
    _describe -o option options
  else
    (( \${#commands} )) && _describe command commands
    [[ -n $takes_files ]] && _files
  fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _weft "$@"
else
  compdef _weft weft
fi
`;
}

function caseOf({ path, commands, options, takesFiles }: CommandNode): string {
  const valued = options.filter((option) => option.takesValue);
  const words = (all: readonly Word[]) => all.map(({ word }) => word).join(' ');
  const values = valued.filter((option) => option.values.length > 0);
  return `    ${quote(path)})
      commands=(${described(commands)})
      options=(${described(options)})
      valued=(${words(valued)})
      files=(${words(valued.filter(({ isFile }) => isFile))})
      values=(${values.map((option) => `${option.word} ${option.values.join(',')}`).join(' ')})
      takes_files=${takesFiles ? '1' : "''"} ;;`;
}
