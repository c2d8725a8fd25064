/** Traces and explanations as lines for people. */
import type { Destination, LiveEvent, Trace } from '@weft/agent';
import { type KnownHost, nameHosts } from './agents.ts';

/** What a host at the other end of a tunnel says of a key. */
export interface Egress {
  readonly host: string;
  readonly key: number;
  readonly text: string;
}

/** A whole trace. */
export function traceLines(
  host: string,
  told: Trace,
  egress: readonly Egress[],
  agents: readonly KnownHost[],
): string[] {
  const { explanation } = told;
  const lines = [`${told.port.name} (interface ${told.interface} of ${host}), revision ${told.revision}`];
  lines.push(`packet  ${told.packet}`);
  for (const { field, value, why } of told.filled) lines.push(`        ${field}=${value} (${why})`);
  if (told.frame !== undefined) lines.push(`bytes   ${told.frame}`);
  lines.push('', ...explanation.steps.map(({ depth, text }) => `${'  '.repeat(depth)}${text}`));
  if (explanation.stepsLost > 0) lines.push(`… and ${explanation.stepsLost} decisions more`);
  for (const answer of told.generated) {
    lines.push('', `answer  ${answer.packet}`);
    lines.push(...answer.explanation.steps.map(({ depth, text }) => `  ${'  '.repeat(depth)}${text}`));
    lines.push(...answer.destinations.map(({ text }) => `  goes to ${text}`));
  }
  lines.push('', ...told.destinations.map(({ text }) => `goes to ${text}`));
  for (const { host: at, text } of egress) lines.push(`at ${at}: ${text}`);
  lines.push(...hostLines(told), ...flowLines(told));
  lines.push(`verdict ${told.verdict}${told.reason === '' ? '' : `: ${told.reason}`}`, ...told.summary);
  return lines.map((line) => nameHosts(line, agents));
}

/** Who has to do with its connections beside this host. */
function hostLines({ explanation, toldHosts, askedHosts }: Trace): string[] {
  const names = (hosts: Trace['toldHosts']): string => hosts.map(({ name }) => name).join(', ');
  const lines: string[] = [];
  if (askedHosts.length > 0) {
    lines.push(`asks    ${names(askedHosts)} first whether they know the connection; if not, it is as said here`);
  }
  if (toldHosts.length > 0) {
    const begins = explanation.connections.some(({ state }) => state === 'created');
    const when = begins ? 'before it leaves, of the connections that it begins' : 'of changes of its connections';
    lines.push(`told    ${names(toldHosts)}: ${when}`);
  }
  return lines;
}

function flowLines({ flow, noFlow, installed }: Trace): string[] {
  const lines: string[] = [];
  if (flow === null) lines.push(`flow    none: ${noFlow}`);
  else {
    lines.push(`flow    ${flow.match} (class ${flow.maskClass})`, `        actions:${flow.action}`);
    lines.push(`        stands on: ${flow.tags.join('; ')}`);
  }
  if (installed !== null) {
    const agrees = installed.agrees
      ? 'it does the same'
      : `IT DIFFERS: ${installed.match}, actions:${installed.action}`;
    lines.push(`        a flow for it is installed; ${agrees}`);
  }
  return lines;
}

/** One event of a live trace, as seen at `host`. */
export function eventLines(host: string, event: LiveEvent, agents: readonly KnownHost[]): string[] {
  switch (event.event) {
    case 'watching':
      return [`${host}: watching ${event.interfaces.join(', ') || 'tunnels'}`];
    case 'sent':
      return ['', `== ${clock(event.time)} ${host}: sent`, ...traceLines(host, event.trace, [], agents)];
    case 'arrived': {
      const head = ['', `== ${clock(event.time)} ${host}: arrived from ${event.source}`, `packet  ${event.packet}`];
      if (event.frame !== undefined) head.push(`bytes   ${event.frame}`);
      return [...head, event.arrival.text];
    }
    case 'failed':
      return ['', `== ${clock(event.time)} ${host}: not explained: ${event.message}`, `packet  ${event.packet}`];
    default:
      return [
        `${host}: ended (${event.why}); ${event.matched} matched, ${event.skipped} of them not explained, ${event.missed} copies missed`,
      ];
  }
}

function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

/** A way in a few words: `interface …, interface …`. */
export function destinationsText(destinations: readonly Destination[]): string {
  return destinations.map(({ text }) => text).join(' and ');
}
