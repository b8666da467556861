/** What the server and its models say of themselves, in the protocol's words. */
import { VERSION } from "../../src/base/version.ts";
import type { ServedModel } from "../engine/service.ts";
import { type ModelFacts, modelProperties, PLATFORM } from "./config.ts";

/** Only what is implemented: clients switch features on by these. */
const EXTENSIONS = [
  "binary_tensor_data",
  "parameters",
  "model_repository",
  "model_repository(unload_dependents)",
  "model_configuration",
  "statistics",
  "sequence",
  "sequence(string_id)",
  "schedule_policy",
  "lora_adapters",
];

export const SERVER_NAME = "lorasa";

export function serverMetadata(): object {
  return { name: SERVER_NAME, version: VERSION, extensions: EXTENSIONS };
}

/** Shapes with −1 where a size varies; facts of ours under `properties`. */
export function modelMetadata({ name, inputs, outputs }: ServedModel, facts: ModelFacts): object {
  return {
    name,
    versions: [facts.version],
    platform: PLATFORM,
    inputs,
    outputs,
    properties: modelProperties(facts),
  };
}
