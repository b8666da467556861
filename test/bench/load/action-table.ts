/**
 * What each agent must do with each of its adapters, computed with the exported graph before a server is asked: so that
 * a reply shows which adapter it was made with. Not how a reply is read.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Team } from "../../../models/team.ts";
import { type FloatTensor, floatTensor } from "../../../src/base/tensor.ts";
import { adapterParameters } from "../../../src/checkpoint/adapter.ts";
import { readModelManifest } from "../../../src/checkpoint/repository-files.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import { adapterOf, teamVariant } from "./policy.ts";
import { stackParameters } from "./twin-policy.ts";

/** Actions that differ by less than this are the same: batches of other sizes sum in other orders. */
const TOLERANCE = 1e-3;

/** Actions by observation, adapter variant and agent: float32 [S, V, N, K]. Crosses to other processes by cloning. */
export interface ActionTable {
  readonly variants: number;
  readonly agents: number;
  readonly actions: number;
  readonly data: Float32Array;
}

/**
 * @param folder of the exported team, factored.
 * @param sets float32 [1, N, O] each.
 * @throws Error when two variants of an agent act alike, so that a reply could not tell them apart.
 */
export function actionTable(
  team: Team,
  folder: string,
  sets: readonly FloatTensor[],
  variants: number,
): ActionTable {
  const { graphs, actionSize } = readModelManifest(folder);
  const session = createRuntime().createSession(readFileSync(join(folder, graphs.team!)));
  const agents = team.agents.length;
  const data = new Float32Array(sets.length * variants * agents * actionSize);
  const table = { variants, agents, actions: actionSize, data };
  for (let variant = 0; variant < variants; variant++) {
    const other = teamVariant(team, variant);
    const adapters = stackParameters(
      team.agents.map((_, agent) => adapterParameters(adapterOf(other, agent))),
    );
    for (const [set, { data: rows }] of sets.entries()) {
      // One environment: [1, N, O] has the memory of the graph's [N, 1, O].
      const obs = floatTensor([agents, 1, rows.length / agents], rows);
      const { action } = session.run({ obs, ...adapters });
      if (action === undefined || !("data" in action)) throw new Error("a graph without action on the host");
      data.set(action.data as Float32Array, rowOf(table, set, variant, 0));
    }
  }
  session.dispose();
  requireDifferent(table, sets.length);
  return table;
}

/**
 * Whether an agent's action is that of one of its adapters.
 * @param actions of one row at `offset`; a missing number is none.
 */
export function isAction(
  table: ActionTable,
  where: { readonly set: number; readonly variant: number; readonly agent: number },
  actions: ArrayLike<number>,
  offset: number,
): boolean {
  const row = rowOf(table, where.set, where.variant, where.agent);
  for (let k = 0; k < table.actions; k++) {
    if (!(Math.abs(actions[offset + k]! - table.data[row + k]!) <= TOLERANCE)) return false;
  }
  return true;
}

function rowOf(
  { variants, agents, actions }: ActionTable,
  set: number,
  variant: number,
  agent: number,
): number {
  return ((set * variants + variant) * agents + agent) * actions;
}

function requireDifferent(table: ActionTable, sets: number): void {
  const { variants, agents, actions, data } = table;
  for (let set = 0; set < sets; set++) {
    for (let agent = 0; agent < agents; agent++) {
      for (let variant = 0; variant < variants; variant++) {
        const own = rowOf(table, set, variant, agent);
        const alike = Array.from({ length: variants }, (_, other) => other).filter((other) =>
          isAction(table, { set, variant: other, agent }, data, own),
        );
        if (alike.length !== 1)
          throw new Error(`variants ${alike} of agent ${agent} act alike (${actions} actions)`);
      }
    }
  }
}
