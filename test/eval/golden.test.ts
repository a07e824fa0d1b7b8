/** Perplexity and task log-likelihoods of the embedded model against PyTorch in float64: golden/evaluation.py. */
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/eval/evaluate.ts';
import { readItems } from '../../src/eval/task-files.ts';
import { type TaskName, taskNames } from '../../src/eval/tasks.ts';
import { EMBEDDED_MODEL, load, textFile } from '../../src/open/node.ts';
import { FLOAT_RECIPE, recipe } from '../../src/quant/recipes.ts';
import { readGolden } from '../golden/files.ts';

const { attrs, f64 } = readGolden('evaluation/mamba-books-15m');
const { window, items } = attrs as unknown as { window: number; items: Record<TaskName, object[]> };

/** Relative, of a window's sum and of the perplexity; measured 9e-9 and 2.5e-8. The project's bar is 5e-4. */
const NEAR = 1e-6;
/** Of a choice, in nats; measured 1e-5: float32 logits beside float64 ones, over 13 tokens. */
const LL_NEAR = 5e-5;

describe('fp32', async () => {
  const { partial, report } = await evaluate(
    {
      recipes: [{ name: FLOAT_RECIPE, scheme: recipe(FLOAT_RECIPE) }],
      text: {
        name: 'validation',
        text: await textFile(`${EMBEDDED_MODEL}/validation.txt.gz`).read(),
        window,
        limit: window * f64.nll.data.length,
      },
      tasks: taskNames.map(task => ({
        task,
        sha256: '',
        items: readItems(task, { name: task, text: JSON.stringify(items[task]) }),
      })),
    },
    { load: named => load(EMBEDDED_MODEL, { recipe: named }), rounds: 0 },
  );
  const [part] = partial.parts;

  it('gives the perplexity of each window, and of all', () => {
    const nll = Array.from(f64.nll.data, Number);
    expect(part.windows).toHaveLength(nll.length);
    for (const [i, sums] of part.windows.entries())
      expect(Math.abs(sums.nll / nll[i] - 1)).toBeLessThan(NEAR);
    const tokens = nll.length * (window - 1);
    const perplexity = Math.exp(nll.reduce((sum, x) => sum + x, 0) / tokens);
    expect(report.results[0].tokens).toBe(tokens);
    expect(Math.abs(report.results[0].perplexity! / perplexity - 1)).toBeLessThan(NEAR);
  });

  it.each(taskNames)('gives the log-likelihood of every choice of %s', task => {
    const expected = Array.from(f64[task].data, Number);
    const got = part.tasks[task]!.flatMap(({ lls }) => lls);
    expect(got).toHaveLength(expected.length);
    for (const [i, ll] of got.entries()) expect(Math.abs(ll - expected[i])).toBeLessThan(LL_NEAR);
  });
});
