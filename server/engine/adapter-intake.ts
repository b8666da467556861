/** Checks an adapter's two files against a backbone, whole, before anything changes. Not how they arrive. */
import { realpathSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import { adapterParameters, checkAdapter } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, parseAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import type { AdapterLayer } from "../../src/checkpoint/repository.ts";
import { type AdapterLayout, adapterValues } from "./resident-adapter.ts";

/** An adapter's two files as they arrived: nothing of them is trusted. */
export interface AdapterFiles {
  /** Text of `adapter_config.json`. */
  readonly config: string;
  /** Bytes of `adapter_model.safetensors`. */
  readonly tensors: Uint8Array;
}

/** What adapters of a model must fit. */
export interface AdapterFit {
  readonly layers: readonly AdapterLayer[];
  readonly layout: AdapterLayout;
  readonly backboneSha256: string;
}

/** An adapter that fits. */
export interface CheckedAdapter {
  readonly values: Float32Array;
  readonly sha256: string;
}

/** @throws LORASA_ADAPTER, LORASA_FILE, LORASA_DTYPE or LORASA_NOT_FINITE. */
export function checkAdapterFiles(name: string, files: AdapterFiles, fit: AdapterFit): CheckedAdapter {
  const parsed = parseAdapter(parseConfig(name, files.config), files.tensors, `adapter ${name}`);
  const parameters = adapterParameters(checkAdapter(parsed, fit.layers, fit.backboneSha256));
  for (const [input, { data }] of parameters) checkFinite(`adapter ${name}, ${input}`, data);
  return { values: adapterValues(fit.layout, parameters), sha256: sha256(files.tensors) };
}

/**
 * Files of an adapter in a folder under `root`, links followed before it is judged.
 * @param path relative, with `/`.
 * @throws LORASA_FORBIDDEN for a path that leads outside, LORASA_FILE when it cannot be read; neither tells where
 *   `root` is.
 */
export function readContained(root: string, path: string): AdapterFiles {
  try {
    const inside = realpathSync(root) + sep;
    const files = [CONFIG_FILE, TENSORS_FILE].map((file) => realpathSync(join(root, path, file)));
    if (isAbsolute(path) || files.some((file) => !file.startsWith(inside))) throw outside(path);
    return { config: readFile(files[0]!, "").toString("utf8"), tensors: readFile(files[1]!, "") };
  } catch (error) {
    if (error instanceof LorasaError && error.code === "LORASA_FORBIDDEN") throw error;
    throw new LorasaError("LORASA_FILE", {
      asked: `adapter path ${JSON.stringify(path.slice(0, 200))}`,
      expected: `a folder with ${CONFIG_FILE} and ${TENSORS_FILE} under the model's adapters`,
      received: "none that can be read",
    });
  }
}

function parseConfig(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `adapter ${name}, ${CONFIG_FILE}`,
      expected: "JSON",
      received: "text that is not JSON",
    });
  }
}

/** After the scale is folded in: a product of finite numbers can overflow float32. */
function checkFinite(asked: string, data: Float32Array): void {
  const at = firstNonFinite(data);
  if (at < 0) return;
  throw new LorasaError("LORASA_NOT_FINITE", {
    asked: `${asked}, element ${at}`,
    expected: "a finite number in float32",
    received: `${data[at]}`,
  });
}

function outside(path: string): LorasaError {
  return new LorasaError("LORASA_FORBIDDEN", {
    asked: `adapter path ${JSON.stringify(path.slice(0, 200))}`,
    expected: "a folder under the model's adapters",
    received: "one outside",
  });
}
