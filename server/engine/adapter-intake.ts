/** Checks an adapter's two files against a backbone, whole, before anything changes. Not how they arrive. */
import { LorasaError } from "../../src/base/errors.ts";
import { sha256 } from "../../src/base/files.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import { adapterParameters, checkAdapter } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, parseAdapter } from "../../src/checkpoint/peft.ts";
import type { AdapterLayer, Precision } from "../../src/checkpoint/repository.ts";
import type { SlotValues } from "../../src/runtime/slots.ts";
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
  /** Of the model: its graphs take adapters in the type that belongs to it. */
  readonly precision: Precision;
}

/** An adapter that fits. */
export interface CheckedAdapter {
  readonly values: SlotValues;
  readonly sha256: string;
}

/** @throws LORASA_ADAPTER, LORASA_FILE, LORASA_DTYPE, LORASA_NOT_FINITE, or LORASA_RANGE for what float16 cannot hold. */
export function checkAdapterFiles(name: string, files: AdapterFiles, fit: AdapterFit): CheckedAdapter {
  const parsed = parseAdapter(parseConfig(name, files.config), files.tensors, `adapter ${name}`);
  const parameters = adapterParameters(checkAdapter(parsed, fit.layers, fit.backboneSha256));
  for (const [input, { data }] of parameters) checkFinite(`adapter ${name}, ${input}`, data);
  const values = adapterValues(fit.layout, parameters, fit.precision, `adapter ${name}`);
  return { values, sha256: sha256(files.tensors) };
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
