/**
 * How far a program is from the float model on the same windows, prediction by prediction. An ablation compares many programs, so the
 * float model's logits are computed once and kept (tokens × vocabulary × 4 bytes).
 *
 *   nats = mean of −log p(next token)      kl = mean of Σ p_float log (p_float / p)      top1 = share of the float model's top token
 */

import type { Sequence } from '../executable.ts';
import type { Program } from '../graph.ts';
import { planOf } from '../quant/pipeline.ts';
import type { Recipe } from '../quant/scheme.ts';
import { distribution, divergence, likeliest, logSum, rowsOf } from '../text/logits.ts';
import { calibrateEach } from './calibrations.ts';
import { overWindows, type Reading, tokensIn } from './windows.ts';

export interface Fidelity {
  readonly nats: number;
  readonly perplexity: number;
  /** perplexity / the float model's − 1. */
  readonly change: number;
  readonly kl: number;
  readonly top1: number;
}

/** The mean of −log p over each block of BLOCK predictions, in the text's order. Two programs are compared block by block. */
export type Blocks = Float64Array;
/** Neighbouring predictions are correlated. Blocks of this size are taken as independent. */
const BLOCK = 64;

export interface Comparison {
  readonly fidelity: Fidelity;
  /** In the order of the windows. */
  readonly blocks: Blocks;
}

export interface FloatReference {
  readonly nats: number;
  readonly predictions: number;
  compare(program: Program): Comparison;
  /** Calibrates each recipe on the samples, and compares its plan. */
  compareEach(recipes: readonly Recipe[], samples: readonly Int32Array[]): readonly Comparison[];
}

/** Runs the float model over the windows. `onWindow` is called after each sample of a calibration, too. */
export function floatReference(float: Program, reading: Reading): FloatReference {
  const { windows, prepare, onWindow } = reading;
  const predictions = tokensIn(windows) - windows.length;
  const reference: { readonly logits: Float32Array; readonly z: number }[][] = [];
  let nll = 0;
  overWindows(float, reading, (sequence, window) => {
    const rows = predictionsOf(sequence, window).map((logits, t) => {
      const z = logSum(logits);
      nll += z - logits[window[t + 1]];
      return { logits, z };
    });
    reference.push(rows);
  });
  const nats = nll / predictions;

  const compare = (program: Program): Comparison => {
    const losses = new Float64Array(predictions);
    let at = 0;
    let kl = 0;
    let same = 0;
    let w = 0;
    overWindows(program, reading, (sequence, window) => {
      for (const [t, q] of predictionsOf(sequence, window).entries()) {
        const { logits, z } = reference[w][t];
        const p = distribution(logits, z);
        const zq = logSum(q);
        losses[at++] = zq - q[window[t + 1]];
        kl += divergence(p, q, zq);
        if (p.likeliest === likeliest(q)) same++;
      }
      w++;
    });
    const mean = losses.reduce((sum, loss) => sum + loss, 0) / predictions;
    const fidelity = {
      nats: mean,
      perplexity: Math.exp(mean),
      change: Math.expm1(mean - nats),
      kl: kl / predictions,
      top1: same / predictions,
    };
    return { fidelity, blocks: blocksOf(losses) };
  };
  return {
    nats,
    predictions,
    compare,
    compareEach(recipes, samples) {
      const stats = calibrateEach(float, recipes, samples, { prepare, onProgress: onWindow });
      return recipes.map((recipe, i) => compare(planOf(float, recipe, stats[i])));
    },
  };
}

/**
 * The mean difference of two programs in nats, and its standard error over the blocks. With one block the error is unknown, so it is
 * Infinity.
 */
export function pairedDifference(a: Blocks, b: Blocks): { readonly mean: number; readonly error: number } {
  const n = a.length;
  const differences = a.map((loss, i) => loss - b[i]);
  const mean = differences.reduce((sum, d) => sum + d, 0) / n;
  const squares = differences.reduce((sum, d) => sum + (d - mean) ** 2, 0);
  return { mean, error: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Number.POSITIVE_INFINITY };
}

/** The last block may be up to twice as long as the others, so that none is shorter. */
function blocksOf(losses: Float64Array): Blocks {
  const count = Math.max(1, Math.floor(losses.length / BLOCK));
  return Float64Array.from({ length: count }, (_, i) => {
    const part = losses.subarray(i * BLOCK, i === count - 1 ? losses.length : (i + 1) * BLOCK);
    return part.reduce((sum, loss) => sum + loss, 0) / part.length;
  });
}

/** The logits that predict the next tokens of a window: a row for all but the last. */
const predictionsOf = (sequence: Sequence, window: Int32Array): readonly Float32Array[] =>
  rowsOf(sequence.feed(window).data, window.length).slice(0, -1);
