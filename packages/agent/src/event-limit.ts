/** Keeps the log readable while packets cause the same event again and again. */
import { type AgentEvent, eventRow } from './events.ts';

const WINDOW_MS = 60_000;

interface Window {
  until: number;
  left: number;
  suppressed: number;
}

export class EventLimit {
  private readonly windows = new Map<AgentEvent, Window>();

  /**
   * Asks for a line of an event. `now` in ms.
   * @returns −1: it is not to be written, else how many were suppressed since the last one that was
   */
  take(event: AgentEvent, now: number): number {
    const { perMinute } = eventRow(event);
    if (perMinute === undefined) return 0;
    let window = this.windows.get(event);
    if (!window) this.windows.set(event, (window = { until: 0, left: 0, suppressed: 0 }));
    if (now >= window.until) {
      window.until = now + WINDOW_MS;
      window.left = perMinute;
    }
    if (window.left === 0) {
      window.suppressed++;
      return -1;
    }
    window.left--;
    const { suppressed } = window;
    window.suppressed = 0;
    return suppressed;
  }
}
