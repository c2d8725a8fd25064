/** One line of a session: a command of the language, or one of those that concern the session itself. */
import { CliError } from '../errors.ts';
import { evaluate } from '../grammar/evaluate.ts';
import { splitWords } from '../grammar/lexer.ts';
import type { Session } from '../grammar/session.ts';
import { ROOT_TYPES, VERBS } from '../grammar/types.ts';

/** Commands that concern the session, with what they do. */
export const SESSION_COMMANDS: Readonly<Record<string, string>> = {
  help: 'this; help TYPE is describe TYPE',
  sett: 'sett TENANT: lists show this tenant only, and new objects are its own',
  cleart: 'all tenants again',
  debug: 'debug on, debug off: show the requests that are sent',
  exit: 'leave; also quit and ^D',
  quit: 'leave',
};

export interface Reply {
  readonly text: string;
  /** What should be known, but is no error. */
  readonly warning?: string;
  readonly leave?: boolean;
}

/** Throws CliError on what cannot be understood or done. */
export async function interpret(line: string, session: Session): Promise<Reply> {
  const [word, ...rest] = splitWords(line);
  if (word === undefined) return { text: '' };
  switch (word) {
    case 'exit':
    case 'quit':
      return { text: '', leave: true };
    case 'help':
      return { text: rest.length > 0 ? await evaluate(`describe ${rest.join(' ')}`, session) : help() };
    case 'sett':
      return setTenant(rest, session);
    case 'cleart':
      session.tenant = undefined;
      return { text: '' };
    case 'debug':
      return debug(rest, session);
    default:
      return { text: await evaluate(line, session) };
  }
}

function setTenant(rest: readonly string[], session: Session): Reply {
  const [tenant] = rest;
  if (tenant === undefined) {
    throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command: sett TENANT');
  }
  session.tenant = tenant;
  const text = `tenant_id: ${tenant}`;
  if (/^[0-9a-f]{32}$/i.test(tenant)) return { text };
  return { text, warning: `"${tenant}" does not look like a tenant of OpenStack, which has 32 hexadecimal digits` };
}

function debug([state]: readonly string[], { api }: Session): Reply {
  if (state !== 'on' && state !== 'off') {
    throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${state ?? 'debug'} (debug takes on or off)`);
  }
  api.onRequest =
    state === 'off' ? undefined : (method, path, status) => process.stderr.write(`${method} ${path}: ${status}\n`);
  return { text: '' };
}

function help(): string {
  const width = Math.max(...ROOT_TYPES.map(({ name }) => name.length));
  return [
    'A command is [type reference]… verb [collection] [field value]…; the verb may stand first, in the middle or last.',
    'A reference is an id, an alias (bridge0) or a filter (name demo). TAB completes everywhere.',
    '',
    `verbs:    ${VERBS.join(', ')} (add is create)`,
    ...Object.entries(SESSION_COMMANDS).map(([name, what]) => `${name.padEnd(9)} ${what}`),
    '',
    'types (describe TYPE has the fields, and examples):',
    ...ROOT_TYPES.map(({ name, doc, children }) => {
      const below = children.length > 0 ? ` [${children.map((child) => child.name).join(', ')}]` : '';
      return `  ${name.padEnd(width)}  ${doc}${below}`;
    }),
    '',
    'examples:',
    '  bridge create name demo',
    '  bridge bridge0 add port',
    '  chain create name in1',
    '  chain chain0 add rule type drop proto tcp dst-port !22',
    '  bridge bridge0 port port0 set infilter chain0',
    '  host host0 add binding interface tap0 port bridge0:port0',
    '  router router0 list route',
  ].join('\n');
}
