/** What the datapath makes of a frame by an action, byte for byte. */
import { applyRewrite, WorkFrame } from '@weft/datapath/oracle';
import { extractKey, KEY_SIZE, newFrameLayout } from '@weft/flow';

const work = new WorkFrame();
const layout = newFrameLayout();

/** The frame as it leaves. @throws when it is malformed, or cannot be rewritten so: no engine asks for that */
export function carriedOut(frame: Uint8Array, action: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  if (!extractKey(frame, frame.length, 0, 0, key, 0, layout)) throw new Error('a malformed frame leaves');
  work.load(frame, 0, frame.length);
  if (!applyRewrite(work, key, layout, action)) throw new Error('a frame cannot be rewritten');
  return work.bytes.slice(work.start, work.end);
}
