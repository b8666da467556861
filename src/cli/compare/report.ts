/** A comparison as a table on the terminal, as the JSON of its contract and as a page. Not how it was measured. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { diskError, writeFileAtomic } from "../../base/files.ts";
import { terminalTable } from "../../report/table.ts";
import type { CompareResult } from "./compare-team.ts";
import { comparePage } from "./page.ts";
import { resultTable } from "./result-table.ts";
import { missingText } from "./targets.ts";

export interface CompareFiles {
  readonly json: string;
  readonly report: string;
}

/**
 * Writes `compare.json` and `report.html` into a folder, made when it does not exist.
 * @param command what does it again, for the page.
 * @throws LORASA_DISK.
 */
export async function writeComparison(
  result: CompareResult,
  directory: string,
  command?: string,
): Promise<CompareFiles> {
  const files = { json: join(directory, "compare.json"), report: join(directory, "report.html") };
  const page = await comparePage(result, command);
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    throw diskError(`writing ${directory}`, cause);
  }
  writeFileAtomic(files.json, `${JSON.stringify(compareJson(result), null, 2)}\n`);
  writeFileAtomic(files.report, page);
  return files;
}

/** What `--json` prints and `compare.json` holds: the advice in one text, `device` the first that was measured. */
export function compareJson(result: CompareResult): object {
  const { maxAbsDiff, rows, advice, ...more } = result;
  const text = [advice.headline, ...advice.reasons].join(" ");
  return { maxAbsDiff, rows, advice: text, device: result.targets[0]!.device, ...more };
}

/** What was left out, the table and the advice. */
export function compareText({ rows, advice, maxAbsDiff, missing }: CompareResult): string {
  return [
    `every mode gives the same actions: at most ${maxAbsDiff.toExponential(1)} apart`,
    ...missing.map(missingText),
    "",
    terminalTable(resultTable(rows)),
    advice.headline,
    ...advice.reasons.map((reason) => `- ${reason}`),
  ].join("\n");
}
