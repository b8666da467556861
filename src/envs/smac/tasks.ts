/** The SMAC family: names, options and the spec of each task; the battle is `battle.ts`, the environment `smac-env.ts`. */
import { LorasaError, suggestion } from "../../base/errors.ts";
import type { EnvOptions, EnvSpec } from "../contract.ts";
import { type ObservationLayout, observationLayout, type StateLayout, stateLayout } from "./layout.ts";
import { parseSmacOptions, type SmacOptions } from "./options.ts";
import { placeUnits } from "./placement.ts";
import { SCENARIOS, type Scenario } from "./scenarios.ts";
import { LOOPS_PER_SECOND, LOOPS_PER_STEP } from "./units.ts";
import { FIRST_TARGET } from "./view.ts";

/** A task made definite: all that `SmacEnv` needs. */
export interface SmacTask {
  readonly spec: EnvSpec;
  readonly scenario: Scenario;
  readonly options: SmacOptions;
  readonly observation: ObservationLayout;
  readonly state: StateLayout;
}

/** `smac/3m` and so on. */
export function smacTaskNames(): string[] {
  return Object.keys(SCENARIOS).map((name) => `smac/${name}`);
}

/** @throws LORASA_UNKNOWN_TASK or LORASA_CONFIG, saying what is known. */
export function smacTask(name: string, options: EnvOptions): SmacTask {
  const map = name.slice("smac/".length);
  if (!name.startsWith("smac/") || !Object.hasOwn(SCENARIOS, map)) {
    throw new LorasaError("LORASA_UNKNOWN_TASK", {
      asked: `environment ${name}`,
      mend: suggestion(name, smacTaskNames()),
    });
  }
  const scenario = SCENARIOS[map]!;
  const { values, fullName } = parseSmacOptions(name, scenario.limit, options);
  const observation = observationLayout(scenario, values);
  const state = stateLayout(scenario, values);
  const { allies, enemies } = placeUnits(scenario);
  const actions = FIRST_TARGET + enemies.length;
  const observationSize = observation.size * values.stackedFrames;
  const spec: EnvSpec = {
    name: fullName,
    agents: allies.map(({ name: type }, index) => ({
      name: `agent_${index}`,
      observationSize,
      actionSize: actions,
      type,
    })),
    observationSize,
    stateSize: state.size * values.stackedFrames,
    statePerAgent: state.perAgent,
    actionSpace: { kind: "discrete", count: actions },
    episodeLimit: values.episodeLimit,
    stepSeconds: LOOPS_PER_STEP / LOOPS_PER_SECOND,
    episodeFigures: ["won", "deadAllies", "deadEnemies"],
  };
  return { spec, scenario, options: values, observation, state };
}
