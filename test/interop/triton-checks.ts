/** What the checks of Triton's clients share: whom they ask, and how an action is judged. Not the checks. */
import assert from "node:assert/strict";
import { assertClose } from "../helpers/close.ts";
import type { Inferred, TritonClient } from "./triton-client.ts";
import { POLICY } from "./triton-served.ts";

export interface Subject {
  /** Of our HTTP door, for what is asked without the Python client. */
  readonly url: string;
  readonly client: TritonClient;
}

/** Environments, agents, observation: a batch of three, since a team's agents are one request. */
export const TEAM = [3, POLICY.agents, POLICY.observation] as const;

export const NOT_FOUND = /^(404|StatusCode\.NOT_FOUND)$/;

export const TEAM_ACTION = [3, 2, 2];

export function checkAction(reply: Inferred, shape: readonly number[], expected: readonly number[]): void {
  const { action } = reply.outputs;
  assert.equal(action?.dtype, "float32");
  assert.deepEqual(action.shape, shape);
  assertClose(action.data, expected, { atol: 2e-6 }, reply.response.model_name);
}

/** A parameter of the reply; gRPC's JSON wraps it in its type's name. */
export function parameter({ response }: Inferred, name: string): unknown {
  const value = response.parameters?.[name];
  return typeof value === "object" && value !== null ? Object.values(value)[0] : value;
}
