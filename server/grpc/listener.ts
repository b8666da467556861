/**
 * Accepts the connections of the gRPC door: the library's own listener has no bound for their number and no code for
 * its errors. Not what is spoken on them.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { LorasaError } from "../../src/base/errors.ts";
import { CONNECTION_LIMIT } from "../limits.ts";

export interface Listener {
  readonly port: number;
  /** Accepts no more. */
  stop(): void;
  /** Cuts off the connections that are left. */
  cut(): void;
}

/** @throws LORASA_PORT when the address cannot be listened on. */
export function listen(host: string, port: number, accept: (socket: Socket) => void): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A connection may break before the library has it.
    socket.on("error", () => socket.destroy());
    accept(socket);
  });
  server.maxConnections = CONNECTION_LIMIT;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(portError(host, port, cause)));
    server.listen(port, host, () => {
      // A server that listens on a port has an address of this form.
      resolve({ port: (server.address() as AddressInfo).port, stop: () => server.close(), cut });
    });
  });
}

function portError(host: string, port: number, cause: NodeJS.ErrnoException): LorasaError {
  return new LorasaError("LORASA_PORT", {
    asked: `listening for gRPC on ${host}:${port}`,
    expected: "a free address",
    received: cause.code === "EADDRINUSE" ? "one that is in use" : (cause.code ?? cause.message),
    mend: "choose another port, or 0 for any free one",
    cause,
  });
}
