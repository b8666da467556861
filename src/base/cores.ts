/** How many cores this process may count on; not how it uses them. */
import { availableParallelism } from "node:os";

/** `LORASA_CORES` where it is a whole number from 1, as where several runs share a machine; else the machine's. */
export function coresOfProcess(): number {
  const given = Number(process.env["LORASA_CORES"]);
  return Number.isInteger(given) && given > 0 ? given : availableParallelism();
}
