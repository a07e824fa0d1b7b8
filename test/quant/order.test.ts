/** The stages in their order: what they take of each other, and that no other order passes. */
import { describe, expect, it } from 'vitest';
import { type Program, trace, weightsOf } from '../../src/graph.ts';
import { fuse } from '../../src/plan/fuse.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { quantize, transform } from '../../src/quant/lower.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { a8 } from '../../src/quant/scheme.ts';
import { toy } from '../toy.ts';

const { program, samples } = toy;
const { quamba } = recipes;
const stats = calibrate(program, quamba, samples);
const transformed = transform(program, quamba);
const plan = fuse(quantize(transformed, stats));
const asTraced = (where: string, stage: string) =>
  new Error(`${where}: expected a program as it was traced; got one that ${stage} returned`);

describe('what was transformed', () => {
  it('is not calibrated, which would transform it a second time', () => {
    // @ts-expect-error the type refuses it too
    expect(() => calibrate(transformed, quamba, samples)).toThrow(asTraced('calibrate', 'transform'));
  });

  it('is not transformed a second time', () => {
    // @ts-expect-error
    expect(() => transform(transformed, quamba)).toThrow(asTraced('transform', 'transform'));
    // @ts-expect-error
    expect(() => planOf(transformed, quamba, stats)).toThrow(asTraced('transform', 'transform'));
  });

  it('is all that is quantized', () => {
    const other = new Error('quantize: expected the program that transform returned; got another one');
    // @ts-expect-error
    expect(() => quantize(program, stats)).toThrow(other);
    expect(() => quantize(plan as never, stats)).toThrow(other);
  });
});

it.each([
  ['got "quamba"', 'quamba'],
  ['got nothing', undefined],
])('the name of a recipe is none: %s', (got, name) => {
  const where = (stage: string) => new TypeError(`${stage}: recipe expected an object; ${got}`);
  expect(() => calibrate(program, name as never, samples)).toThrow(where('calibrate'));
  expect(() => transform(program, name as never)).toThrow(where('transform'));
  expect(() => planOf(program, name as never)).toThrow(where('transform'));
});

it('a fused plan is neither calibrated nor transformed', () => {
  expect(() => calibrate(plan, quamba, samples)).toThrow(asTraced('calibrate', 'fuse'));
  expect(() => transform(plan, quamba)).toThrow(asTraced('transform', 'fuse'));
});

it('statistics are taken for their own recipe only', () => {
  expect(() => quantize(transform(program, recipes['naive-static']), stats)).toThrow(
    new Error('quantize: the statistics are of another recipe; calibrate with this recipe first'),
  );
  const same = JSON.parse(JSON.stringify(quamba));
  expect(planOf(program, same, stats).graph).toEqual(plan.graph);
});

it('acts are those of the sites of blocks', () => {
  const graph = trace((g, frames) => g.site('headIn', frames), 3);
  const none = { graph, weights: weightsOf(new Map()) };
  expect(() => transform(none, { acts: a8 })).toThrow(
    new RangeError('recipe.acts: the program has no site of a block; it has headIn'),
  );
});

it('a plan that is not fused has no site left to calibrate', () => {
  const unfused: Program = quantize(transformed, stats);
  expect(() => calibrate(unfused, quamba, samples)).toThrow(
    new RangeError('recipe.at: the program has no site "scanIn"; it has none'),
  );
  expect(() => planOf(unfused, recipes['naive-static'])).toThrow(
    new RangeError('recipe.acts: the program has no site of a block; it has none'),
  );
});
