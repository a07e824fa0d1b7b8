/**
 * Perplexity by the paper's protocol: the text is tokenised once and cut into windows without overlap or BOS, each read
 * from an empty state; every window of W tokens gives W − 1 predictions.
 *
 *   nats = mean over predictions of −log p(next token),   perplexity = e^nats
 */
import type { Session } from '../session.ts';

export interface Perplexity {
  readonly windows: number;
  readonly window: number;
  readonly predictions: number;
  readonly nats: number;
  readonly perplexity: number;
}

/**
 * @param windows how many windows at most; all that fit by default
 * @throws RangeError where the text has fewer tokens than one window, or a window fewer than 2.
 */
export function perplexity(
  session: Session,
  tokens: Int32Array,
  { window, windows = Number.POSITIVE_INFINITY }: { readonly window: number; readonly windows?: number },
  onProgress?: (done: number, total: number) => void,
): Perplexity {
  if (!Number.isInteger(window) || window < 2)
    throw new RangeError(`window expected a whole number >= 2; got ${window}`);
  const count = Math.min(Math.floor(tokens.length / window), windows);
  if (count < 1)
    throw new RangeError(`text expected at least ${window} tokens (one window); got ${tokens.length}`);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const part = tokens.subarray(i * window, (i + 1) * window);
    session.reset();
    const { data, shape } = session.feed(part);
    for (let t = 0; t + 1 < window; t++)
      sum += surprise(data.subarray(t * shape[1], (t + 1) * shape[1]), part[t + 1]);
    onProgress?.(i + 1, count);
  }
  const predictions = count * (window - 1);
  return {
    windows: count,
    window,
    predictions,
    nats: sum / predictions,
    perplexity: Math.exp(sum / predictions),
  };
}

/** −log softmax(logits)[token], in float64. */
export function surprise(logits: Float32Array, token: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
  return max + Math.log(total) - logits[token];
}
