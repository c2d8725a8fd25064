/** Server-sent events (WHATWG HTML, section 9.2) as they arrive: what `text/event-stream` says, without comments and ids. */

export interface ServerEvent {
  readonly event: string;
  readonly data: unknown;
}

/** Characters of one event at most. */
const LONGEST = 4 * 1024 * 1024;

/** @throws Error when an event is too long, or its data is no JSON */
export async function* serverEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > LONGEST) throw new Error(`an event of more than ${LONGEST} characters`);
    for (const block of blocks) {
      let event = 'message';
      const data: string[] = [];
      for (const line of block.split('\n')) {
        if (line.startsWith('event:')) event = line.slice('event:'.length).trim();
        else if (line.startsWith('data:')) data.push(line.slice('data:'.length).trim());
      }
      if (data.length > 0) yield { event, data: JSON.parse(data.join('\n')) };
    }
  }
}
