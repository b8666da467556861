/** Bytes that may be requests, parts of them, several or none. Not how they are sent. */
import fc from "fast-check";
import { bytes } from "./hostile-headers.ts";

const FRAGMENTS: readonly string[] = [
  "GET /v2/health/live HTTP/1.1\r\n",
  "POST /v2/models/team/infer HTTP/1.1\r\n",
  "GET / HTTP/1.0\r\n",
  "GET http://x/v2 HTTP/1.1\r\n",
  "CONNECT x:443 HTTP/1.1\r\n",
  "OPTIONS * HTTP/1.1\r\n",
  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  "GET /v2 HTTP/9.9\r\n",
  "Host: x\r\n",
  "Host: x\r\nHost: y\r\n",
  "Content-Length: 2\r\n",
  "Content-Length: 2\r\nContent-Length: 3\r\n",
  "Content-Length: +2\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
  "Transfer-Encoding:\tchunked\r\n",
  "Connection: close\r\n",
  "Expect: 100-continue\r\n",
  "X: a\r\n b\r\n",
  "X: a\n",
  "\r\n",
  "\n",
  "\r\n\r\n",
  "{}",
  "2\r\n{}\r\n0\r\n\r\n",
  "2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
  "ffffffffffffffff\r\n",
  "-1\r\n",
  "zz\r\n",
  "0\r\n\r\n",
  "\u0000",
  "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003",
];

export const rawBytes: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...FRAGMENTS).map((text) => Buffer.from(text, "latin1")) },
      { weight: 1, arbitrary: bytes(30) },
    ),
    { maxLength: 14 },
  )
  .map((pieces) => Buffer.concat(pieces));
