/** Random models by shape: the same bits everywhere, the public checkpoints' sizes, and activations that make sense. */
import { describe, expect, it } from 'vitest';
import { bytesOf } from '../../src/formats/bytes.ts';
import { fitsF16 } from '../../src/formats/half.ts';
import type { Program } from '../../src/graph.ts';
import type { Config } from '../../src/model/architecture.ts';
import { architectureOf, outlineOf, parseConfig } from '../../src/model/index.ts';
import type { MambaConfig } from '../../src/model/mamba.ts';
import { softplus } from '../../src/ops/softplus.ts';
import { hasher } from '../../src/plan/identity.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { type RecipeName, recipe } from '../../src/quant/recipes.ts';
import { draw, randomModel } from '../../src/random/model.ts';
import { nominalStats } from '../../src/random/nominal-ranges.ts';
import { configs, type ShapeName, shapes } from '../../src/random/shapes.ts';
import { type AnyKernel, interpret, run } from '../../src/run.ts';
import { sizeOf, type Tensor } from '../../src/tensor.ts';
import { hybridToys, toy, toys } from '../toy.ts';

const small = randomModel(toy.config, 1);

function hashOf({ graph, weights }: Program): string {
  const hash = hasher();
  for (const ref of [...graph.weights.keys()].sort()) hash.update(bytesOf(weights.read(ref).data));
  return hash.hex();
}
const mean = (values: Float32Array): number => values.reduce((sum, x) => sum + x, 0) / values.length;
const product = (a: Float32Array, b: Float32Array, shift = 0): number =>
  mean(a.subarray(0, a.length - shift).map((x, i) => x * b[i + shift]));

describe('the generator', () => {
  // Made by its description, in numpy and hashlib 3.12: no line of this project took part.
  it.each([
    [1, '6de34b97b2030b1c80cf7f2e85caaf729abfddc63311905401b437807211de76'],
    [-7, '8ef5f933125149ac26523c1334ab39fd12a005532a8cfc1ba5b80fc9c3561fce'],
  ])('seed %i gives the bits that its description gives', (seed, expected) => {
    expect(hashOf(randomModel(toy.config, seed))).toBe(expected);
  });

  it('is counted, not stepped: the last value of a long tensor is what the description says', () => {
    const w = draw('w', 1, [1000, 1000], 1);
    expect([...w.subarray(0, 5), w[999_999]]).toEqual([
      0.109375, -0.921875, 0.296875, 0.4140625, 0.6875, 0.234375,
    ]);
  });

  it('gives a tensor alone, in any order, and again', () => {
    const refs = [...small.graph.weights.keys()];
    const forwards = refs.map(ref => small.weights.read(ref));
    const other = randomModel(toy.config, 1);
    const backwards = refs.toReversed().map(ref => other.weights.read(ref));
    expect(backwards.toReversed()).toEqual(forwards);
  });

  it('is near normal, and no value depends on its neighbour', () => {
    const z = draw('z', 3, [400_000], 1);
    const [variance, fourth] = [2, 4].map(power => mean(z.map(x => x ** power)));
    expect(Math.abs(mean(z))).toBeLessThan(0.01);
    expect(Math.sqrt(variance)).toBeGreaterThan(0.85); // the step is rounded to a power of two, or 1.5 times one
    expect(Math.sqrt(variance)).toBeLessThan(1.2);
    expect(fourth / variance ** 2).toBeGreaterThan(2.6); // four bytes: 2.7, normal: 3, uniform: 1.8
    expect(fourth / variance ** 2).toBeLessThan(2.8);
    for (const shift of [1, 2, 3, 4, 768]) expect(Math.abs(product(z, z, shift))).toBeLessThan(0.01);
  });

  it('gives each name and each seed a stream of its own, at every shift', () => {
    const a = draw('a', 1, [20_000], 1);
    for (const other of [draw('b', 1, [20_000], 1), draw('a', 2, [20_000], 1), draw('aa', 1, [20_000], 1)]) {
      for (const shift of [0, 1, 2, 100]) expect(Math.abs(product(a, other, shift))).toBeLessThan(0.05);
      const runs = new Set(Array.from({ length: 19_996 }, (_, i) => `${a.subarray(i, i + 4)}`));
      const shared = Array.from({ length: 19_996 }, (_, i) => `${other.subarray(i, i + 4)}`);
      expect(shared.filter(text => runs.has(text))).toEqual([]);
    }
  });

  it('has only values that F16 has', () => {
    const one = { layers: 1, vocabSize: 8 };
    for (const config of [
      toy.config,
      { ...shapes['mamba-2.8b'], ...one },
      { ...shapes['mamba2-130m'], ...one },
    ]) {
      const { graph, weights } = randomModel(config, 5);
      for (const ref of graph.weights.keys())
        expect(fitsF16(weights.read(ref).data as Float32Array), ref).toBe(true);
    }
  });

  it('draws every weight of the other toys: an untied head, a norm of its own, biases', () => {
    for (const { config, text } of toys.slice(1)) {
      const model = randomModel(config, 1);
      const { data } = run(model, text);
      expect(data.every(x => Number.isFinite(x)) && new Set(data).size > 100).toBe(true);
    }
  });

  it.each(hybridToys())(
    'knows ranges of every site of $name, and gives logits that make sense',
    ({ config, text }) => {
      const model = randomModel(config, 1);
      for (const name of ['naive-static', 'quarot-style', 'quamba-ssd-int8-kv'] as const) {
        const plan = planOf(model, recipe(name), nominalStats(model, recipe(name)));
        const { data } = run(plan, text);
        expect(data.every(x => Number.isFinite(x)) && new Set(data).size > 100, name).toBe(true);
      }
    },
  );

  it('refuses what it does not draw', () => {
    const wide: MambaConfig = { ...toy.config, dState: 17 };
    expect(() => randomModel(wide, 1)).toThrow(
      new RangeError('random model: state size expected at most 16; got 17'),
    );
  });
});

const parametersOf = (config: Config): number =>
  [...outlineOf(config).stored.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);

describe('the shapes', () => {
  it.each<[ShapeName, number]>([
    ['mamba-130m', 129_135_360],
    ['mamba-370m', 371_516_416],
    ['mamba-790m', 793_204_224],
    ['mamba-1.4b', 1_372_178_432],
    ['mamba-2.8b', 2_768_345_600],
    ['mamba2-130m', 128_989_632],
    ['mamba2-370m', 368_346_624],
    ['mamba2-780m', 780_161_280],
    ['mamba2-1.3b', 1_343_757_312],
    ['mamba2-2.7b', 2_702_599_680],
    ['granite-4.0-h-350m', 340_332_224],
    ['granite-4.0-h-1b', 1_461_538_368],
    ['granite-4.0-h-micro', 3_191_396_096],
    ['falcon-h1-tiny-90m', 91_131_072],
    ['falcon-h1-0.5b', 521_411_104],
  ])('%s has as many parameters as its checkpoint: %i', (name, expected) => {
    expect(parametersOf(shapes[name])).toBe(expected);
  });

  it("as many as Codestral Mamba 7B, whose config is transformers' defaults: 7285 million", () => {
    const least = { model_type: 'mamba2', hidden_size: 4096, num_hidden_layers: 64, vocab_size: 32768 };
    expect(parametersOf(parseConfig(least, 'config.json'))).toBe(7_285_403_648);
  });

  it.each(Object.entries(configs))('%s is what its config.json says', (name, json) => {
    expect(parseConfig(json, 'config.json')).toEqual(shapes[name as ShapeName]);
  });
});

const { vocabSize } = toy.config;
/** 48 wide, as they are trained. */
const narrow = {
  'Mamba-1': { ...toy.config, dModel: 48, dInner: 96, dtRank: 3, dState: 16 },
  'Mamba-2': { ...shapes['mamba2-130m'], vocabSize, dModel: 48, heads: 6, headDim: 16, dState: 32 },
};

describe.each(Object.entries(narrow))('activations of %s', (_, config) => {
  const tokens = Int32Array.from({ length: 48 }, (_, i) => (i * 7 + 3) % vocabSize);
  const deep = randomModel({ ...config, layers: 64 }, 1);

  it('dt lies between 0.001 and 0.1, before what the token adds', () => {
    for (const ref of [...deep.graph.weights.keys()].filter(ref => /dt_proj\.bias$|dt_bias$/.test(ref))) {
      const b = deep.weights.read(ref).data as Float32Array;
      for (const dt of softplus({ x: b }).y.data) expect(dt > 0.001 && dt < 0.1).toBe(true);
    }
  });

  it('stay near one through 64 layers', () => {
    const seen = new Map<string, number[]>();
    const observe = (site: string, _: string, { data }: Tensor<'f32'>) =>
      seen.set(site, [...(seen.get(site) ?? []), Math.sqrt(mean(data.map(x => x * x)))]);
    const { data } = run(deep, tokens, { observe });
    expect(data.every(Number.isFinite)).toBe(true);
    for (const [site, sizes] of seen)
      for (const rms of sizes) {
        expect(rms, site).toBeGreaterThan(0.2);
        expect(rms, site).toBeLessThan(6);
      }
  });

  const blockSites = architectureOf(config).sites.length;
  const shallow = randomModel({ ...config, layers: 12 }, 1);
  // Unrotated, y has outliers here too, as in a trained model: half of its codes are zero. That is what Quamba mends.
  it.each<[RecipeName, number]>([
    ['naive-static', 0.6],
    ['percentile-only', 0.6],
    ['quarot-style', 0.2],
    ['hadamard-only', 0.2],
    ['quamba', 0.2],
    ['quamba-int8-head', 0.2],
    ['quamba-int8-state', 0.2],
    ['quamba-ssd', 0.2],
  ])('%s: few codes are at the ends of their range, and at most a share of %d is zero', (name, most) => {
    const scheme = recipe(name);
    const plan = planOf(shallow, scheme, nominalStats(shallow, scheme));
    const shares: { ends: number; zeros: number }[] = [];
    const counting: (reference: AnyKernel) => AnyKernel =
      reference => (inputs, attrs, outputs, dims, states) => {
        reference(inputs, attrs, outputs, dims, states);
        const codes = (outputs as Record<string, Tensor>).q.data as Int8Array;
        const share = (holds: (q: number) => boolean) => codes.filter(holds).length / codes.length;
        shares.push({ ends: share(q => q === 127 || q === -128), zeros: share(q => q === 0) });
      };
    const executable = interpret(plan, op =>
      op.name === 'quantize' ? counting(op.reference) : op.reference,
    );
    executable.open().feed(tokens);
    expect(shares.length).toBeGreaterThanOrEqual(blockSites * 12);
    for (const { ends, zeros } of shares) {
      expect(ends).toBeLessThan(0.02);
      expect(zeros).toBeLessThan(most);
    }
  });

  it('a recipe that smooths is refused in one sentence', () => {
    expect(() => nominalStats(small, recipe('smoothquant'))).toThrow(
      /^random weights: no range is known for site blockIn in basis \{"smooth":0\.5\}; /,
    );
  });
});
