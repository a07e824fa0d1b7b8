/**
 * How well sessions predict a text, by the paper's protocol: the text is tokenised once and cut into windows without overlap
 * or BOS, each read from an empty state; every window of W tokens gives W − 1 predictions.
 *
 *   nllSum = Σ −log p(next token),   nats = nllSum / predictions,   perplexity = e^nats
 *
 * Against a session of the float model, what sees an error before perplexity does:
 *
 *   kl   = mean over predictions of Σ p_float · log (p_float / p)        in nats
 *   top1 = share of predictions whose likeliest token is the float model's
 */
import type { Session } from '../session.ts';

export interface Measured {
  readonly windows: number;
  readonly window: number;
  /** Predictions: windows · (window − 1). */
  readonly tokens: number;
  readonly nllSum: number;
  readonly nats: number;
  readonly perplexity: number;
  /** Where there is a session to compare with. */
  readonly kl?: number;
  readonly top1?: number;
}

export interface MeasureOptions {
  readonly window: number;
  /** How many windows at most; all that fit by default. */
  readonly windows?: number;
  /** Which of the sessions is the float model's. */
  readonly against?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Measures sessions on the same windows, one session after the other in each, so that no more than two logits are in memory.
 *
 * @throws RangeError where the text has fewer tokens than one window, or a window fewer than 2.
 */
export function measure(
  sessions: readonly Session[],
  tokens: Int32Array,
  { window, windows = Number.POSITIVE_INFINITY, against, onProgress }: MeasureOptions,
): Measured[] {
  if (!Number.isInteger(window) || window < 2)
    throw new RangeError(`window expected a whole number >= 2; got ${window}`);
  const count = Math.min(Math.floor(tokens.length / window), windows);
  if (count < 1)
    throw new RangeError(`text expected at least ${window} tokens (one window); got ${tokens.length}`);
  const sums = sessions.map(() => ({ nll: 0, kl: 0, same: 0 }));
  for (let i = 0; i < count; i++) {
    const part = tokens.subarray(i * window, (i + 1) * window);
    const read = (session: Session): Float32Array[] => {
      session.reset();
      const { data, shape } = session.feed(part);
      return Array.from({ length: window - 1 }, (_, t) => data.subarray(t * shape[1], (t + 1) * shape[1]));
    };
    const float = against === undefined ? undefined : read(sessions[against]);
    for (const [s, session] of sessions.entries()) {
      const rows = s === against ? float! : read(session);
      for (const [t, row] of rows.entries()) {
        sums[s].nll += surprise(row, part[t + 1]);
        if (!float || s === against) continue;
        sums[s].kl += divergence(float[t], row);
        sums[s].same += likeliest(float[t]) === likeliest(row) ? 1 : 0;
      }
    }
    onProgress?.(i + 1, count);
  }
  const predictions = count * (window - 1);
  return sums.map(({ nll, kl, same }, s) => ({
    windows: count,
    window,
    tokens: predictions,
    nllSum: nll,
    nats: nll / predictions,
    perplexity: Math.exp(nll / predictions),
    ...(against === undefined
      ? {}
      : s === against
        ? { kl: 0, top1: 1 }
        : { kl: kl / predictions, top1: same / predictions }),
  }));
}

/** −log softmax(logits)[token], in float64. */
export const surprise = (logits: Float32Array, token: number): number => logSum(logits) - logits[token];

/** Σ p · log (p / q) of the softmax p of one row of logits and q of another, in float64. */
export function divergence(p: Float32Array, q: Float32Array): number {
  const zp = logSum(p);
  const zq = logSum(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i] - zp) * (p[i] - zp - (q[i] - zq));
  return sum;
}

/** log Σ e^logit. */
function logSum(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
  return max + Math.log(total);
}

/** The first of the largest. */
const likeliest = (logits: Float32Array): number => {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
};
