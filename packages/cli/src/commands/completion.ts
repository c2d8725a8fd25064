/** `weft completion`: the script by which a shell completes the commands and options of weft. */
import { Argument, Command } from 'commander';
import { print } from '../output.ts';

export function completionCommand(): Command {
  return new Command('completion')
    .description('print the script by which bash or zsh completes this command')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      `
Examples:
  source <(weft completion bash)                     in ~/.bashrc
  source <(weft completion zsh)                      in ~/.zshrc, behind compinit
  weft completion zsh > /usr/share/zsh/site-functions/_weft`,
    )
    .action(async (shell: 'bash' | 'zsh', _options: unknown, self: Command) => {
      const [{ commandTree }, { bashScript }, { zshScript }] = await Promise.all([
        import('../completion/tree.ts'),
        import('../completion/bash.ts'),
        import('../completion/zsh.ts'),
      ]);
      const tree = commandTree(self.parent!);
      print((shell === 'bash' ? bashScript(tree) : zshScript(tree)).trimEnd());
    });
}
