/** How far a change has got, in words. */

/** A host that has not followed, as the API says it. */
interface HostBehind {
  readonly hostId: string;
  readonly name: string;
  readonly reachable: boolean;
  readonly unknownForMs: number | null;
}

/** The members of `GET /convergence/{revision}` that are read. */
export interface Progress {
  readonly generation: string;
  readonly revision: number;
  readonly converged: boolean;
  readonly hosts: number;
  readonly applied: number;
  readonly behind: readonly HostBehind[];
}

/** Hosts that are named in one line. */
const MOST_NAMED = 3;

/** `revision 16: live on 211 of 212 hosts, waiting for h7 (away for 12 s)`. @param agedMs how long ago that was so */
export function progressLine({ revision, hosts, applied, behind }: Progress, agedMs = 0): string {
  const live = `revision ${revision}: live on ${applied} of ${hosts} hosts`;
  if (behind.length === 0) return live;
  const named = behind.slice(0, MOST_NAMED).map((host) => hostText(host, agedMs));
  const more = hosts - applied - named.length;
  // A tenant is not told which hosts there are.
  if (behind.every(({ hostId }) => hostId === '')) return `${live}, waiting for ${hosts - applied} more`;
  return `${live}, waiting for ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

function hostText({ hostId, name, reachable, unknownForMs }: HostBehind, agedMs: number): string {
  const called = name === '' ? hostId : name;
  if (reachable) return called;
  return `${called} (${unknownForMs === null ? 'away, never heard of' : `away for ${spanText(unknownForMs + agedMs)}`})`;
}

/** A span of time for people: `12 s`, `5 min`, `3 h`. */
export function spanText(ms: number): string {
  const seconds = Math.floor(Math.max(0, ms) / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3_600)} h`;
}
