/** What /metrics tells, in Prometheus' form. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Places } from './places.ts';
import type { Engine } from './process.ts';
import type { Written } from './protocol.ts';

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  /** A request was answered with this status, after so many seconds. */
  answered(route: string, status: number, seconds: number): void;
  /** Its first token came after so many seconds. */
  begun(model: string, seconds: number): void;
  wrote(model: string, written: Written): void;
}

export interface Watched {
  readonly engine: Engine;
  readonly places: Places;
}

/** From 5 ms to a minute. */
const SECONDS = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60];

export function metrics(models: ReadonlyMap<string, Watched>): Metrics {
  const registers = [new Registry()];
  const [registry] = registers;
  const named = (name: string, help: string) => ({ name: `quamba_${name}`, help, registers });
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ ...named(name, help), labelNames });
  const histogram = (name: string, help: string, ...labelNames: string[]) =>
    new Histogram({ ...named(name, help), labelNames, buckets: SECONDS });
  /** Asked of each model when the page is. */
  const gauge = (name: string, help: string, of: (watched: Watched) => number) =>
    new Gauge({
      ...named(name, help),
      labelNames: ['model'],
      collect() {
        for (const [model, watched] of models) this.set({ model }, of(watched));
      },
    });
  const requests = counter('requests_total', 'Requests that were answered.', 'route', 'status');
  const duration = histogram('request_seconds', 'Until the end of an answer.', 'route');
  const first = histogram('first_token_seconds', 'From a request until its first token.', 'model');
  const prompt = counter('prompt_tokens_total', 'Tokens of prompts.', 'model');
  const cached = counter(
    'cached_tokens_total',
    'Tokens of prompts that were not fed, since a kept text began with them.',
    'model',
  );
  const written = counter('written_tokens_total', 'Tokens written.', 'model');
  gauge('writing', 'Texts that are being written.', ({ places }) => places.taken);
  gauge('waiting', 'Requests that wait for a place.', ({ places }) => places.waiting);
  gauge('ready', 'Whether the model can write now.', ({ engine }) => Number(engine.isReady));
  gauge('restarts', 'How often the process of the model was started again.', ({ engine }) => engine.restarts);
  gauge('kept_texts', 'Texts in the prefix cache.', ({ engine }) => engine.stats.keptTexts);
  gauge('kept_bytes', 'Bytes of the prefix cache.', ({ engine }) => engine.stats.keptBytes);
  gauge(
    'memory_bytes',
    "The model's own memory: weights, states, values.",
    ({ engine }) => engine.stats.memoryBytes,
  );
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    answered(route, status, seconds) {
      requests.inc({ route, status });
      duration.observe({ route }, seconds);
    },
    begun: (model, seconds) => first.observe({ model }, seconds),
    wrote(model, { promptTokens, keptTokens, tokens }) {
      prompt.inc({ model }, promptTokens);
      cached.inc({ model }, keptTokens);
      written.inc({ model }, tokens);
    },
  };
}
