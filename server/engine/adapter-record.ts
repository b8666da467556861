/** What a registry knows of one adapter. Not what may be done with it. */
import type { ResidentAdapter } from "./resident-adapter.ts";

/** What is known of an adapter that was used or loaded; those that only lie in the folder are a name. */
export interface AdapterRecord {
  readonly name: string;
  version: number;
  /** Of the current version's files. */
  folder: string;
  sha256: string;
  bytes: number;
  loadedAtMs: number;
  /** On the clock of `performance.now()`; 0 for never. */
  used: number;
  /** The version before and its files; the checksum is empty when they were not read yet. */
  previous: { readonly version: number; readonly folder: string; readonly sha256: string } | undefined;
  resident: ResidentAdapter | undefined;
  /** Versions that were replaced or evicted while requests held them. */
  leaving: readonly ResidentAdapter[];
  /** A read under way, shared by the requests that wait for it. */
  reading: Promise<ResidentAdapter> | undefined;
  pinned: boolean;
  unloaded: boolean;
}

/** @param folder where its files are, or will be. */
export function newRecord(name: string, folder: string): AdapterRecord {
  return {
    name,
    version: 0,
    folder,
    sha256: "",
    bytes: 0,
    loadedAtMs: 0,
    used: 0,
    previous: undefined,
    resident: undefined,
    leaving: [],
    reading: undefined,
    pinned: false,
    unloaded: false,
  };
}

/** Whether a request holds it, in whichever version. */
export function isHeld({ resident, leaving }: AdapterRecord): boolean {
  return [resident, ...leaving].some((adapter) => adapter !== undefined && adapter.holders > 0);
}

/** Remembers the version in memory, which is about to go, while requests hold it. */
export function leave(record: AdapterRecord): void {
  const all = record.resident ? [record.resident, ...record.leaving] : record.leaving;
  record.leaving = all.filter(({ holders }) => holders > 0);
}
