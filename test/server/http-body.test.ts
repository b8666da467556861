/** How a request's body is read: in pieces of any size, never more than the limit, never on a header's word alone. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { readBody } from "../../server/http/body.ts";
import { CHUNK_LIMIT } from "../../server/limits.ts";
import { LorasaError } from "../../src/base/errors.ts";

const LIMIT = 2 ** 20;

interface Read {
  readonly body: Buffer | undefined;
  readonly error: LorasaError | undefined;
}

/** Reads the body of the one request that comes over the socket that `write` fills. */
async function readOver(
  context: TestContext,
  write: (socket: Socket) => void,
  look: (request: IncomingMessage) => void = () => undefined,
): Promise<Read> {
  const server = createServer();
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const read = new Promise<Read>((resolve, reject) => {
    server.once("request", (request, response) => {
      look(request);
      readBody(request, LIMIT)
        .then(
          (body) => resolve({ body, error: undefined }),
          (error: unknown) =>
            error instanceof LorasaError ? resolve({ body: undefined, error }) : reject(error),
        )
        .finally(() => response.end());
    });
  });
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => undefined);
  write(socket);
  return read;
}

const head = (headers: string): string => `POST / HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`;
const chunk = (bytes: Buffer | string): string => `${Buffer.byteLength(bytes).toString(16)}\r\n${bytes}\r\n`;

/** Bytes that tell where they are. */
function numbered(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 255));
}

for (const length of [0, 1, 1000, 65_536, 65_537, 300_000, LIMIT]) {
  test(`${length} bytes of a known length, at once and in pieces`, async (context) => {
    const whole = numbered(length);
    const known = head(`Content-Length: ${length}`);
    const atOnce = await readOver(context, (socket) =>
      socket.write(Buffer.concat([Buffer.from(known), whole])),
    );
    assert.deepEqual(atOnce.body, whole);
    const pieces = await readOver(context, (socket) => {
      socket.setNoDelay(true);
      socket.write(known);
      const step = Math.max(1, Math.ceil(length / 7));
      const send = (at: number): void => {
        if (at < length) socket.write(whole.subarray(at, at + step), () => setImmediate(send, at + step));
      };
      send(0);
    });
    assert.deepEqual(pieces.body, whole);
  });
}

test("chunks of an unknown length, and an empty one", async (context) => {
  const text = "ab".repeat(5000);
  const chunked = head("Transfer-Encoding: chunked");
  const read = await readOver(context, (socket) => {
    socket.write(chunked);
    for (let at = 0; at < text.length; at += 999) socket.write(chunk(text.slice(at, at + 999)));
    socket.write("0\r\n\r\n");
  });
  assert.equal(read.body?.toString(), text);
  const empty = await readOver(context, (socket) => socket.write(`${chunked}0\r\n\r\n`));
  assert.equal(empty.body?.length, 0);
});

test("a length beyond the limit is refused before a byte is read", async (context) => {
  const { error } = await readOver(context, (socket) => socket.write(head(`Content-Length: ${LIMIT + 1}`)));
  assert.equal(error?.code, "LORASA_TOO_LARGE");
  assert.match(error.message, /at most 1048576 bytes, received 1048577 bytes/);
});

test("a length that nothing follows takes no memory", async (context) => {
  const before = process.memoryUsage().arrayBuffers;
  let during = 0;
  const { error } = await readOver(context, (socket) => {
    socket.write(head(`Content-Length: ${LIMIT}`));
    socket.write("x");
    setTimeout(() => {
      during = process.memoryUsage().arrayBuffers;
      socket.destroy();
    }, 50);
  });
  assert.equal(error?.code, "LORASA_REQUEST");
  assert.ok(during - before < LIMIT / 2, `${during - before} bytes`);
});

test("a stream beyond the limit is refused while it comes", async (context) => {
  let sent = 0;
  const { error } = await readOver(context, (socket) => {
    socket.write(head("Transfer-Encoding: chunked"));
    const piece = chunk("x".repeat(60_000));
    const send = (): void => {
      if (socket.destroyed || sent > 20 * LIMIT) return;
      sent += 60_000;
      socket.write(piece, send);
    };
    send();
  });
  assert.equal(error?.code, "LORASA_TOO_LARGE");
  assert.ok(sent < 20 * LIMIT, "it was read to its end");
});

test("more chunks than allowed are refused, however small", async (context) => {
  const tiny = chunk("x").repeat(1024);
  const { error } = await readOver(context, (socket) => {
    socket.write(head("Transfer-Encoding: chunked"));
    for (let sent = 0; sent <= CHUNK_LIMIT; sent += 1024) socket.write(tiny);
    socket.write("0\r\n\r\n");
  });
  assert.equal(error?.code, "LORASA_TOO_LARGE");
  assert.match(error.message, /at most 65536 chunks/);
});

for (const [what, sent] of [
  ["of a known length", `${head("Content-Length: 100")}only this`],
  ["of chunks", `${head("Transfer-Encoding: chunked")}5\r\nonly `],
  ["that never began", head("Content-Length: 100")],
] as const) {
  for (const end of ["end", "destroy", "resetAndDestroy"] as const) {
    test(`a body ${what} that the client leaves by ${end} is cut off`, async (context) => {
      const { error } = await readOver(context, (socket) => {
        socket.write(sent, () => setTimeout(() => socket[end](), 20));
      });
      assert.equal(error?.code, "LORASA_REQUEST");
      assert.match(error.message, /closed before its end/);
    });
  }
}
