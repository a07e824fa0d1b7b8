/**
 * The weight of the convolution with a few large channels, as layer 0 of mamba-130m has it: its scale for the tensor is set by
 * them, half of the integers are 0, and that error is the largest of the whole recipe. The embedded model has no such channels.
 *
 * Here the taps of some channels are 64 times as large, and what in_proj gives these channels is 64 times as small. Both are exact,
 * so that the float model computes the same as it did without.
 */
import { expect, it } from 'vitest';
import { type Program, weightsOf } from '../../src/graph.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { quantize, transform } from '../../src/quant/lower.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { type Recipe, type WeightScheme, w8, w8rows, weightScheme } from '../../src/quant/scheme.ts';
import { quantizeWeight } from '../../src/quant/weights.ts';
import { randomModel } from '../../src/random/model.ts';
import { shapes } from '../../src/random/shapes.ts';
import { run } from '../../src/run.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { random } from '../../src/text/random.ts';

const dInner = 96;
const config = { ...shapes['mamba-130m'], layers: 1, dModel: 48, dInner, dtRank: 3, vocabSize: 64 };
const CONV = 'backbone.layers.0.mixer.conv1d.weight';
const Y = 'layers.0.y';
const LARGE = [5, 40, 77];

/** The random model with the rows of two weights times powers of two. */
function planted(by: number): Program {
  const { graph, weights } = randomModel(config, 16);
  const factors = new Map([
    [CONV, by],
    ['backbone.layers.0.mixer.in_proj.weight', 1 / by],
  ]);
  const changed = [...graph.weights.keys()].map(ref => {
    const { shape, data } = weights.read(ref) as Tensor<'f32'>;
    const columns = data.length / shape[0];
    for (const row of LARGE)
      for (let i = 0; i < columns; i++) data[row * columns + i] *= factors.get(ref) ?? 1;
    return [ref, tensor(data, shape)] as const;
  });
  return { graph, weights: weightsOf(new Map(changed)) };
}
const program = planted(64);
const next = random(4);
const texts = Array.from({ length: 3 }, () => Int32Array.from({ length: 48 }, () => Math.floor(next() * 64)));

/** What the scan writes, before its site: the y of the paper. */
const yOf = (plan: Program) => run({ ...plan, graph: { ...plan.graph, result: Y } }, texts[0]).data;
const float = yOf(program);

/** ‖y − y_float‖ / ‖y_float‖ of a recipe. */
function errorOf(recipe: Recipe): number {
  const stats = calibrate(program, recipe, texts);
  const y = yOf(quantize(transform(program, recipe, stats.channels), stats));
  return size(y.map((x, i) => x - float[i])) / size(float);
}
const size = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
const withConv = (recipe: Recipe, conv: WeightScheme): Recipe => ({
  ...recipe,
  weightsAt: { ...recipe.weightsAt, conv },
});

/** The share of the integers of the convolution that are 0. */
function zeros(scheme: WeightScheme): number {
  const { data } = quantizeWeight(program.weights.read(CONV) as Tensor<'f32'>, scheme).q;
  return data.filter(q => q === 0).length / data.length;
}

it('the float model does not see the large channels', () => {
  expect(yOf(planted(1))).toEqual(float);
});

it('alone, one scale for the weight is 50 times as far off as a scale for each row', () => {
  expect(zeros(w8)).toBeGreaterThan(0.3);
  expect(zeros(w8rows)).toBeLessThan(0.01);
  expect(errorOf(withConv({}, w8))).toBeGreaterThan(0.2);
  expect(errorOf(withConv({}, w8))).toBeGreaterThan(50 * errorOf(withConv({}, w8rows)));
});

it("quamba is the paper's, with one scale, and would gain most by this word", () => {
  expect(weightScheme(recipes.quamba, 'conv')).toEqual(w8);
  expect(errorOf(recipes.quamba)).toBeGreaterThan(2 * errorOf(withConv(recipes.quamba, w8rows)));
});

it.each([
  ['quamba-rows', 5],
  ['quamba-plus', 5],
  ['dynamic-rotated-rows', 5],
  ['w4a8-rtn', 2],
  ['w4a8', 2],
  ['w4a16-rtn', 2],
  ['w4a16', 2],
] as const)('%s has a scale for each row: with one it is %s times as far off', (row, ratio) => {
  expect(weightScheme(recipes[row], 'conv')).toEqual(w8rows);
  expect(errorOf(withConv(recipes[row], w8))).toBeGreaterThan(ratio * errorOf(recipes[row]));
});
