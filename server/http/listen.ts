/** Opens the HTTP server on an address, encrypted or not. Not what it answers. */
import { createServer, type Server as HttpServer } from "node:http";
import { createServer as createTlsServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Server as TlsServer } from "node:tls";
import { LorasaError } from "../../src/base/errors.ts";
import { serverSettings } from "./connections.ts";

/** A server of either kind. */
export type Listener = HttpServer | HttpsServer;

/** A certificate chain and its private key, in PEM. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * A server that does not listen yet: HTTPS of TLS 1.2 or later with `tls`.
 * @throws LORASA_FILE for a certificate and key that are no pair.
 */
export function createListener(
  requestTimeoutMs: number,
  tls: TlsFiles | undefined,
): HttpServer | HttpsServer {
  const settings = serverSettings(requestTimeoutMs);
  if (tls === undefined) return createServer(settings);
  try {
    return createTlsServer({ ...settings, ...tls, minVersion: "TLSv1.2" });
  } catch (cause) {
    throw new LorasaError("LORASA_FILE", {
      asked: "TLS certificate and key",
      expected: "a pair in PEM",
      received: "files that are none",
      cause,
    });
  }
}

/** @throws LORASA_PORT when the address cannot be listened on. */
export function listen(server: Listener, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException): void => reject(portError(host, port, cause));
    server.once("error", refuse);
    server.listen(port, host, () => {
      server.removeListener("error", refuse);
      resolve();
    });
  });
}

/** Such as `http://127.0.0.1:8000`. */
export function listenerUrl(server: Listener): string {
  // A server that listens on a port has an address of this form.
  const { address, family, port } = server.address() as AddressInfo;
  const scheme = server instanceof TlsServer ? "https" : "http";
  return `${scheme}://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** Why an address cannot be listened on, by the system's code. */
export const PORT_CAUSES: Readonly<Record<string, string>> = {
  EADDRINUSE: "one that is in use",
  EACCES: "one that needs more rights",
  EADDRNOTAVAIL: "an address that this machine does not have",
  ENOTFOUND: "a name that has no address",
};

function portError(host: string, port: number, cause: NodeJS.ErrnoException): LorasaError {
  return new LorasaError("LORASA_PORT", {
    asked: `listening on ${host}:${port}`,
    expected: "a free address",
    received: PORT_CAUSES[cause.code ?? ""] ?? cause.message,
    mend: "choose another with --port, or --port 0 for any free one",
    cause,
  });
}
