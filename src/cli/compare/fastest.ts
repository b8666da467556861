/** Which modes answer a whole team the soonest. */
import type { Mode } from "./contract.ts";
import type { CompareRow } from "./summary.ts";

/** Modes that answer a whole team at once; `rows` is for requests of some agents. */
export const TEAM_MODES: readonly Mode[] = ["merged", "stacked", "factored"];
/** A mode this little slower than the fastest is as fast for any purpose. */
const SAME = 1.05;

/** The team modes of one size that no other beats by more than 5 %, or than the rounds of the fastest differ. */
export function fastestModes(rows: readonly CompareRow[]): CompareRow[] {
  const team = rows.filter(({ mode }) => TEAM_MODES.includes(mode)).sort((a, b) => a.p50Us - b.p50Us);
  const [fastest] = team;
  if (!fastest) return [];
  return team.filter(
    (row) =>
      row.p50Us <= SAME * fastest.p50Us || Math.min(...row.p50UsRounds) <= Math.max(...fastest.p50UsRounds),
  );
}
