/**
 * A checkpoint's directory: what is in it, written whole and read back verified. Not what its manifest says of the
 * network and the training.
 *
 * `lorasa.json` holds the manifest and the size and SHA-256 of every other file: `<name>.safetensors` and
 * `adapters/<agent>/`. The SHA-256 of `backbone.safetensors` is the backbone's identity, which its adapters carry.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { recoverDirectory, replaceDirectory } from "../base/directories.ts";
import { LorasaError } from "../base/errors.ts";
import { parseJson, readFile, readJson, sha256 } from "../base/files.ts";
import type { HostTensor } from "../base/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { type AdapterFileOptions, CONFIG_FILE, encodeAdapter, parseAdapter, TENSORS_FILE } from "./peft.ts";
import { NAME_PATTERN } from "./repository.ts";
import { checkFinite, decodeSafetensors, encodeSafetensors } from "./safetensors.ts";

export const MANIFEST_FILE = "lorasa.json";
export const BACKBONE_FILE = "backbone.safetensors";
const FORMAT = "lorasa-checkpoint";
const FORMAT_VERSION = 1;
const TENSORS_NAME = /^[a-z][a-z0-9_-]*\.safetensors$/;

export interface CheckpointContents<Manifest> {
  /** JSON of the caller; `format`, `formatVersion` and `files` are added to it in the file. */
  readonly manifest: Manifest;
  /** Tensors by file: `backbone.safetensors` always, others as the caller has them. */
  readonly tensors: Readonly<Record<string, ReadonlyMap<string, HostTensor>>>;
  /** By agent; empty before the adapters are trained. */
  readonly adapters: Readonly<Record<string, Adapter>>;
}

/** What every `lorasa.json` has, whatever it is a checkpoint of. */
const envelope = z.looseObject({
  files: z.record(
    z.string(),
    z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  ),
});
type FileTable = z.infer<typeof envelope>["files"];

/** Identity of a backbone: SHA-256 of the file that its tensors are written as. */
export function backboneIdentity(tensors: ReadonlyMap<string, HostTensor>): string {
  return sha256(encodeSafetensors(tensors));
}

/**
 * Writes a checkpoint whole, replacing the one that is there; the old one stays when this fails.
 * @throws LORASA_NAME for a name that cannot be a file's; LORASA_ADAPTER for an adapter of another backbone;
 *   LORASA_NOT_FINITE for a tensor that diverged; LORASA_EXISTS when the folder holds something else; LORASA_DISK.
 */
export function writeCheckpoint(
  directory: string,
  { manifest, tensors, adapters }: CheckpointContents<Readonly<Record<string, unknown>>>,
  options: AdapterFileOptions = {},
): void {
  const contents = new Map<string, Uint8Array>();
  for (const [name, map] of Object.entries(tensors)) {
    if (!TENSORS_NAME.test(name)) throw badName(name, "<name>.safetensors");
    checkFinite(map, `checkpoint ${directory}, ${name}`);
    contents.set(name, encodeSafetensors(map));
  }
  for (const [agent, adapter] of Object.entries(adapters)) {
    if (!NAME_PATTERN.test(agent)) throw badName(agent, "an agent's name");
    for (const [name, bytes] of Object.entries(encodeAdapter(adapter, options))) {
      contents.set(`adapters/${agent}/${name}`, bytes);
    }
  }
  const files = describe(contents);
  checkBackbone(files, adapters, directory);
  const text = `${JSON.stringify({ format: FORMAT, formatVersion: FORMAT_VERSION, ...checkManifest(manifest), files }, null, 2)}\n`;
  contents.set(MANIFEST_FILE, Buffer.from(text));
  replaceDirectory(directory, (temporary) => writeFiles(temporary, contents), { marker: MANIFEST_FILE });
}

function describe(contents: ReadonlyMap<string, Uint8Array>): FileTable {
  const paths = [...contents.keys()].sort();
  return Object.fromEntries(
    paths.map((path) => {
      const bytes = contents.get(path) ?? new Uint8Array();
      return [path, { bytes: bytes.length, sha256: sha256(bytes) }];
    }),
  );
}

function checkManifest(manifest: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const taken = ["format", "formatVersion", "files"].find((key) => key in manifest);
  if (taken !== undefined) throw badName(taken, "a manifest without format, formatVersion and files");
  return manifest;
}

function writeFiles(folder: string, contents: ReadonlyMap<string, Uint8Array>): void {
  for (const [path, bytes] of contents) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), bytes);
  }
}

/**
 * Reads a checkpoint and verifies every file against its checksum before any is decoded.
 * @param schema of the manifest without `format`, `formatVersion` and `files`.
 * @throws LORASA_FILE for a directory that is no checkpoint, another format version, a file that is missing or too
 *   many, or a wrong field; LORASA_CHECKSUM naming the file; LORASA_ADAPTER; LORASA_NOT_FINITE.
 */
export function readCheckpoint<Manifest>(
  directory: string,
  schema: z.ZodType<Manifest>,
): CheckpointContents<Manifest> {
  recoverDirectory(directory);
  const { files, rest } = readManifest(directory);
  const parsed = schema.safeParse(rest);
  if (!parsed.success) throw badField(directory, parsed.error);
  const contents = readFiles(directory, files);
  const tensors = Object.fromEntries(
    [...contents]
      .filter(([path]) => TENSORS_NAME.test(path))
      .map(([path, bytes]) => [path, decodeSafetensors(bytes, path, { finite: true }).tensors]),
  );
  const adapters = Object.fromEntries(agentsOf(files).map((agent) => [agent, readAgent(agent, contents)]));
  checkBackbone(files, adapters, directory);
  return { manifest: parsed.data, tensors, adapters };
}

function readManifest(directory: string): { files: FileTable; rest: Record<string, unknown> } {
  const path = join(directory, MANIFEST_FILE);
  if (!existsSync(path)) throw broken(`checkpoint ${directory}`, `a folder with ${MANIFEST_FILE}`, "none");
  const json = readJson(path, "checkpoint");
  const parsed = z.looseObject({ format: z.literal(FORMAT), formatVersion: z.int() }).safeParse(json);
  if (!parsed.success) throw badField(directory, parsed.error);
  const { format, formatVersion, ...body } = parsed.data;
  if (formatVersion !== FORMAT_VERSION) {
    throw broken(`checkpoint ${directory}, formatVersion`, `${FORMAT_VERSION}`, `${formatVersion}`, {
      mend: `read this ${format} with the version of lorasa that wrote it`,
    });
  }
  const table = envelope.safeParse(body);
  if (!table.success) throw badField(directory, table.error);
  const { files, ...rest } = table.data;
  return { files, rest };
}

/** Bytes of every file of the table; the directory must hold these and no other. */
function readFiles(directory: string, files: FileTable): Map<string, Buffer> {
  for (const path of Object.keys(files)) {
    if (!isKnownPath(path)) throw broken(`checkpoint ${directory}`, "files that a checkpoint has", path);
  }
  const present = listFiles(directory);
  const missing = Object.keys(files).find((path) => !present.has(path));
  if (missing !== undefined) throw broken(`checkpoint ${directory}, ${missing}`, "the file", "none");
  for (const path of present) {
    if (path !== MANIFEST_FILE && !Object.hasOwn(files, path)) {
      throw broken(`checkpoint ${directory}`, `the files named in ${MANIFEST_FILE} and no other`, path);
    }
  }
  return new Map(Object.entries(files).map(([path, entry]) => [path, readVerified(directory, path, entry)]));
}

function readVerified(directory: string, path: string, entry: { bytes: number; sha256: string }): Buffer {
  const bytes = readFile(join(directory, path), "checkpoint file");
  const sum = sha256(bytes);
  if (bytes.length === entry.bytes && sum === entry.sha256) return bytes;
  throw new LorasaError("LORASA_CHECKSUM", {
    asked: `checkpoint ${directory}, ${path}`,
    expected: `${entry.bytes} bytes of sha256 ${entry.sha256.slice(0, 16)}…`,
    received: `${bytes.length} bytes of ${sum.slice(0, 16)}…`,
    mend: "the file changed after it was written: copy the checkpoint again",
  });
}

function isKnownPath(path: string): boolean {
  if (TENSORS_NAME.test(path)) return true;
  const [folder, agent = "", name = "", ...more] = path.split("/");
  const known = name === CONFIG_FILE || name === TENSORS_FILE;
  return folder === "adapters" && NAME_PATTERN.test(agent) && known && more.length === 0;
}

/** Paths with `/`, relative to the directory. A link could lead outside, so it is refused. */
function listFiles(directory: string, folder = ""): Set<string> {
  const paths = new Set<string>();
  for (const entry of readdirSync(join(directory, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) for (const inner of listFiles(directory, path)) paths.add(inner);
    else if (entry.isFile()) paths.add(path);
    else throw broken(`checkpoint ${directory}, ${path}`, "a file", "a link or device");
  }
  return paths;
}

function agentsOf(files: FileTable): string[] {
  const agents = Object.keys(files).map((path) => /^adapters\/([^/]+)\//.exec(path)?.[1]);
  return [...new Set(agents.filter((agent) => agent !== undefined))];
}

function readAgent(agent: string, contents: ReadonlyMap<string, Buffer>): Adapter {
  const config = contents.get(`adapters/${agent}/${CONFIG_FILE}`);
  const tensors = contents.get(`adapters/${agent}/${TENSORS_FILE}`);
  if (!config || !tensors)
    throw broken(`adapters/${agent}`, `${CONFIG_FILE} and ${TENSORS_FILE}`, "one of them");
  return parseAdapter(parseJson(config, `adapters/${agent}/${CONFIG_FILE}`), tensors, `adapter ${agent}`);
}

function checkBackbone(
  files: FileTable,
  adapters: Readonly<Record<string, Adapter>>,
  directory: string,
): void {
  const identity = files[BACKBONE_FILE]?.sha256;
  if (identity === undefined) throw broken(`checkpoint ${directory}`, BACKBONE_FILE, "none");
  for (const [agent, { backboneSha256 }] of Object.entries(adapters)) {
    if (backboneSha256 === identity) continue;
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `checkpoint ${directory}, adapter ${agent}`,
      expected: `backbone ${identity}`,
      received: backboneSha256 || "none",
    });
  }
}

function badField(directory: string, error: z.ZodError): LorasaError {
  const issue = error.issues[0];
  return broken(
    `checkpoint ${directory}, ${[MANIFEST_FILE, ...(issue?.path ?? [])].join(".")}`,
    "a valid value",
    issue?.message ?? "a wrong one",
  );
}

function badName(name: string, expected: string): LorasaError {
  return new LorasaError("LORASA_NAME", {
    asked: "writing a checkpoint",
    expected,
    received: JSON.stringify(name),
  });
}

function broken(
  asked: string,
  expected: string,
  received: string,
  more: { mend?: string } = {},
): LorasaError {
  return new LorasaError("LORASA_FILE", { asked, expected, received, ...more });
}
