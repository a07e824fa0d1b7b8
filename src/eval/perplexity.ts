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
 *
 * The sums of a window depend on nothing but the window and the model, so windows may be measured anywhere and in any order;
 * figures add them in the order of the text, which makes them the same to the last digit.
 */
import type { Session } from '../session.ts';
import { distribution, divergence, likeliest, logSum, rowsOf } from '../text/logits.ts';

/** What one window adds, in float64. */
export interface WindowSums {
  /** Which window of the text, from 0. */
  readonly index: number;
  /** Σ −log p of its W − 1 predictions, nats. */
  readonly nll: number;
  /** Σ KL from the float model, nats, and how many likeliest tokens are its own. Absent where it is not at hand. */
  readonly kl?: number;
  readonly same?: number;
}

export interface Perplexity {
  readonly windows: number;
  readonly window: number;
  /** Predictions: windows · (window − 1). */
  readonly tokens: number;
  readonly nllSum: number;
  readonly nats: number;
  readonly perplexity: number;
  readonly kl?: number;
  readonly top1?: number;
}

/** Tokens fed at once: so many rows of logits are in memory, for the float model and one other. The bits do not depend on it. */
const PIECE = 256;

/**
 * The sums of one window for each session. Where the float model's is given, every session's is compared with it; it may
 * be one of them.
 */
export function measureWindow(
  sessions: readonly Session[],
  tokens: Int32Array,
  index: number,
  float?: Session,
): WindowSums[] {
  const sums = sessions.map(() => ({ nll: 0, kl: 0, same: 0 }));
  for (const session of new Set(float ? [float, ...sessions] : sessions)) session.reset();
  const last = tokens.length - 1; // its logits predict what stands in the next window
  for (let begin = 0; begin < last; begin += PIECE) {
    const end = Math.min(begin + PIECE, last);
    const piece = tokens.subarray(begin, end);
    const truth = float && rowsOf(float.feed(piece).data, piece.length);
    const distributions = truth?.map(row => distribution(row));
    for (const [s, session] of sessions.entries()) {
      const rows = session === float ? truth! : rowsOf(session.feed(piece).data, piece.length);
      for (const [t, row] of rows.entries()) {
        const z = logSum(row);
        sums[s].nll += z - row[tokens[begin + t + 1]];
        if (!distributions || session === float) continue;
        sums[s].kl += divergence(distributions[t], row, z);
        sums[s].same += distributions[t].likeliest === likeliest(row) ? 1 : 0;
      }
    }
  }
  return sums.map(({ nll, kl, same }, s) => ({
    index,
    nll,
    ...(float && { kl, same: sessions[s] === float ? last : same }),
  }));
}

/** The figures of windows of `window` tokens, whatever order they come in. */
export function perplexityOf(measured: readonly WindowSums[], window: number): Perplexity {
  const inOrder = measured.toSorted((a, b) => a.index - b.index);
  const total = (of: (sums: WindowSums) => number) => inOrder.reduce((sum, one) => sum + of(one), 0);
  const tokens = inOrder.length * (window - 1);
  const nllSum = total(({ nll }) => nll);
  const compared = inOrder.every(({ kl }) => kl !== undefined);
  return {
    windows: inOrder.length,
    window,
    tokens,
    nllSum,
    nats: nllSum / tokens,
    perplexity: Math.exp(nllSum / tokens),
    ...(compared && { kl: total(({ kl }) => kl!) / tokens, top1: total(({ same }) => same!) / tokens }),
  };
}
