/** What the gRPC door is given, and what its methods share. Not the methods, not the listening. */
import type { Metadata } from "@grpc/grpc-js";
import type { PolicyService, ServedModel } from "../engine/service.ts";

/** Who may call a method: everyone, who may infer, who may manage. */
export type Role = "open" | "infer" | "manage";

export interface GrpcOptions {
  readonly service: PolicyService;
  /** Address to listen on. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Longest message either way. */
  readonly messageLimitBytes: number;
  /** Most connections that are open at once. */
  readonly maxConnections: number;
  /**
   * Asked before anything of a call is read.
   * @param authorizationHeader value of the `authorization` metadata, such as `Bearer …`.
   * @throws LORASA_UNAUTHORIZED or LORASA_FORBIDDEN.
   */
  authorize(role: Role, authorizationHeader: string | undefined): void;
  /** A model's metadata, with the fields of `ModelMetadataResponse`. */
  metadata(model: ServedModel): object;
  /** A model's configuration, with the fields of `ModelConfig` and enum values by name. */
  config(model: ServedModel): object;
  /** Certificate chain and private key, PEM. Without them connections are not encrypted. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Told of the error of every call that fails; what a client sees may only hint at it. */
  failed(error: unknown): void;
  /** How long closing waits for calls that have begun. */
  readonly drainTimeoutMs: number;
}

/** A door that is open, or closing. */
export interface Door extends GrpcOptions {
  /** False while starting and stopping. */
  isReady(): boolean;
  /** Ends of the calls that would last as long as their clients want; run when the door closes. */
  readonly lasting: Set<() => void>;
}

/** @throws what `authorize` throws. */
export function admit(door: Door, role: Role, metadata: Metadata): void {
  const [header] = metadata.get("authorization");
  door.authorize(role, typeof header === "string" ? header : undefined);
}
