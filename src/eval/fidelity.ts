/**
 * How far a program is from the float one on the same windows, prediction by prediction: what an ablation compares many times,
 * with the float model's logits made once and kept (tokens × vocabulary × 4 bytes).
 *
 *   nats = mean of −log p(next token)      kl = mean of Σ p_float log (p_float / p)      top1 = share of the float model's top token
 */

import type { Executable } from '../executable.ts';
import type { Program } from '../graph.ts';
import type { Prepare } from './calibrations.ts';

export interface Fidelity {
  readonly nats: number;
  readonly perplexity: number;
  /** perplexity / the float model's − 1. */
  readonly change: number;
  readonly kl: number;
  readonly top1: number;
}

/** Mean −log p of each run of BLOCK predictions, in the text's order: what two programs are compared by, pair by pair. */
export type Blocks = Float64Array;
/** Neighbouring predictions are alike; blocks of this many are taken as independent. */
const BLOCK = 64;

export interface FloatReference {
  readonly windows: readonly Int32Array[];
  readonly nats: number;
  readonly predictions: number;
  /** Of one program; `blocks` in the order of the windows. */
  compare(program: Program): Fidelity & { readonly blocks: Blocks };
}

/**
 * The whole windows of a text, without overlap, of `limit` tokens at most.
 *
 * @throws RangeError where not one window fits.
 */
export function windowsOf(tokens: Int32Array, window: number, limit: number): readonly Int32Array[] {
  if (!Number.isInteger(window) || window < 2)
    throw new RangeError(`window expected a whole number >= 2; got ${window}`);
  const count = Math.floor(Math.min(tokens.length, limit) / window);
  if (count < 1)
    throw new RangeError(
      `text expected at least ${window} tokens (one window); got ${Math.min(tokens.length, limit)}`,
    );
  return Array.from({ length: count }, (_, i) => tokens.subarray(i * window, (i + 1) * window));
}

/** Runs the float model over the windows. `onWindow` is called after each window of every program that is compared. */
export function floatReference(
  float: Program,
  windows: readonly Int32Array[],
  prepare: Prepare,
  onWindow: () => void = () => {},
): FloatReference {
  const predictions = windows.reduce((sum, { length }) => sum + length - 1, 0);
  const logits: Float32Array[] = [];
  const logSums: Float64Array[] = [];
  let nll = 0;
  each(float, windows, prepare, (data, window, vocab) => {
    const sums = new Float64Array(window.length - 1);
    for (let t = 0; t < sums.length; t++) {
      const row = data.subarray(t * vocab, (t + 1) * vocab);
      sums[t] = logSum(row);
      nll += sums[t] - row[window[t + 1]];
    }
    logits.push(data);
    logSums.push(sums);
    onWindow();
  });
  const nats = nll / predictions;

  return {
    windows,
    nats,
    predictions,
    compare(program) {
      const losses = new Float64Array(predictions);
      let at = 0;
      let kl = 0;
      let same = 0;
      let w = 0;
      each(program, windows, prepare, (data, window, vocab) => {
        for (let t = 0; t < window.length - 1; t++) {
          const p = logits[w].subarray(t * vocab, (t + 1) * vocab);
          const q = data.subarray(t * vocab, (t + 1) * vocab);
          const zq = logSum(q);
          losses[at++] = zq - q[window[t + 1]];
          kl += divergenceOf(p, logSums[w][t], q, zq);
          if (likeliest(p) === likeliest(q)) same++;
        }
        w++;
        onWindow();
      });
      const sum = losses.reduce((total, loss) => total + loss, 0);
      const mean = sum / predictions;
      return {
        nats: mean,
        perplexity: Math.exp(mean),
        change: Math.expm1(mean - nats),
        kl: kl / predictions,
        top1: same / predictions,
        blocks: blocksOf(losses),
      };
    },
  };
}

/**
 * The mean difference of two programs in nats, and its standard error over blocks of neighbouring predictions. One block has no
 * error that could be known: Infinity.
 */
export function pairedDifference(a: Blocks, b: Blocks): { readonly mean: number; readonly error: number } {
  const n = a.length;
  const differences = a.map((loss, i) => loss - b[i]);
  const mean = differences.reduce((sum, d) => sum + d, 0) / n;
  const squares = differences.reduce((sum, d) => sum + (d - mean) ** 2, 0);
  return { mean, error: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Number.POSITIVE_INFINITY };
}

/** The last block may be up to twice as long, so that none is short. */
function blocksOf(losses: Float64Array): Blocks {
  const count = Math.max(1, Math.floor(losses.length / BLOCK));
  return Float64Array.from({ length: count }, (_, i) => {
    const part = losses.subarray(i * BLOCK, i === count - 1 ? losses.length : (i + 1) * BLOCK);
    return part.reduce((sum, loss) => sum + loss, 0) / part.length;
  });
}

/** Feeds each window from an empty state and shows its logits f32[l · v]. */
function each(
  program: Program,
  windows: readonly Int32Array[],
  prepare: Prepare,
  see: (logits: Float32Array, window: Int32Array, vocab: number) => void,
): void {
  const executable: Executable = prepare(program);
  try {
    const sequence = executable.open();
    for (const window of windows) {
      sequence.load();
      const { data, shape } = sequence.feed(window);
      see(data, window, shape[1]);
    }
  } finally {
    executable.dispose?.();
  }
}

/** Σ p log (p / q), from logits and their log Σ e^logit. */
function divergenceOf(p: Float32Array, zp: number, q: Float32Array, zq: number): number {
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i] - zp;
    sum += Math.exp(logP) * (logP - (q[i] - zq));
  }
  return sum;
}

function logSum(logits: Float32Array): number {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
  return max + Math.log(total);
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
