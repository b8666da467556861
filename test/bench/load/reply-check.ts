/** Holds every reply against what the adapter versions that it names must act. Not how versions come about. */
import { type ActionTable, isAction } from "./action-table.ts";
import type { RawReply } from "./connection.ts";
import { readInference } from "./reply.ts";
import type { Versions } from "./versions.ts";

/** What a row of a request was: observations of an agent in one of the table's sets. */
export interface AskedRow {
  readonly set: number;
  readonly agent: number;
}

/** Replies that are not as they must be. */
export interface Wrong {
  /** Another status than 200, no reply, or one that cannot be read. */
  failed: number;
  /** Some row's action is not that of the version that the reply names. */
  mixed: number;
  /** A version older than the newest that was acknowledged before the request was sent. */
  stale: number;
  /** What the first was. */
  first: string;
}

export class ReplyCheck {
  readonly wrong: Wrong = { failed: 0, mixed: 0, stale: 0, first: "" };
  readonly #table: ActionTable;
  readonly #versions: Versions;
  readonly #named: Int32Array;
  /** Replies name the same versions until the next swap. */
  #parsed = "";

  constructor(table: ActionTable, versions: Versions) {
    this.#table = table;
    this.#versions = versions;
    this.#named = new Int32Array(table.agents);
  }

  /** @param sentAfter versions that were acknowledged when the request was sent. */
  check(reply: RawReply, rows: readonly AskedRow[], sentAfter: Int32Array): void {
    const { status, body } = reply;
    if (status !== 200) {
      this.count("failed", `${status}: ${body.toString("utf8", 0, 300)}`);
      return;
    }
    try {
      const { adapterVersions, outputs } = readInference(reply);
      if (adapterVersions !== this.#parsed) {
        this.#versions.parse(adapterVersions, this.#named);
        this.#parsed = adapterVersions;
      }
      this.#checkRows(outputs.get("action") ?? [], rows, sentAfter);
    } catch (error) {
      this.count("failed", `${error}`);
    }
  }

  count(kind: "failed" | "mixed" | "stale", what: string): void {
    this.wrong[kind] += 1;
    this.wrong.first ||= `${kind}: ${what}`;
  }

  #checkRows(actions: ArrayLike<number>, rows: readonly AskedRow[], sentAfter: Int32Array): void {
    for (const [row, { set, agent }] of rows.entries()) {
      const version = this.#named[agent]!;
      const variant = this.#versions.variant(agent, version);
      const offset = this.#table.actions * row;
      if (variant === undefined || !isAction(this.#table, { set, variant, agent }, actions, offset)) {
        this.count("mixed", `agent ${agent} of ${this.#parsed}`);
        return;
      }
      if (version < sentAfter[agent]!) {
        this.count("stale", `agent ${agent} version ${version} after ${sentAfter[agent]}`);
        return;
      }
    }
  }
}
