/** How busy and how late this process's event loop is. Not of one server: a process has one loop. */
import { type IntervalHistogram, monitorEventLoopDelay, performance } from "node:perf_hooks";

export interface EventLoopState {
  /** Seconds by quantile; the worse of this window and the last whole one. */
  readonly lag: readonly { readonly quantile: number; readonly seconds: number }[];
  /** Since the process began. */
  readonly busySeconds: number;
}

const QUANTILES = [0.5, 0.9, 0.99, 1];
/** Between two looks at the clock; a delay is known to a fraction of a millisecond. */
const RESOLUTION_MS = 10;
const WINDOW_MS = 60_000;

let monitor: IntervalHistogram | undefined;
let windowBeganMs = 0;
let lastWindow: readonly number[] = QUANTILES.map(() => 0);

/** Starts watching at the first call; watching does not keep a process alive. */
export function readEventLoop(): EventLoopState {
  const watched = monitor ?? startMonitor();
  const now = QUANTILES.map((quantile) => lagSeconds(watched, quantile));
  const lag = QUANTILES.map((quantile, at) => ({ quantile, seconds: Math.max(now[at]!, lastWindow[at]!) }));
  if (performance.now() - windowBeganMs >= WINDOW_MS) {
    // By age and not by reading: two that read in turn must not empty each other's window.
    lastWindow = now;
    startWindow(watched);
  }
  return { lag, busySeconds: performance.eventLoopUtilization().active / 1000 };
}

function startMonitor(): IntervalHistogram {
  monitor = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  monitor.enable();
  startWindow(monitor);
  return monitor;
}

function startWindow(watched: IntervalHistogram): void {
  watched.reset();
  windowBeganMs = performance.now();
}

/** Node records the time between two looks, the interval itself included. */
function lagSeconds(watched: IntervalHistogram, quantile: number): number {
  return Math.max(0, watched.percentile(quantile * 100) / 1e9 - RESOLUTION_MS / 1000);
}
