/** A line at the foot of a terminal that is rewritten in place. Where nobody watches nothing is written. */
import type { WriteStream } from 'node:tty';

/** Milliseconds after which a line is made anew: spans in it go on. */
const REFRESH = 1_000;

export class StatusLine {
  readonly #out: WriteStream;
  #timer: NodeJS.Timeout | undefined;
  #isShown = false;

  constructor(out: WriteStream) {
    this.#out = out;
  }

  /** Shows what `text` makes, and again every second until something else is shown. */
  show(text: () => string): void {
    if (!this.#out.isTTY) return;
    clearInterval(this.#timer);
    const draw = (): void => {
      this.#isShown = true;
      // One line: the cursor could not find back to the begin of a longer one.
      this.#out.write(`\r${text().slice(0, Math.max(1, this.#out.columns - 1))}\x1b[K`);
    };
    draw();
    this.#timer = setInterval(draw, REFRESH);
    this.#timer.unref();
  }

  clear(): void {
    clearInterval(this.#timer);
    if (this.#isShown) this.#out.write('\r\x1b[K');
    this.#isShown = false;
  }
}
