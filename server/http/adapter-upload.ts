/**
 * The body of an adapter load request, in its three forms. Not whether the adapter fits.
 *
 * - `{"parameters": {"path": "agent_0"}}`: a folder under the model's own `adapters/`;
 * - `{"parameters": {"config": "<adapter_config.json>", "file:adapter_model.safetensors": "<base64>"}}`;
 * - framed as binary tensors are: `Inference-Header-Content-Length` bytes of
 *   `{"parameters": {"config": "<adapter_config.json>"}}`, then the bytes of the safetensors file.
 *
 * Each may hold `"load_inplace": true`, without which a loaded adapter is not replaced.
 */
import { LorasaError } from "../../src/base/errors.ts";
import type { AdapterFiles } from "../engine/adapter-intake.ts";
import { readContained } from "../engine/adapter-intake.ts";
import { type ParameterValue, parseHeaderLength, parseJson, parseParameters } from "../protocol/request.ts";

export interface AdapterUpload {
  readonly files: AdapterFiles;
  /** Whether a loaded adapter may be replaced. */
  readonly replace: boolean;
}

const FILE_PARAMETER = "file:adapter_model.safetensors";
const KNOWN = ["path", "config", FILE_PARAMETER, "load_inplace"];

type Parameters = Readonly<Record<string, ParameterValue>>;

/**
 * @param headerLength value of Inference-Header-Content-Length, if sent.
 * @param adapterRoot the only folder that `path` may lead into.
 * @throws LORASA_REQUEST, LORASA_FORBIDDEN or LORASA_FILE.
 */
export function parseAdapterUpload(
  body: Buffer,
  headerLength: string | undefined,
  adapterRoot: string,
): AdapterUpload {
  const jsonLength = headerLength === undefined ? body.length : parseHeaderLength(headerLength, body.length);
  const request = parseJson(body.subarray(0, jsonLength));
  const parameters = parseParameters("parameters", request["parameters"]);
  checkKnown(parameters);
  const replace = parameters["load_inplace"] ?? false;
  if (typeof replace !== "boolean") throw uploadError("load_inplace", "true or false", `${replace}`);
  const trailing = headerLength === undefined ? undefined : body.subarray(jsonLength);
  return { files: readFiles(parameters, trailing, adapterRoot), replace };
}

function readFiles(parameters: Parameters, trailing: Buffer | undefined, adapterRoot: string): AdapterFiles {
  const { path, config } = parameters;
  const encoded = parameters[FILE_PARAMETER];
  const sources = [path, encoded, trailing].filter((source) => source !== undefined).length;
  if (sources !== 1) {
    throw uploadError("body", `one of path, ${FILE_PARAMETER} or bytes after the JSON`, `${sources} of them`);
  }
  if (path !== undefined) {
    if (typeof path !== "string") throw uploadError("path", "a string", typeof path);
    return readContained(adapterRoot, path);
  }
  if (typeof config !== "string") {
    throw uploadError("config", "the text of adapter_config.json", typeof config);
  }
  if (trailing) return { config, tensors: trailing };
  if (typeof encoded !== "string" || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
    throw uploadError(FILE_PARAMETER, "base64", "other text");
  }
  return { config, tensors: Buffer.from(encoded, "base64") };
}

function checkKnown(parameters: Parameters): void {
  const unknown = Object.keys(parameters).find((key) => !KNOWN.includes(key));
  if (unknown === undefined) return;
  throw uploadError(unknown.slice(0, 80), KNOWN.join(", "), "an unknown name");
}

function uploadError(field: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: `adapter load, parameters.${field}`,
    expected,
    received,
  });
}
