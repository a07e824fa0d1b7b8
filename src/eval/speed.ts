/**
 * Tokens per second of several models, in rounds over all of them. A moment in which the machine is slow then slows all models, so that
 * their ratios mean more than their values. `quamba bench` measures one model more closely.
 */
import type { Model } from '../open/model.ts';

/** Tokens per second, one value for each round. */
export interface Speed {
  readonly prefill: readonly number[];
  readonly decode: readonly number[];
}

export const PROMPT = 128;
const DECODED = 32;

/** Measures after one round to warm up. Prefill asks for the logits of the last token only, as generation does. */
export function speeds(models: readonly Model[], rounds: number): Speed[] {
  const seen = models.map(() => ({ prefill: [] as number[], decode: [] as number[] }));
  for (let round = 0; round <= rounds && rounds > 0; round++)
    for (const [m, model] of models.entries()) {
      const session = model.session();
      const ids = Int32Array.from({ length: PROMPT }, (_, i) => ((i * 7 + 3) % 256) % session.vocabSize);
      const prefill = rate(PROMPT, () => session.feed(ids, { logits: 'last' }));
      const decode = rate(DECODED, () => {
        for (let i = 0; i < DECODED; i++) session.feed(ids.subarray(i, i + 1), { logits: 'last' });
      });
      session.close();
      if (round === 0) continue;
      seen[m].prefill.push(prefill);
      seen[m].decode.push(decode);
    }
  return seen;
}

/** How many of `count` are done in a second, where `work` does them all. */
export function rate(count: number, work: () => void): number {
  const start = performance.now();
  work();
  return count / ((performance.now() - start) / 1000);
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1];
