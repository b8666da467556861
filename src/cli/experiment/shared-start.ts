/**
 * Runs that are the same until their adapters start, and from which other run's `switch/` each of them can go on. What
 * follows is bit for bit what the whole run would have given, since the switch holds everything that decides it.
 */
import { phaseAt, switchStep, type TrainConfig } from "../../training/config.ts";
import type { Cell } from "./grid.ts";

/** Fields that a run does not read before its switch. */
const ADAPTER_FIELDS: readonly string[] = [
  "sharing",
  "switchAt",
  "rank",
  "alpha",
  "adapterLearningRate",
  "loraZero",
  "excludeLayers",
  "layerRanks",
  "adapterKey",
];
/** Fields that change nothing that is learnt. */
const BESIDE: readonly string[] = ["saveEvery"];
/** Ways of sharing with adapters, and what each is before they start. */
const FIRST_PHASE: Readonly<Record<string, string>> = { lorasa: "ps", "seps-lorasa": "seps" };

/**
 * By a run's name, the run whose switch it can start from; that one comes first.
 * @param hasSwitch runs that have come to their switch, which go before others with the same.
 */
export function sharedStarts(
  cells: readonly Cell[],
  hasSwitch: (cell: Cell) => boolean = () => false,
): ReadonlyMap<string, Cell> {
  const families = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = firstPhase(cell.config);
    families.set(key, [...(families.get(key) ?? []), cell]);
  }
  const pairs = [...families.values()].flatMap((family) => startsOf(family, hasSwitch));
  return new Map(pairs.map(({ cell, from }) => [cell.name, from]));
}

/** Each goes on from the latest switch that is no later than its own. */
function startsOf(family: readonly Cell[], hasSwitch: (cell: Cell) => boolean): { cell: Cell; from: Cell }[] {
  const sorted = family.toSorted(
    (a, b) => switchStep(a.config) - switchStep(b.config) || Number(hasSwitch(b)) - Number(hasSwitch(a)),
  );
  const heads: Cell[] = [];
  return sorted.flatMap((cell) => {
    const from = heads.at(-1);
    const isLater = from === undefined || switchStep(cell.config) > switchStep(from.config);
    if (isLater && keepsSwitch(cell.config)) heads.push(cell);
    return from === undefined ? [] : [{ cell, from }];
  });
}

/** Whether a run leaves a `switch/`. */
function keepsSwitch(config: TrainConfig): boolean {
  const at = switchStep(config);
  return at > 0 && at < config.steps && phaseAt(config, at) === "adapters";
}

/** Equal for two runs that train the same until the earlier one's switch. */
function firstPhase(config: TrainConfig): string {
  const left = Object.entries(config).filter(
    ([name]) => !ADAPTER_FIELDS.includes(name) && !BESIDE.includes(name),
  );
  return JSON.stringify([FIRST_PHASE[config.sharing] ?? config.sharing, left.sort()]);
}
