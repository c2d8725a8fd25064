/** The options that say how the API is reached, the same for every command that talks to it. */
import { type Command, Option } from 'commander';

export function addApiOptions(command: Command): Command {
  return command
    .option('--api-socket <path>', 'Unix socket of the REST API (default: /run/weft/api.sock, else the only lab)')
    .option('--api-url <url>', 'address of the REST API: https://HOST:PORT')
    .addOption(new Option('--midonet-url <url>', 'the same').hideHelp())
    .option('--token-file <path>', 'file with the token for --api-url')
    .option('-u, --user <name>', 'log in as this user')
    .option('-p, --password [password]', 'with this password; without a value: ask')
    .option('-i, --project <id>', 'tenant or project to log in to')
    .option('--tenant <id>', 'list this tenant only, and make new objects its own (as `sett`)')
    .option('-A, --no-auth', 'do not log in, whatever ~/.weftrc says')
    .option('--ca-file <path>', 'believe the certificates (PEM) of this file')
    .option('--insecure', 'believe any certificate, and send secrets without TLS')
    .option('-d, --debug', 'print each request to standard error');
}
