/** What each of Triton's Python clients must get from a server of ours, whichever transport it speaks. */
import { test } from "node:test";
import type { Subject } from "./triton-checks.ts";
import * as infer from "./triton-infer-checks.ts";
import * as sequence from "./triton-sequence-checks.ts";
import * as service from "./triton-service-checks.ts";

type Check = (subject: Subject) => Promise<void>;

/** Every check by its name; the last ones need the management token and reload models. */
const CHECKS: Readonly<Record<string, Check>> = {
  "health of the server and of models by name and version": service.health,
  "metadata of the server and of models": service.metadata,
  "the configuration agrees with the metadata": service.configuration,
  "team requests get the policy's numbers from every mode": infer.teamRequests,
  "an agent is a model of its own": infer.agentModels,
  "rows tagged by number and by name": infer.taggedRows,
  "classes arrive as INT64": infer.classes,
  "request ids, versions and the outputs that were asked for": infer.envelopes,
  "requests sent together, one of them wrong": infer.together,
  "a wrong request's message arrives and the client goes on": infer.wrongRequests,
  "priority, timeout and custom parameters are taken": infer.parameters,
  "sequences hold the state that a loop over hidden_in and hidden_out holds": sequence.sequences,
  "two sequences at once keep their own state, by number and by text": sequence.interleaved,
  "a sequence that was never begun is refused": sequence.unbegun,
  "statistics count requests and rows": service.statistics,
  "what needs a token is refused without one": service.refused,
  "an adapter that was pushed, by parameter and by name": infer.variants,
  "models are listed, unloaded and loaded again": service.repository,
  "trace, log settings and shared memory are refused in words": service.unsupported,
};

/** Registers one test a check. */
export function checkClient(flavour: string, subject: () => Subject, skip: string | false): void {
  for (const [name, check] of Object.entries(CHECKS)) {
    test(`${flavour}: ${name}`, { skip }, () => check(subject()));
  }
}
