/**
 * Accepts the connections of the gRPC door: the library's own listener has no bound for their number and no code for
 * its errors. Not what is spoken on them.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import { LorasaError } from "../../src/base/errors.ts";
import { PORT_CAUSES } from "../http/listen.ts";

export interface Listener {
  readonly port: number;
  /** Accepts no more. */
  stop(): void;
  /** Cuts off the connections that are left. */
  cut(): void;
}

export interface ListenerAddress {
  readonly host: string;
  readonly port: number;
  /** Most that are open at once. */
  readonly maxConnections: number;
}

/** @throws LORASA_PORT when the address cannot be listened on. */
export function listen(
  { host, port, maxConnections }: ListenerAddress,
  accept: (socket: Socket) => void,
): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A connection may break before the library has it.
    socket.on("error", () => socket.destroy());
    accept(socket);
  });
  server.maxConnections = maxConnections;
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
    received: PORT_CAUSES[cause.code ?? ""] ?? cause.message,
    mend: "choose another with --grpc-port, or --grpc-port 0 for any free one",
    cause,
  });
}
