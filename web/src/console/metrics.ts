// What /metrics says, as far as the console shows it.

/** One number of a metric. */
export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** Numbers by the names of their metrics. */
export type Metrics = Map<string, Sample[]>;

/** Reads Prometheus's text format, as the broker writes it: labels need no escape. */
export function read(page: string): Metrics {
  const metrics: Metrics = new Map();
  for (const line of page.split('\n')) {
    const found = LINE.exec(line);
    if (!found) continue;
    const [, name = '', labels = '', value = ''] = found;
    const pairs = [...labels.matchAll(LABEL)].map(([, key = '', text = '']) => [key, text] as const);
    const samples = metrics.get(name) ?? [];
    samples.push({ labels: Object.fromEntries(pairs), value: Number(value) });
    metrics.set(name, samples);
  }
  return metrics;
}

/** The only number of a metric, if it is there. */
export function only(metrics: Metrics, name: string): number | undefined {
  return metrics.get(name)?.[0]?.value;
}

/** Counts of the last minute: what a counter says now, less what it said then. */
export class Minute {
  #then: { at: number; counts: Map<string, number> }[] = [];

  /** Takes what counters say at a time, in milliseconds; gives what each has grown by within a minute. */
  take(at: number, counts: Map<string, number>): Map<string, number> {
    // A process that began anew counts from 0.
    if (this.#then.some((past) => [...past.counts].some(([name, count]) => count > (counts.get(name) ?? 0)))) this.#then = [];
    while ((this.#then[1]?.at ?? Infinity) <= at - MINUTE_MS) this.#then.shift();
    this.#then.push({ at, counts });
    const from = this.#then[0]?.counts;
    return new Map([...counts].map(([name, count]) => [name, count - (from?.get(name) ?? 0)]));
  }
}

const LINE = /^([a-z_]+)(?:\{(.*)\})? ([-+0-9.eE]+)$/;
const LABEL = /([a-z_]+)="([^"]*)"/g;
const MINUTE_MS = 60_000;
