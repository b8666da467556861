/**
 * The body of an adapter load request, in its three forms. Not whether the adapter fits.
 *
 * - `{"parameters": {"path": "agent_0"}}`: a folder in the adapter root, or a `.safetensors` file in one;
 * - `{"parameters": {"config": "<adapter_config.json>", "file:adapter_model.safetensors": "<base64>"}}`;
 * - framed as binary tensors are: `Inference-Header-Content-Length` bytes of
 *   `{"parameters": {"config": "<adapter_config.json>"}}`, then the bytes of the safetensors file.
 *
 * Each may hold `"load_inplace": true`, without which a loaded adapter is not replaced, `"pin": true` and `"sha256"`,
 * what the file's SHA-256 must be.
 */
import { LorasaError } from "../../src/base/errors.ts";
import type { AdapterFiles } from "../engine/adapter-intake.ts";
import type { AdapterLoad } from "../engine/service.ts";
import { type ParameterValue, parseHeaderLength, parseJson, parseParameters } from "../protocol/request.ts";
import { type AdapterSource, readAdapterPath, refuseUnsafeFile } from "./adapter-path.ts";

const FILE_PARAMETER = "file:adapter_model.safetensors";
const KNOWN = ["path", "config", FILE_PARAMETER, "load_inplace", "pin", "sha256"];

type Parameters = Readonly<Record<string, ParameterValue>>;

/**
 * @param headerLength value of Inference-Header-Content-Length, if sent.
 * @param source where `path` may lead.
 * @throws LORASA_REQUEST, LORASA_FORBIDDEN, LORASA_FILE or LORASA_TOO_LARGE.
 */
export async function readUpload(
  body: Buffer,
  headerLength: string | string[] | undefined,
  source: AdapterSource,
): Promise<AdapterLoad> {
  const jsonLength =
    headerLength === undefined ? body.length : parseHeaderLength(`${headerLength}`, body.length);
  const parameters = parseParameters("parameters", parseJson(body.subarray(0, jsonLength))["parameters"]);
  checkKnown(parameters);
  const trailing = headerLength === undefined ? undefined : body.subarray(jsonLength);
  const options = {
    replace: readFlag(parameters, "load_inplace"),
    pin: readFlag(parameters, "pin"),
    ...readDigest(parameters["sha256"]),
  };
  return { files: await readFiles(parameters, trailing, source), ...options };
}

function readFlag(parameters: Parameters, name: string): boolean {
  const value = parameters[name] ?? false;
  if (typeof value === "boolean") return value;
  throw uploadError(name, "true or false", `${value}`.slice(0, 40));
}

function readDigest(value: ParameterValue | undefined): { readonly sha256?: string } {
  if (value === undefined) return {};
  if (typeof value === "string" && /^[0-9a-f]{64}$/i.test(value)) return { sha256: value };
  throw uploadError("sha256", "64 hex digits", `${value}`.slice(0, 80));
}

async function readFiles(
  parameters: Parameters,
  trailing: Buffer | undefined,
  source: AdapterSource,
): Promise<AdapterFiles> {
  const { path, config } = parameters;
  const encoded = parameters[FILE_PARAMETER];
  const sources = [path, encoded, trailing].filter((given) => given !== undefined).length;
  if (sources !== 1) {
    throw uploadError("body", `one of path, ${FILE_PARAMETER} or bytes after the JSON`, `${sources} of them`);
  }
  if (path !== undefined) {
    if (typeof path !== "string") throw uploadError("path", "a string", typeof path);
    return readAdapterPath(path, source);
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
  if (unknown.startsWith("file:")) refuseUnsafeFile(unknown.slice("file:".length));
  throw uploadError(unknown.slice(0, 80), KNOWN.join(", "), "an unknown name");
}

function uploadError(field: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: `adapter load, parameters.${field}`,
    expected,
    received,
  });
}
