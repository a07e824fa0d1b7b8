/** Recipes, statistics and weights that somebody writes by hand in JavaScript, where no type is checked. */
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { backends } from '../../src/backends/index.ts';
import { trace, weightsOf } from '../../src/graph.ts';
import { ops } from '../../src/ops/index.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { a8, parseRecipe, type Recipe, w8 } from '../../src/quant/scheme.ts';
import { statsOfToy, toy } from '../toy.ts';

describe('a recipe made by hand', () => {
  it.each<[string, unknown]>([
    ['recipe expected an object; got "quamba"', 'quamba'],
    ['recipe expected an object; got nothing', undefined],
    ['recipe: no field "weigths" (did you mean weights?)', { weigths: w8 }],
    ['recipe.weights.bits expected 8 or 4; got 5', { weights: { ...w8, bits: 5 } }],
    ['recipe.weights.per expected tensor or row', { weights: { bits: 8, per: 'rows' } }],
    ['recipe.acts.bits expected 8; got 4', { acts: { ...a8, bits: 4 } }],
    ['recipe.acts.basis expected none or hadamard', { acts: { ...a8, basis: 'Hadamard' } }],
    [
      'recipe.at.scanIn.range.percentile expected a number in (0, 1]; got NaN',
      { acts: a8, at: { scanIn: { range: { percentile: Number.NaN, ema: 0.01 } } } },
    ],
    ['recipe.residual expected hadamard; got "Hadamard"', { residual: 'Hadamard' }],
    ['recipe.states.ssmState.bits expected 16 or 8; got 4', { states: { ssmState: { bits: 4 } } }],
    ['recipe.at.scanIn.range is missing', { at: { scanIn: { bits: 8 } } }],
    ['recipe.at.headIn.when is missing', { acts: a8, at: { headIn: { bits: 8, range: 'absmax' } } }],
  ])('is refused before anything is run: %s', (says, given) => {
    expect(() => calibrate(toy.program, given as Recipe, toy.samples)).toThrow(says);
    expect(() => planOf(toy.program, given as Recipe)).toThrow(says);
  });

  it('of a site with bits alone is refused as JSON too', () => {
    expect(() => parseRecipe({ at: { scanIn: { bits: 8 } } }, 'my.json')).toThrow(
      'my.json.at.scanIn.range is missing',
    );
  });

  it('may speak of sites that the program has beyond those of a block', () => {
    const graph = trace((g, x) => g.op('y', ops.silu, { x: g.site('mine', x) }), 4);
    const program = { graph, weights: weightsOf(new Map()) };
    const recipe = { at: { mine: a8 } } as Recipe;
    const stats = calibrate(program, recipe, [Float32Array.of(1, 2, 3, 4)]);
    expect(planOf(program, recipe, stats).graph.nodes.length).toBeGreaterThan(1);
  });
});

describe('statistics made by hand', () => {
  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY, '1', null])('with a range of %s are refused', range => {
    const stats = statsOfToy(toy, recipes.quamba);
    const [ref] = Object.keys(stats.ranges);
    const ranges = { ...stats.ranges, [ref]: range as number };
    expect(() => planOf(toy.program, recipes.quamba, { ...stats, ranges })).toThrow(
      `quantize: range of ${ref} expected a finite number >= 0; got ${typeof range === 'string' ? '"1"' : range}`,
    );
  });

  it('samples that are no list are refused', () => {
    expect(() => calibrate(toy.program, recipes.quamba, null as never)).toThrow(
      'calibrate: samples expected an array; got null',
    );
  });
});

describe('weights made by hand', () => {
  const graph = trace((g, x) => g.op('y', ops.linear, { x, w: g.weight('w', [1, 2]) }), 2);
  it.each<[string, unknown]>([
    ['expected its values in a Float32Array', Float64Array.of(1, 2)],
    ['expected its values in a Float32Array', [1, 2]],
    ['expected its values in a Float32Array', Int8Array.of(1, 2)],
    ['expected 2 values; got 1', Float32Array.of(1)],
    ['expected 2 values; got none', undefined],
  ])('whose values lie elsewhere are refused: %s', (says, data) => {
    const weights = weightsOf(new Map([['w', { dtype: 'f32', shape: [1, 2], data: data as Float32Array }]]));
    for (const backend of [backends.wasm, backends.reference])
      expect(() => prepare(backend, { graph, weights })).toThrow(`program.weights["w"] ${says}`);
  });
});
