/** What the server and its models say of themselves, in the protocol's words. */
import { VERSION } from "../../src/base/version.ts";
import type { Endpoint } from "../engine/policy-model.ts";

/** Only what is implemented: clients switch features on by these. */
const EXTENSIONS = ["binary_tensor_data", "parameters", "lora_adapters"];

export const SERVER_NAME = "lorasa";

export function serverMetadata(): object {
  return { name: SERVER_NAME, version: VERSION, extensions: EXTENSIONS };
}

/** Shapes with −1 where a size varies; facts of ours under `properties`. */
export function modelMetadata(endpoint: Endpoint): object {
  const { manifest } = endpoint.model;
  const { name, inputs, outputs } = endpoint;
  return {
    name,
    versions: [manifest.version],
    platform: "onnxruntime_onnx",
    inputs,
    outputs,
    properties: {
      "lorasa.mode": manifest.mode,
      "lorasa.environment": manifest.environment.name,
      "lorasa.backbone_sha256": manifest.backboneSha256,
      ...(endpoint.addressee.agent === undefined && {
        "lorasa.agents": manifest.agents.map((agent) => agent.name).join(","),
        "lorasa.tagged_rows":
          "the same inputs as [B, …] with agent [B], INT32 or INT64 indices or BYTES names",
      }),
    },
  };
}
