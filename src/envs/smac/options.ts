/** Options of every SMAC task and their initial values for each layout; not what they change. */
import type { EnvOptions } from "../contract.ts";
import { fullName, parseOptions } from "../options.ts";

type Flag = "true" | "false";

/** Layouts of observations and states: on-policy's and HARL's, or SMAC's own. */
const LAYOUT = { kind: "choice", choices: ["on-policy", "smac"], initial: "on-policy" } as const;
/** One state for the team, or one an agent. */
const STATE = { kind: "choice", choices: ["team", "agent"], initial: "team" } as const;

/** All options made definite. */
export type SmacOptions = ReturnType<typeof parseSmacOptions>["values"];

/**
 * Initial values are on-policy's (state of an agent), HARL's (state of the team) or SMAC's, by layout. An option that
 * the chosen layout does not know can only have its initial value.
 * @throws LORASA_CONFIG
 */
export function parseSmacOptions(name: string, limit: number, options: EnvOptions) {
  const { layout, state, ...rest } = options;
  const chosen = parseOptions(
    name,
    { layout: LAYOUT, state: STATE },
    {
      ...(layout !== undefined && { layout }),
      ...(state !== undefined && { state }),
    },
  );
  const rules = optionRules(limit, chosen.layout, chosen.state);
  const values = parseOptions(name, rules, { ...chosen, ...rest });
  return { values, fullName: fullName(name, rules, values) };
}

function optionRules(limit: number, layout: "on-policy" | "smac", state: "team" | "agent") {
  const smac = layout === "smac";
  const agent = state === "agent";
  return {
    layout: LAYOUT,
    // SMAC itself has no state of an agent.
    state: { ...STATE, choices: smac ? (["team"] as const) : STATE.choices },
    reward: { kind: "choice", choices: ["positive", "signed", "sparse"], initial: "positive" },
    timeLimit: { kind: "choice", choices: ["terminates", "truncates"], initial: "terminates" },
    episodeLimit: { kind: "whole", low: 1, high: 1_000_000, initial: limit },
    stackedFrames: { kind: "whole", low: 1, high: 16, initial: 1 },
    obsAllHealth: flag(true),
    obsOwnHealth: flag(true),
    obsLastAction: flag(!smac),
    obsPathing: flag(false),
    obsTerrain: flag(false),
    obsTimestep: flag(false),
    stateLastAction: flag(true),
    stateTimestep: flag(!smac && !agent),
    stateCentre: flag(true, smac),
    statePathing: flag(!smac && !agent, smac || agent),
    stateTerrain: flag(!smac && !agent, smac || agent),
    stateMoves: flag(!smac && !agent, smac || agent),
    stateInfo: flag(!smac && !agent, smac || agent),
    mustAlive: flag(true, !agent),
  } as const;
}

/** True or false; `fixed` allows only the initial value. */
function flag(initial: boolean, fixed = false) {
  const word: Flag = initial ? "true" : "false";
  const choices: readonly Flag[] = fixed ? [word] : ["true", "false"];
  return { kind: "choice", choices, initial: word } as const;
}
