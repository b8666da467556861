/** Sends recorded bytes to a server, over HTTP/1.1 and as gRPC calls, and takes the answers apart. Judges nothing. */
import assert from "node:assert/strict";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { gunzipSync, inflateSync } from "node:zlib";
import protobuf from "protobufjs";

export interface HttpReply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** A body as it was before its Content-Encoding. */
export function decodedBody(body: Buffer, coding: string | undefined): Buffer {
  if (coding === "gzip") return gunzipSync(body);
  return coding === "deflate" ? inflateSync(body) : body;
}

/** Writes pieces one after the other on one connection and reads that many replies. */
export function exchange(url: string, pieces: readonly Buffer[], replies = 1): Promise<readonly HttpReply[]> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let raw = Buffer.alloc(0);
    const socket = connect(Number(port), hostname, () => {
      socket.setNoDelay(true);
      for (const piece of pieces) socket.write(piece);
    });
    socket.on("data", (chunk: Buffer) => {
      raw = Buffer.concat([raw, chunk]);
      const whole = splitReplies(raw);
      if (whole.length < replies) return;
      socket.destroy();
      resolve(whole.map(parseReply));
    });
    socket.on("error", reject);
    socket.on("end", () => reject(new Error(`ended after ${raw.toString("latin1", 0, 300)}`)));
  });
}

/** The replies that are there whole, by their Content-Length. */
function splitReplies(raw: Buffer): Buffer[] {
  const replies: Buffer[] = [];
  for (let at = 0; at < raw.length; ) {
    const head = raw.indexOf("\r\n\r\n", at);
    if (head < 0) break;
    const length = /\r\ncontent-length: (\d+)/i.exec(raw.toString("latin1", at, head))?.[1];
    assert.ok(length, `a reply without Content-Length: ${raw.toString("latin1", at, head)}`);
    const end = head + 4 + Number(length);
    if (end > raw.length) break;
    replies.push(raw.subarray(at, end));
    at = end;
  }
  return replies;
}

function parseReply(raw: Buffer): HttpReply {
  const head = raw.indexOf("\r\n\r\n");
  const [line, ...fields] = raw.toString("latin1", 0, head).split("\r\n");
  const headers = new Map(
    fields.map((field): [string, string] => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(line!.split(" ")[1]), headers, body: raw.subarray(head + 4) };
}

/** The messages that are decoded here, by their field numbers in the protocol. */
const MESSAGES = protobuf.Root.fromJSON({
  nested: {
    InferParameter: { fields: { string_param: { type: "string", id: 3 } } },
    Output: {
      fields: {
        name: { type: "string", id: 1 },
        datatype: { type: "string", id: 2 },
        shape: { rule: "repeated", type: "int64", id: 3 },
      },
    },
    ModelInferResponse: {
      fields: {
        model_name: { type: "string", id: 1 },
        model_version: { type: "string", id: 2 },
        id: { type: "string", id: 3 },
        outputs: { rule: "repeated", type: "Output", id: 5 },
        raw_output_contents: { rule: "repeated", type: "bytes", id: 6 },
      },
    },
    ModelStreamInferResponse: {
      fields: {
        error_message: { type: "string", id: 1 },
        infer_response: { type: "ModelInferResponse", id: 2 },
      },
    },
  },
});

export interface GrpcInfer {
  readonly model_name: string;
  readonly id: string;
  readonly outputs: readonly {
    readonly name: string;
    readonly datatype: string;
    readonly shape: readonly number[];
  }[];
  readonly raw_output_contents: readonly Buffer[];
}

export interface GrpcStreamInfer {
  readonly error_message: string;
  readonly infer_response: GrpcInfer | null;
}

export function inferResponse(bytes: Buffer): GrpcInfer {
  // Of the fields in the table above.
  return decodeMessage("ModelInferResponse", bytes) as GrpcInfer;
}

export function streamResponse(bytes: Buffer): GrpcStreamInfer {
  return decodeMessage("ModelStreamInferResponse", bytes) as GrpcStreamInfer;
}

function decodeMessage(name: string, bytes: Buffer): unknown {
  const type = MESSAGES.lookupType(name);
  return type.toObject(type.decode(bytes), { longs: Number, defaults: true, arrays: true });
}

export interface GrpcAnswer {
  readonly headers: http2.IncomingHttpHeaders;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly messages: readonly Buffer[];
}

/** One gRPC call of recorded headers and body. */
export function callGrpc(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): Promise<GrpcAnswer> {
  const session = http2.connect(url.replace(/^\w+:/, "http:"));
  return new Promise<GrpcAnswer>((resolve, reject) => {
    session.on("error", reject);
    const request = session.request(headers);
    const chunks: Buffer[] = [];
    let answered: http2.IncomingHttpHeaders = {};
    let trailers: http2.IncomingHttpHeaders = {};
    request.on("response", (given) => {
      answered = given;
      // An error without a message comes as one block of headers.
      if (given["grpc-status"] !== undefined) trailers = given;
    });
    request.on("trailers", (given) => {
      trailers = given;
    });
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", reject);
    request.on("end", () =>
      resolve({ headers: answered, trailers, messages: unframe(Buffer.concat(chunks)) }),
    );
    request.end(body);
  }).finally(() => session.close());
}

/** Messages out of their frames: a flag, a length of four bytes, the message. */
export function unframe(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    assert.ok(end <= bytes.length, "a message that is cut off");
    const message = bytes.subarray(at + 5, end);
    messages.push(bytes[at] === 1 ? gunzipSync(message) : message);
    at = end;
  }
  return messages;
}
