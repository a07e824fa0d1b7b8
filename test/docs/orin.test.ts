/** docs/orin says what the code says: made anew and compared; and what it predicts is near what the paper measured. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { costOf } from '../../src/plan/cost.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { randomModel } from '../../src/random/model.ts';
import { nominalStats } from '../../src/random/nominal-ranges.ts';
import { shapes } from '../../src/random/shapes.ts';
import { compared, page, picture } from './orin.ts';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));
const text = page();

describe('docs/orin', () => {
  it('is up to date (npm run orin)', async () => {
    await expect(text).toMatchFileSnapshot(join(docs, 'orin.md'));
    await expect(picture()).toMatchFileSnapshot(join(docs, 'orin.svg'));
  });

  it('predicts FP16 and Quamba within 25 % of the paper by one efficiency, and what was not fitted too', () => {
    expect(compared.filter(({ isFitted }) => isFitted).map(({ method }) => method)).toEqual([
      'FP16',
      'Quamba',
    ]);
    for (const { method, off } of compared) expect(Math.abs(off), method).toBeLessThan(0.25);
  });
});

it('the bytes of a token are those of the matrices, and a few percent beside', () => {
  const { layers, dModel: m, dInner: d, dState: n, dtRank: r, vocabSize: v } = shapes['mamba-1.4b'];
  const model = randomModel(shapes['mamba-1.4b'], 1);
  const block = layers * (3 * d * m + (r + 2 * n) * d + d * r);
  const bytes = (name: 'fp32' | 'quamba') =>
    costOf(planOf(model, recipes[name], nominalStats(model, recipes[name]))).bytes;
  for (const [found, least] of [
    [bytes('fp32'), 2 * block + 2 * v * m],
    [bytes('quamba'), block + 2 * v * m],
  ]) {
    expect(found).toBeGreaterThan(least);
    expect(found).toBeLessThan(1.05 * least);
  }
});
