/** Reads the server's own figures from its Prometheus text. */
import { exchange } from "./exchange.ts";
import { httpGet } from "./requests.ts";

/** Sums over all label sets, by metric name. @throws Error for a name that the server does not have. */
export async function readMetrics(port: number, names: readonly string[]): Promise<Record<string, number>> {
  const { text } = await exchange(port, httpGet("/metrics"));
  return Object.fromEntries(
    names.map((name) => {
      const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))];
      if (lines.length === 0) throw new Error(`no metric ${name}`);
      return [name, lines.reduce((sum, [, value]) => sum + Number(value), 0)];
    }),
  );
}
