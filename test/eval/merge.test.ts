/** Any sharding, any order and any interruption of an evaluation gives its figures to the last digit. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate } from '../../src/eval/evaluate.ts';
import { merge, ofShard, type PartialResult, parsePartial, reportOf } from '../../src/eval/partial.ts';
import { perplexityOf } from '../../src/eval/perplexity.ts';
import { evaluationOf, load, measured } from './toy.ts';

const stored = (partial: PartialResult): PartialResult =>
  parsePartial(JSON.parse(JSON.stringify(partial)), 'stored');

describe('the merge law', () => {
  it('parts join to the whole, bit for bit', async () => {
    const shape = fc.record({
      window: fc.integer({ min: 2, max: 9 }),
      windows: fc.integer({ min: 1, max: 5 }),
      count: fc.integer({ min: 1, max: 6 }),
      seed: fc.integer(),
      together: fc.integer({ min: 1, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(shape, async ({ window, windows, count, seed, together }) => {
        const whole = await measured(evaluationOf(window, window * windows), undefined, together);
        const parts: PartialResult[] = [];
        for (let index = 0; index < count; index++) {
          const { partial } = await measured(evaluationOf(window, window * windows, { index, count }));
          parts.push(stored(partial));
        }
        parts.sort((a, b) => Math.sin(seed + a.shard.index) - Math.sin(seed + b.shard.index));
        expect(reportOf(merge(parts))).toEqual(whole.report);
      }),
      { numRuns: 8 },
    );
  });

  it('holds for sums whose order shows', () => {
    // of like size, so that every rounding counts (fc.double draws mostly numbers too small to be seen beside others)
    const sum = fc.integer({ min: 1, max: 2 ** 31 - 1 }).map(n => n / 7);
    const rows = fc.array(fc.record({ nll: sum, kl: sum, same: fc.nat(10) }), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(rows, fc.integer({ min: 1, max: 8 }), (list, count) => {
        const windows = list.map((row, index) => ({ index, ...row }));
        const shards = Array.from({ length: count }, (_, index) =>
          ofShard({ index, count }, windows.length).map(i => windows[i]),
        );
        expect(shards.flat()).toHaveLength(windows.length);
        expect(perplexityOf(shards.reverse().flat(), 11)).toEqual(perplexityOf(windows, 11));
      }),
    );
  });
});

describe('a run that was cut short', () => {
  it('goes on to the same figures, from any step', async () => {
    const evaluation = evaluationOf(8, 40);
    const whole = await measured(evaluation);
    const steps: PartialResult[] = [];
    await evaluate(evaluation, { load, rounds: 0, onStep: partial => steps.push(stored(partial)) });
    // five windows and six items, three times
    expect(steps).toHaveLength(33);
    for (const step of steps.filter((_, i) => i % 4 === 0))
      expect((await measured(evaluation, step)).report).toEqual(whole.report);
  });

  it('measures only what is missing', async () => {
    const evaluation = evaluationOf(8, 40);
    const steps: PartialResult[] = [];
    await evaluate(evaluation, { load, rounds: 0, onStep: partial => steps.push(stored(partial)) });
    for (const at of [0, 9, 26, 32]) {
      let left = 0;
      const seen: number[] = [];
      const onProgress = (done: number, total: number) => {
        seen.push(done);
        left = total;
      };
      const resume = { partial: steps[at], name: 'kept.json' };
      await evaluate(evaluation, { load, rounds: 0, resume, onProgress });
      expect({ left, seen: seen.length }).toEqual({ left: 32 - at, seen: 32 - at });
    }
  });

  it('is refused by another evaluation, with what differs', async () => {
    const evaluation = evaluationOf(8, 40);
    const { partial } = await measured(evaluation);
    const refused = async (changes: object, sentence: RegExp) =>
      expect(measured({ ...evaluation, ...changes }, partial)).rejects.toThrow(sentence);
    const text = evaluation.text!;
    const [piqa, lambada] = evaluation.tasks!;
    await refused(
      { text: { ...text, window: 4 } },
      /^kept\.json: is of another run; the window: 8 there, 4 here$/,
    );
    await refused({ text: { ...text, limit: 24 } }, /the limit: 40 there, 24 here$/);
    await refused(
      { text: { ...text, text: `${text.text}.` } },
      /the text is another one \(text there, text here\)$/,
    );
    await refused({ text: undefined }, /a text: true there, false here$/);
    await refused(
      { recipes: evaluation.recipes.slice(1) },
      /the recipes: "fp32,dynamic,rows" there, "dynamic,rows" here$/,
    );
    await refused(
      { recipes: evaluation.recipes.map(one => (one.name === 'dynamic' ? { ...one, scheme: {} } : one)) },
      /recipe dynamic is another one$/,
    );
    await refused(
      { tasks: [piqa] },
      /the tasks: "piqa \(3 items\), lambada \(3 items\)" there, "piqa \(3 items\)" here$/,
    );
    await refused({ tasks: [piqa, { ...lambada, sha256: 'x' }] }, /the data of lambada is another file$/);
    await refused({ shard: { index: 1, count: 2 } }, /it is shard 0\/1 there, 1\/2 here$/);
    const foreign = stored(partial);
    (foreign.parts[0] as { identity: string }).identity = 'f'.repeat(64);
    await expect(measured(evaluation, foreign)).rejects.toThrow(/^kept\.json: recipe fp32: .* another model/);
  });
});

describe('merge refuses', () => {
  const parts = async (count: number) => {
    const all = [];
    for (let index = 0; index < count; index++)
      all.push(stored((await measured(evaluationOf(8, 40, { index, count }))).partial));
    return all;
  };
  const names = ['a', 'b', 'c'];

  it('gaps, overlaps, unfinished parts and parts of another run', async () => {
    const [a, b, c] = await parts(3);
    expect(() => merge([a, c], names)).toThrow('expected all of 3 shards; missing 1');
    expect(() => merge([a, b, b], names)).toThrow('c: is shard 1/3, as b is');
    const [half] = await parts(2);
    expect(() => merge([a, half], names)).toThrow('b: is one of 2 shards; a is one of 3');
    const cut = stored(c);
    cut.parts[1].tasks.piqa!.pop();
    expect(() => merge([a, b, cut], names)).toThrow(
      'c: is not finished (1 measurements are missing); run it again',
    );
    const { partial: other } = await measured(evaluationOf(8, 32, { index: 2, count: 3 }));
    expect(() => merge([a, b, other], names)).toThrow(
      'c: is of another run than a; the limit: 40 there, 32 here',
    );
    const foreign = stored(c);
    (foreign.parts[0] as { identity: string }).identity = 'f';
    expect(() => merge([a, b, foreign], names)).toThrow(
      'c: recipe fp32 is of another model, text or calibration than in a',
    );
  });
});

it('a text shorter than a window is one sentence', async () => {
  await expect(measured(evaluationOf(100, 100))).rejects.toThrow(
    'text: text expected at least 100 tokens (one window); got 84',
  );
});
