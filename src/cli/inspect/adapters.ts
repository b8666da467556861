/** What an adapter holds: PEFT's folder and ONNX Runtime's file. */
import { readFile } from "../../base/files.ts";
import { decodeOnnxAdapter } from "../../checkpoint/onnx-adapter.ts";
import { readAdapter } from "../../checkpoint/peft.ts";
import {
  adapterParameterCount,
  describeTensors,
  exactBytes,
  exactCount,
  factLines,
  type Inspection,
  layerTable,
  paragraphs,
  tensorTable,
} from "./inspection.ts";

/** @throws LORASA_ADAPTER or LORASA_FILE. */
export function inspectPeftAdapter(directory: string): Inspection {
  const { layers: loaded, backboneSha256 } = readAdapter(directory);
  const layers = loaded.map(({ name, in: inSize, out, rank, scale }) => ({
    name,
    in: inSize,
    out,
    rank,
    scale,
  }));
  const parameters = adapterParameterCount(layers);
  const text = paragraphs(
    factLines({
      "a LoRA adapter": "PEFT's format",
      parameters: `${exactCount(parameters)} in ${layers.length} layers`,
      backbone: backboneSha256 === "" ? "not said" : `sha256 ${backboneSha256}`,
    }),
    layerTable(layers),
  );
  return { json: { kind: "peft-adapter", parameters, backboneSha256, layers }, text };
}

/** @throws LORASA_FILE. */
export function inspectOnnxAdapter(path: string): Inspection {
  const bytes = readFile(path, "adapter");
  const { parameters, adapterVersion, modelVersion } = decodeOnnxAdapter(bytes, path);
  const tensors = describeTensors(parameters);
  const text = paragraphs(
    factLines({
      "an adapter": "ONNX Runtime's format",
      versions: `adapter ${adapterVersion}, for model ${modelVersion}`,
      size: exactBytes(bytes.length),
    }),
    tensorTable(tensors),
  );
  return {
    json: { kind: "onnx-adapter", bytes: bytes.length, adapterVersion, modelVersion, tensors },
    text,
  };
}
