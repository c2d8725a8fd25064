/** Splits a command into words by the shell's quoting rules. */
import { CliError } from '../errors.ts';

export function splitWords(line: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (quote === "'") {
      if (char === "'") quote = '';
      else word += char;
    } else if (char === '\\' && i + 1 < line.length && (quote === '' || /["\\]/.test(line[i + 1]!))) {
      word = (word ?? '') + line[++i];
    } else if (quote === '"') {
      if (char === '"') quote = '';
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else word = (word ?? '') + char;
  }
  if (quote !== '') throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${line} (a ${quote} is not closed)`);
  if (word !== undefined) words.push(word);
  return words;
}
