/**
 * One layer in the shape of mamba-130m with the ranges of a trained model, which toys do not have: channels of x, of the gate
 * and of y in the thousands, dt from 4e-44 to 30, A from −6e-6 to −3000, D up to 100. golden/real_ranges.py plants them.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { type Program, weightsOf } from '../../src/graph.ts';
import type { Site } from '../../src/model/index.ts';
import { once } from '../../src/once.ts';
import { ops } from '../../src/ops/index.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { quantileOfAbs } from '../../src/quant/ranges.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { a8, clip, hadamard, type Recipe, w8 } from '../../src/quant/scheme.ts';
import { randomModel } from '../../src/random/model.ts';
import { shapes } from '../../src/random/shapes.ts';
import { interpret, run as runOnce } from '../../src/run.ts';
import { type Tensor, tensor } from '../../src/tensor.ts';
import { cut, difference, run, variants } from '../backends/feeds.ts';
import { readGolden } from '../golden/files.ts';
import { faults } from '../golden/rule.ts';

interface Plan {
  readonly seed: number;
  readonly scale: readonly (readonly [name: string, axis: 0 | 1, index: number, factor: number])[];
  readonly set: readonly (readonly [name: string, first: number, last: number, value: number])[];
  readonly groups: Readonly<Record<string, readonly number[]>>;
}
const golden = readGolden('real-ranges/layer');
const planted = golden.attrs as unknown as Plan;
const tokens = golden.inputs.tokens.data as Int32Array;
const config = { ...shapes['mamba-130m'], layers: 1, vocabSize: 64 };
const { dInner: d } = config;
const outliers = planted.groups.outliers;

/** The random model with what the golden's attributes say planted into its weights. */
const program: Program = (() => {
  const { graph, weights } = randomModel(config, planted.seed);
  const name = (short: string) => `backbone.layers.0.${short}`;
  const changed = [...graph.weights.keys()].map(ref => {
    const { shape, data } = weights.read(ref) as Tensor<'f32'>;
    const columns = shape[1] ?? 1;
    for (const [short, axis, index, factor] of planted.scale)
      if (name(short) === ref)
        for (let i = 0; i < shape[1 - axis]; i++)
          data[axis === 0 ? index * columns + i : i * columns + index] *= factor;
    for (const [short, first, last, value] of planted.set)
      if (name(short) === ref) data.fill(value, first * columns, (last + 1) * columns);
    return [ref, tensor(data, shape)] as const;
  });
  return { graph, weights: weightsOf(new Map(changed)) };
})();

/** Some columns of a matrix. */
function columns<A extends Float32Array | Float64Array>(
  { shape: [l, width], data }: { readonly shape: readonly number[]; readonly data: A },
  chosen: readonly number[],
): { shape: number[]; data: A } {
  const picked = Array.from({ length: l }, (_, t) => chosen.map(c => data[t * width + c])).flat();
  return { shape: [l, chosen.length], data: (data.constructor as typeof Float64Array).from(picked) as A };
}
const all = Array.from({ length: d }, (_, c) => c);
const ordinary = all.filter(c => !Object.values(planted.groups).flat().includes(c));

/** Every site of the layer by its word, and the logits. */
const sites: Record<string, Tensor<'f32'>> = {};
beforeAll(() => {
  sites.logits = runOnce(program, tokens, { observe: (site, _, x) => void (sites[site] = x) });
});

describe('against PyTorch', () => {
  it.each(Object.keys(golden.f64))('%s', site => {
    const [f32, f64] = [golden.f32[site], golden.f64[site]] as const;
    const wide = f64.shape[1] === d;
    const groups = wide ? { ...planted.groups, ordinary } : { all: [...Array(f64.shape[1]).keys()] };
    for (const [group, chosen] of Object.entries(groups)) {
      const of = (x: typeof f64) => columns(x as { shape: readonly number[]; data: Float64Array }, chosen);
      const theirs = { ...of(f32), dtype: 'f32' } as unknown as Tensor<'f32'>;
      const ours = { ...of(sites[site]), dtype: 'f32' } as unknown as Tensor<'f32'>;
      const rule = { f32: { y: theirs }, f64: { y: of(f64) }, out: {}, exact: () => false };
      expect(faults(rule, { y: ours }), group).toEqual([]);
    }
  });

  it('has the ranges that it is about', () => {
    const largest = (site: string, chosen: readonly number[]) =>
      columns(sites[site], chosen).data.reduce((max, x) => Math.max(max, Math.abs(x)), 0);
    for (const site of ['convIn', 'gate', 'scanOut']) {
      expect(largest(site, outliers), site).toBeGreaterThan(1000);
      expect(largest(site, ordinary), site).toBeLessThan(20);
    }
  });
});

const rows = Object.entries(recipes) as [string, Recipe][];
const stats = (recipe: Recipe) =>
  calibrate(program, recipe, [tokens], { prepare: part => prepare(wasm, part) });

describe.each(rows)('%s: finite, and the bits of the reference', (_, recipe) => {
  const reference = once(() => {
    const plan = planOf(program, recipe, stats(recipe));
    return { plan, expected: run(interpret(plan), [tokens]) };
  });
  it.each(variants)('%s', (__, backend) => {
    const { plan, expected } = reference();
    expect(expected.logits.every(Number.isFinite)).toBe(true);
    for (const [ref, { data }] of Object.entries(expected.state))
      expect((data as Float32Array).every(Number.isFinite), ref).toBe(true);
    const executable = prepare(backend, plan);
    for (const sizes of [[6], [1, 1, 4]]) {
      const actual = run(executable, cut(tokens, sizes));
      expect(difference(actual.logits, expected.logits), `${sizes}`).toBe('');
      for (const ref in expected.state)
        expect(difference(actual.state[ref].data, expected.state[ref].data), `${sizes}: ${ref}`).toBe('');
    }
    executable.dispose?.();
  });
});

describe('static ranges', () => {
  const at = (site: Site, action: NonNullable<Recipe['at']>[Site]): number => {
    const recipe: Recipe = { weights: w8, acts: a8, at: { [site]: action } };
    const found = Object.entries(stats(recipe).ranges).find(([ref]) => ref.endsWith(`.${site}`));
    return found![1];
  };

  it('absmax is the largest outlier', () => {
    const u = sites.scanIn.data;
    expect(at('scanIn', a8)).toBe(u.reduce((max, x) => Math.max(max, Math.abs(x)), 0));
  });

  it('a percentile is the quantile of the site, and falls to the ordinary channels once it leaves the outliers out', () => {
    const u = sites.scanIn.data;
    const ranges = [1, 0.99999, 0.999, 0.995, 0.99].map(p => at('scanIn', clip(p)));
    expect(ranges).toEqual([1, 0.99999, 0.999, 0.995, 0.99].map(p => quantileOfAbs(u, p)));
    for (const [i, range] of ranges.entries()) if (i) expect(range).toBeLessThanOrEqual(ranges[i - 1]);
    // 4 of 1536 channels are large, where they are positive: 0.13 %
    expect(ranges[2]).toBeGreaterThan(30);
    expect(ranges[3]).toBeLessThan(5);
  });

  /** How many of the 255 integers the ordinary channels of u use under a range. */
  const levels = (range: number) => {
    const scale = Math.fround(range / 127);
    const { data } = columns(sites.scanIn, ordinary);
    return new Set(Array.from(data, x => Math.max(-128, Math.min(127, Math.round(x / scale))))).size;
  };

  it('clipping gives the ordinary channels the levels that outliers took from them', () => {
    expect(levels(at('scanIn', a8))).toBeLessThan(4);
    expect(levels(at('scanIn', clip(0.995)))).toBeGreaterThan(60);
  });

  it('a rotation spreads the outliers of y over all channels', () => {
    const [plain, rotated] = [at('scanOut', a8), at('scanOut', hadamard)];
    expect(rotated).toBeLessThan(plain / 8);
    expect(rotated).toBeGreaterThan(plain / Math.sqrt(d)); // it keeps the length of a row
  });

  it('what is outside of a clipped range saturates, and does not wrap', () => {
    const scale = Math.fround(at('scanIn', clip(0.995)) / 127);
    const { data: x } = sites.scanIn;
    const { data: q } = ops.quantize({ x: sites.scanIn, scale: Float32Array.of(scale) }).q;
    const outside = [...x.keys()].filter(i => Math.abs(x[i] / scale) > 128.5);
    expect(outside.length).toBeGreaterThan(8);
    expect(outside.some(i => Math.abs(x[i] / scale) > 256)).toBe(true); // where 8 bits would wrap
    for (const i of outside) expect(q[i]).toBe(x[i] < 0 ? -128 : 127);
  });
});
