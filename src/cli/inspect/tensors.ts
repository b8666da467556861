/** What a safetensors file holds. */
import { LorasaError } from "../../base/errors.ts";
import { readFile } from "../../base/files.ts";
import type { HostTensor } from "../../base/tensor.ts";
import { checkFinite, decodeSafetensors } from "../../checkpoint/safetensors.ts";
import {
  describeTensors,
  exactBytes,
  exactCount,
  factLines,
  type Inspection,
  paragraphs,
  tensorTable,
} from "./inspection.ts";

/** @throws LORASA_FILE or LORASA_DTYPE. */
export function inspectSafetensors(path: string): Inspection {
  const bytes = readFile(path, "tensors");
  const { tensors: decoded, metadata } = decodeSafetensors(bytes, path);
  const tensors = describeTensors(decoded);
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  const finite = areFinite(decoded, path);
  const text = paragraphs(
    factLines({
      "a tensor file": "safetensors",
      size: exactBytes(bytes.length),
      tensors: `${tensors.length}, ${exactCount(elements)} elements${finite ? ", all finite" : ", NaN or infinity among them"}`,
    }),
    Object.keys(metadata).length === 0 ? "" : factLines(metadata),
    tensorTable(tensors),
  );
  return { json: { kind: "safetensors", bytes: bytes.length, elements, finite, metadata, tensors }, text };
}

function areFinite(tensors: ReadonlyMap<string, HostTensor>, path: string): boolean {
  try {
    checkFinite(tensors, path);
    return true;
  } catch (error) {
    if (error instanceof LorasaError && error.code === "LORASA_NOT_FINITE") return false;
    throw error;
  }
}
