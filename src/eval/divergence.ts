/** How far plans are from a float model on a text, as a score to search by. */
import type { Program } from '../graph.ts';
import { type Executable, initialState } from '../run.ts';
import { divergence } from './perplexity.ts';

/**
 * A function from plans to the mean over all positions of windows of Σ p_float · log (p_float / p), in nats. The float model's
 * logits are computed once and kept: 4 bytes for each token of the windows and of the vocabulary.
 */
export function divergenceFrom(
  float: Program,
  windows: readonly Int32Array[],
  prepare: (program: Program) => Executable,
): (plan: Program) => number {
  const logitsOf = (program: Program): readonly Float32Array[] => {
    const executable = prepare(program);
    const logits = windows.map(
      window => executable.feed(window, initialState(program), { giveUp: true }).logits.data,
    );
    executable.dispose?.();
    return logits;
  };
  const expected = logitsOf(float);
  const positions = windows.reduce((sum, window) => sum + window.length, 0);
  return plan => {
    let sum = 0;
    for (const [i, logits] of logitsOf(plan).entries()) {
      const width = logits.length / windows[i].length;
      for (let at = 0; at < logits.length; at += width)
        sum += divergence(expected[i].subarray(at, at + width), logits.subarray(at, at + width));
    }
    return sum / positions;
  };
}
