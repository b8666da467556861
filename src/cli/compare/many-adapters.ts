/** Memory of many adapters: one backbone with a bank against a merged graph and session each. Not how fast they are. */
import type { Team } from "../../../models/team.ts";
import type { AdaptersTask, LoadedBytes, Target, TeamFiles, Way } from "./contract.ts";
import { measureAdaptersInProcess } from "./measure.ts";
import { deviceBytes } from "./summary.ts";
import { writeTeamFiles } from "./team-files.ts";

/** What so many adapters take on a target. */
export interface AdaptersMemory extends Target {
  readonly adapters: number;
  readonly factored: LoadedBytes;
  /** Of `adapters` sessions: that of the `sessions` that were loaded, scaled. */
  readonly merged: LoadedBytes;
  /** Merged sessions that were loaded. */
  readonly sessions: number;
  /** Factored of merged, where the model runs: on the CPU the process, else the device's memory. */
  readonly ratio: number;
}

/** Sessions and bytes of weights above which merged graphs are scaled instead of loaded. */
const MOST_SESSIONS = 64;
const MOST_MERGED_BYTES = 2 ** 30;

/**
 * Measures on every target, each way in a process of its own.
 * @param adapters N, at least as many as the team has agents to be of use.
 * @param folder where files may be written.
 * @throws LORASA_MEASURE, LORASA_RANGE.
 */
export async function measureAdapters(
  team: Team,
  adapters: number,
  targets: readonly Target[],
  folder: string,
): Promise<AdaptersMemory[]> {
  const measured: AdaptersMemory[] = [];
  for (const { device, precision } of targets) {
    const files = (mode: "factored" | "rows" | "merged"): TeamFiles =>
      writeTeamFiles(team, mode, precision, folder);
    const load = (way: Way, count: number, teams: readonly TeamFiles[]): Promise<LoadedBytes> =>
      measureAdaptersInProcess({ device, precision, way, count, teams } satisfies AdaptersTask, folder);
    const graphs = [files("factored"), files("rows")];
    const factored = await load("factored", adapters, graphs);
    const one = oneOf(files("merged"));
    const sessions = sessionsOf(adapters, one.bytes.backbone);
    const merged = await load("merged", sessions, [one]);
    // WebGPU's runtime counts what sessions share; what each keeps is the graph's own.
    const backbone = device === "cuda" ? graphs.reduce((sum, { bytes }) => sum + bytes.backbone, 0) : 0;
    const kept = deviceBytes(device, { ...one.bytes, backbone: one.bytes.backbone * sessions });
    measured.push(
      compared(
        { device, precision, adapters, sessions },
        { ...factored, deviceBytes: factored.deviceBytes + backbone },
        { ...merged, deviceBytes: merged.deviceBytes + kept },
      ),
    );
  }
  return measured;
}

function compared(
  about: Target & Pick<AdaptersMemory, "adapters" | "sessions">,
  factored: LoadedBytes,
  loaded: LoadedBytes,
): AdaptersMemory {
  const scale = about.adapters / about.sessions;
  const merged = {
    hostBytes: Math.round(loaded.hostBytes * scale),
    deviceBytes: Math.round(loaded.deviceBytes * scale),
  };
  const place = about.device === "cpu" ? "hostBytes" : "deviceBytes";
  return { ...about, factored, merged, ratio: factored[place] / merged[place] };
}

/** The files of one agent's graph. */
function oneOf({ graphs, bytes }: TeamFiles): TeamFiles {
  return {
    agents: 1,
    graphs: graphs.slice(0, 1),
    bytes: { ...bytes, backbone: bytes.backbone / graphs.length },
  };
}

function sessionsOf(adapters: number, graphBytes: number): number {
  return Math.max(1, Math.min(adapters, MOST_SESSIONS, Math.floor(MOST_MERGED_BYTES / graphBytes)));
}
