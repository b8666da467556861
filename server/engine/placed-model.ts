/**
 * A model's graphs on one device, with their banks and what they cost there: which of them a batch takes, and how it
 * is run. Not requests and replies: see `policy-model.ts`.
 */
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import type { Device } from "../../src/runtime/session.ts";
import { AdapterBanks, type BankPlace } from "./adapter-banks.ts";
import {
  type BatchPlan,
  hasOneAdapterAnAgent,
  hasOwnAdapters,
  type PolicyRows,
  planGathered,
  planGrouped,
  planMerged,
} from "./batch.ts";
import type { BoundGraph, FixedInputs } from "./bound-graph.ts";
import { type CostModel, measureCost } from "./cost-model.ts";
import { groupSize, rowCount } from "./placement.ts";

/** The loaded graphs of each mode. */
export type ModelGraphs =
  | { readonly mode: "merged"; readonly agents: readonly BoundGraph[] }
  | { readonly mode: "stacked"; readonly team: BoundGraph }
  | { readonly mode: "factored"; readonly team: BoundGraph; readonly rows: BoundGraph };

/** Which graph a batch takes, with how many rows a group, and how long that is expected to take. */
export interface BatchLayout {
  readonly kind: "merged" | "grouped" | "gathered";
  readonly size: number;
  readonly ms: number;
}

/** Owns the graphs and banks until `dispose`. */
export class PlacedModel {
  readonly device: Device;
  readonly graphs: readonly BoundGraph[];
  /** Names, in the team's order. */
  readonly #agents: readonly string[];
  readonly #byMode: ModelGraphs;
  readonly #banks: AdapterBanks | undefined;
  readonly #costs: { readonly main: CostModel; readonly rows: CostModel | undefined };

  /**
   * Runs each graph a few times: what does not fit shows here, and what each costs.
   * @throws LORASA_GRAPH, LORASA_DEVICE; the graphs stay their giver's then.
   */
  constructor(manifest: ModelManifest, graphs: ModelGraphs, place: BankPlace) {
    this.device = place.runtime.device;
    this.#agents = manifest.agents.map(({ name }) => name);
    this.#byMode = graphs;
    this.graphs = graphsOf(graphs);
    this.#banks = graphs.mode === "factored" ? new AdapterBanks(manifest, place) : undefined;
    try {
      this.#costs = this.#measure();
    } catch (error) {
      this.#banks?.dispose();
      throw error;
    }
  }

  /** One whose inputs and outputs are those of all. */
  get sample(): BoundGraph {
    return this.graphs[0]!;
  }

  /** Of the graphs: weights that sessions share are counted once, of others each graph's file holds its own. */
  get backboneBytes(): number {
    const own = this.graphs.map(({ file, session }) =>
      session.sharedWeights.reduce((left, { bytes }) => left - bytes, file.bytes),
    );
    return own.reduce((sum, bytes) => sum + bytes, this.sharedBytes);
  }

  /** Of the weights that sessions share. */
  get sharedBytes(): number {
    const shared = new Map(
      this.graphs.flatMap(({ session }) => session.sharedWeights.map(({ sha256, bytes }) => [sha256, bytes])),
    );
    return [...shared.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Of the tensors through which graphs see adapters. */
  get bankBytes(): number {
    return this.#banks?.bytes ?? 0;
  }

  /** Expected milliseconds of a request in which every agent has that many rows. */
  teamMs(rows: number): number {
    const { main } = this.#costs;
    const team = this.#agents.length;
    return this.#byMode.mode === "merged" ? team * main.estimate(rows) : main.estimate(team * rows);
  }

  /** The cheapest way to run a batch, by what the graphs took when the model was loaded. */
  layout(batch: readonly PolicyRows[]): BatchLayout {
    const { main, rows } = this.#costs;
    const { team } = batch[0]!;
    const agents = batch.map((each) => each.agents);
    const total = agents.reduce((sum, each) => sum + rowCount(each, team), 0);
    if (this.#byMode.mode === "merged") return { kind: "merged", size: 0, ms: main.estimate(total) };
    const size = groupSize(agents, team);
    const grouped = { kind: "grouped", size, ms: main.estimate(team * size) } as const;
    if (!rows) return grouped;
    const gathered = { kind: "gathered", size: 0, ms: rows.estimate(total) } as const;
    // Without padding grouped is never much dearer, and a team request gives the same bits on every server.
    const cheaper = team * size === total || grouped.ms <= gathered.ms;
    return cheaper && this.#canGroup(batch) ? grouped : gathered;
  }

  /**
   * How a batch is to be run; its inputs are not copied yet.
   * @param apart gives adapters memory of their own, for a run that others do not wait for.
   */
  plan(batch: readonly PolicyRows[], { kind, size }: BatchLayout, apart = false): BatchPlan {
    const graphs = this.#byMode;
    if (graphs.mode === "merged") return planMerged(graphs.agents, batch);
    if (graphs.mode === "stacked") return planGrouped(graphs.team, undefined, batch, size);
    const banks = apart ? this.#banks!.apart() : this.#banks!;
    if (kind === "grouped") return planGrouped(graphs.team, banks.team, batch, size);
    return planGathered(graphs.rows, banks.rows, batch);
  }

  dispose(): void {
    for (const graph of this.graphs) graph.dispose();
    this.#banks?.dispose();
  }

  /** One bank for both graphs has each variant in a slot of its own: to put it into its agent's as well is an upload. */
  #canGroup(batch: readonly PolicyRows[]): boolean {
    if (!this.#banks?.areOne) return hasOneAdapterAnAgent(batch);
    return hasOwnAdapters(batch, this.#agents);
  }

  #measure(): { main: CostModel; rows: CostModel | undefined } {
    const graphs = this.#byMode;
    const team = this.#agents.length;
    const fixed: FixedInputs = this.#banks?.team.first(team) ?? {};
    if (graphs.mode === "merged") {
      for (const graph of graphs.agents.slice(1)) graph.bind(graph.leading(1), fixed).run();
      return { main: measureCost(graphs.agents[0]!, 1, fixed), rows: undefined };
    }
    const main = measureCost(graphs.team, team, fixed);
    if (graphs.mode === "stacked") return { main, rows: undefined };
    return { main, rows: measureCost(graphs.rows, 1, this.#banks!.rows.tensors) };
  }
}

function graphsOf(graphs: ModelGraphs): readonly BoundGraph[] {
  if (graphs.mode === "merged") return graphs.agents;
  return graphs.mode === "stacked" ? [graphs.team] : [graphs.team, graphs.rows];
}
