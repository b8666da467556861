/** Puts adapters into a model's bank: checked whole first, then visible at once. Not how they arrive. */
import { existsSync, realpathSync } from "node:fs";
import { isAbsolute, join, sep } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import { type FloatTensor, firstNonFinite } from "../../src/base/tensor.ts";
import { adapterParameters, checkAdapter } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, parseAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import type { AdapterBank, AdapterEntry } from "./adapter-bank.ts";
import type { PolicyModel } from "./policy-model.ts";

/** An adapter's two files as they arrived: nothing of them is trusted. */
export interface AdapterFiles {
  /** Text of `adapter_config.json`. */
  readonly config: string;
  /** Bytes of `adapter_model.safetensors`. */
  readonly tensors: Uint8Array;
}

/** An adapter that fits, ready to be put into a slot. */
export interface CheckedAdapter {
  readonly slot: number;
  readonly parameters: ReadonlyMap<string, FloatTensor>;
  readonly sha256: string;
}

/**
 * The bank of a factored model.
 * @throws LORASA_ADAPTER for a model whose adapters are merged into its graphs.
 */
export function bankOf(model: PolicyModel): AdapterBank {
  if (model.bank) return model.bank;
  throw new LorasaError("LORASA_ADAPTER", {
    asked: `adapters of ${model.manifest.name}`,
    expected: "a factored model",
    received: `a ${model.manifest.mode} one`,
    mend: "export it with --mode factored",
  });
}

/**
 * Checks an adapter completely; the model is untouched.
 * @throws LORASA_UNKNOWN_AGENT, LORASA_ADAPTER, LORASA_FILE, LORASA_DTYPE or LORASA_NOT_FINITE.
 */
export function checkAdapterFiles(model: PolicyModel, agent: string, files: AdapterFiles): CheckedAdapter {
  const bank = bankOf(model);
  const slot = model.agentIndex(agent);
  const parsed = parseAdapter(parseConfig(agent, files.config), files.tensors, `adapter ${agent}`);
  const checked = checkAdapter(parsed, bank.layers, model.manifest.backboneSha256);
  const parameters = adapterParameters(checked);
  for (const [name, { data }] of parameters) checkFinite(`adapter ${agent}, ${name}`, data);
  return { slot, parameters, sha256: sha256(files.tensors) };
}

/** Makes a checked adapter the one that requests begin with from now on. */
export function installAdapter(model: PolicyModel, adapter: CheckedAdapter): AdapterEntry {
  return bankOf(model).replace(adapter.slot, adapter.parameters, adapter.sha256);
}

/** Loads `adapters/<agent>/` of a model's folder for each agent that has one; the others wait for a push. */
export function loadShippedAdapters(model: PolicyModel, folder: string): void {
  for (const { name } of model.manifest.agents) {
    const directory = join(folder, "adapters", name);
    if (!existsSync(directory)) continue;
    installAdapter(model, checkAdapterFiles(model, name, readFiles(directory)));
  }
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

function readFiles(directory: string): AdapterFiles {
  return {
    config: readFile(join(directory, CONFIG_FILE), "adapter configuration").toString("utf8"),
    tensors: readFile(join(directory, TENSORS_FILE), "adapter tensors"),
  };
}

function parseConfig(agent: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `adapter ${agent}, ${CONFIG_FILE}`,
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
