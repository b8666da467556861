/** Requests as Triton's clients sent them, recorded byte for byte, and what each asks for. Not how they were recorded. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const WIRE_FOLDER = join(import.meta.dirname, "../fixtures/wire");

/** What a request asks for, so that the answer can be worked out without the server. */
export type Asked =
  /** A reply of 200 (gRPC: OK) that holds these fields, if any. */
  | { readonly kind: "fields"; readonly fields?: Readonly<Record<string, unknown>> }
  | AskedAction
  /** One step of a sequence of `recurrent`; its observations are seeded by the step. */
  | { readonly kind: "step"; readonly step: number };

export interface AskedAction {
  readonly kind: "action";
  readonly model: string;
  /** Of the observations, which `observations(shape, seed)` gives again. */
  readonly shape: readonly number[];
  readonly seed: number;
  /** Agent of each row, for tagged rows. */
  readonly tags?: readonly number[];
  /** Outputs in the reply's order, each as bytes or as JSON; over gRPC always as bytes. */
  readonly outputs: readonly { readonly name: string; readonly binary: boolean }[];
  readonly id?: string;
  /** Content-Encoding that the reply may have. */
  readonly coding?: "gzip" | "deflate";
}

export interface WireFixture {
  /** File of the bytes: a whole HTTP/1.1 request, or the body of a gRPC call. */
  readonly file: string;
  readonly client: string;
  /** Of a gRPC call: its pseudo-headers and metadata. */
  readonly headers?: Readonly<Record<string, string>>;
  /** One, or one a message of a stream; null for a message that must be answered with an error. */
  readonly asked: readonly (Asked | null)[];
}

export interface WireIndex {
  readonly provenance: Readonly<Record<string, string>>;
  readonly fixtures: readonly WireFixture[];
}

export function readWireIndex(): WireIndex {
  // Written by the script beside it, of these same types.
  return JSON.parse(readFileSync(join(WIRE_FOLDER, "index.json"), "utf8")) as WireIndex;
}

export function wireBytes({ file }: WireFixture): Buffer {
  return readFileSync(join(WIRE_FOLDER, file));
}

/** Splits what a client wrote on an HTTP/1.1 connection into requests. */
export function splitRequests(stream: Buffer): Buffer[] {
  const requests: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const head = stream.indexOf("\r\n\r\n", at) + 4;
    const length = /\r\ncontent-length: *(\d+)/i.exec(stream.toString("latin1", at, head))?.[1];
    const end = head + Number(length ?? 0);
    requests.push(stream.subarray(at, end));
    at = end;
  }
  return requests;
}
