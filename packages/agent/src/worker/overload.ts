/**
 * What gives when more comes up than the worker can decide. Each port's budget bounds what it sends up; but a port may have more of
 * it than this machine has time for, and the ring is first come, first served: everybody would wait behind one port's packets. So
 * once packets are old, those of the port that most of the latest came from are dropped at once, which costs a small part of deciding
 * on them, and the others' turn comes.
 */

/** Packets this old show that the worker is behind, ns: longer than any burst that the ring's budget allows takes. */
const BEHIND_NS = 250e6;
/** Latest packets that are counted; a power of two. */
const WINDOW = 256;
/** Ports share counts by their number modulo this; a power of two. */
const SLOTS = 1024;

export class Overload {
  private readonly latest = new Uint16Array(WINDOW);
  private readonly counts = new Uint16Array(SLOTS);
  private seen = 0;

  /**
   * Takes note of a packet that came up; true: it is to be dropped.
   * @param inPort ifindex @param ageNs since it came up
   */
  sheds(inPort: number, ageNs: number): boolean {
    const { latest, counts } = this;
    const slot = inPort & (SLOTS - 1);
    const at = this.seen++ & (WINDOW - 1);
    if (this.seen > WINDOW) counts[latest[at]]--;
    latest[at] = slot;
    counts[slot]++;
    return ageNs > BEHIND_NS && counts[slot] > WINDOW / 2;
  }
}
