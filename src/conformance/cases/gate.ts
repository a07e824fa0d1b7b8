/** The end-to-end gate: a model loses much less by the backend than by quantization. */

import { DEFAULT_RECIPE } from '../../quant/recipes.ts';
import type { Tensor } from '../../tensor.ts';
import { rowsOf, surprise } from '../../text/logits.ts';
import type { Case, Subject } from '../case.ts';
import { caseOf, type Finding, skippedCase } from '../judge/judge.ts';
import { expectedFrom, withExecutable } from '../plan.ts';

const TOKENS = 192;

/** −log p of each token after the first. */
const surprises = ({ data, shape: [l] }: Tensor, text: Int32Array): readonly number[] =>
  rowsOf(data as Float32Array, l)
    .slice(0, -1)
    .map((row, t) => surprise(row, text[t + 1]));
const mean = (values: readonly number[]): number => values.reduce((sum, x) => sum + x, 0) / values.length;

const ADDRESS = { address: 'gate/perplexity/embedded', quick: false };

export function gateCases({ backend, profile, models }: Subject): Case[] {
  const model = models.find(({ recipe }) => recipe === DEFAULT_RECIPE);
  if (!model) {
    const about = { ...ADDRESS, says: 'the perplexity of a real model', ops: [] };
    return [skippedCase(backend, about, 'no model was given')];
  }
  const says = `nats per token of ${model.recipe} over ${TOKENS} tokens of a book that the model has never seen`;
  return [
    caseOf(backend, { ...ADDRESS, says, ops: model.ops }, (): Finding => {
      const [plan, text] = [model.plan(), model.text().slice(0, TOKENS)];
      const expected = surprises(expectedFrom(plan, text).logits, text);
      const logits = withExecutable(backend, plan, executable => executable.open().feed(text));
      const got = mean(surprises(logits, text));
      const { bound, formula } =
        profile === 'exact'
          ? { bound: 0, formula: 'the same logits, and so the same number' }
          : tolerantBound(expected, surprises(expectedFrom(model.float(), text).logits, text));
      const off = Math.abs(got - mean(expected));
      const worst = off === 0 ? 0 : off / bound;
      if (worst <= 1) return { worst };
      const values = { expected: mean(expected), got, ulp: Number.POSITIVE_INFINITY, bound, formula };
      return { worst, mismatch: { tensor: 'nats', shape: [], index: [], ...values, wrong: 1, of: 1 } };
    }),
  ];
}

/**
 * Let d be the surprise that quantization adds to each token. A correct backend that rounds otherwise has errors about as large as
 * d, in both directions. So their mean over N tokens stays within three standard errors of 0.
 */
function tolerantBound(expected: readonly number[], float: readonly number[]) {
  const added = expected.map((x, t) => x - float[t]);
  const spread = Math.sqrt(mean(added.map(d => d * d)));
  return {
    bound: Math.abs(mean(added)) / 4 + (3 * spread) / Math.sqrt(added.length),
    formula: `|nats − expected| ≤ |mean d| / 4 + 3 rms(d) / √${added.length}, d what quantization adds for each token`,
  };
}
