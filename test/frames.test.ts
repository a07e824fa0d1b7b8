/** Programs that read frames instead of token ids: fed, cut, quantized, saved, and refused, as those of tokens are. */
import { describe, expect, it } from 'vitest';
import { prepare } from '../src/backends/backend.ts';
import { openPlan } from '../src/backends/cuda/plan.ts';
import { backends } from '../src/backends/index.ts';
import { fromBytes } from '../src/formats/bytes.ts';
import { type Program, trace, weightsOf } from '../src/graph.ts';
import { block } from '../src/model/mamba.ts';
import { ops } from '../src/ops/index.ts';
import { calibrate, needsCalibration } from '../src/quant/calibrate.ts';
import { loadPlan, savePlan } from '../src/quant/checkpoint.ts';
import { planOf } from '../src/quant/pipeline.ts';
import { recipes } from '../src/quant/recipes.ts';
import type { Recipe } from '../src/quant/scheme.ts';
import { run } from '../src/run.ts';
import { sizeOf, tensor } from '../src/tensor.ts';
import { concat } from './formats/file.ts';
import { noise, random, sameBits } from './toy.ts';

const WIDTH = 5;
const next = random(7);
const config = { dModel: 24, dInner: 48, dState: 4, dConv: 4, dtRank: 2, normEps: 1e-5 };
const graph = trace((g, frames) => {
  const first = { x: frames, w: g.weight('in', [24, WIDTH]), b: g.weight('bias', [24]) };
  let h = g.op('h', ops.linear, first);
  for (let layer = 0; layer < 2; layer++)
    h = block(g.scope(`layers.${layer}`), { ...config, useBias: true, useConvBias: true }, layer, h);
  const normed = g.op('normed', ops.rmsNorm, { x: h, w: g.weight('norm.weight', [24]) });
  return g.op('scores', ops.linear, { x: g.site('headIn', normed), w: g.weight('head', [6, 24], 'head') });
}, WIDTH);
const tensors = [...graph.weights].map(([ref, { shape }]) => {
  const data = noise(sizeOf(shape), next, (shape[1] ?? 1) ** -0.5);
  return [ref, tensor(ref.endsWith('norm.weight') ? data.map(x => 1 + x / 4) : data, shape)] as const;
});
const program: Program = { graph, weights: weightsOf(new Map(tensors)) };
const framesOf = (count: number) => noise(count * WIDTH, next);
const samples = [framesOf(30), framesOf(20)];
const sound = framesOf(150); // more than a backend takes at once
const planFor = (recipe: Recipe): Program =>
  planOf(program, recipe, needsCalibration(program, recipe) ? calibrate(program, recipe, samples) : {});

describe.each(['fp32', 'quamba', 'quamba-plus', 'quamba-int8-state', 'dynamic', 'w4a16-rtn'] as const)(
  '%s',
  name => {
    const row: Recipe = { ...recipes[name], optional: ['embedding'] };
    const plan = planFor(row);
    const { data } = run(plan, sound);

    it('is near to the float program', () => {
      const float = run(program, sound).data;
      const far = Math.max(...data.map((x, i) => Math.abs(x - float[i]))) / Math.max(...float.map(Math.abs));
      expect(far).toBeLessThan(name === 'w4a16-rtn' ? 0.5 : 0.3);
    });

    it.each(Object.values(backends))('has the same bits in any cut on $name', backend => {
      const executable = prepare(backend, plan);
      for (const sizes of [[150], [1, 1, 128, 20]]) {
        const sequence = executable.open();
        let at = 0;
        const rows = sizes.flatMap(size => [
          ...sequence.feed(sound.subarray(at * WIDTH, (at += size) * WIDTH)).data,
        ]);
        expect(sequence.position).toBe(150);
        expect(sameBits(Float32Array.from(rows), data)).toBe(true);
      }
      executable.dispose?.();
    });
  },
);

describe.each(Object.values(backends))('a sequence of frames on $name', backend => {
  const executable = prepare(backend, planFor(recipes.quamba));
  const part = (from: number, to: number) => sound.subarray(from * WIDTH, to * WIDTH);

  it('is saved, forked and fed beside others', () => {
    const a = executable.open();
    a.feed(part(0, 9));
    const b = executable.open(a.save());
    const alone = a.fork().feed(part(9, 20)).data;
    const [one, other] = executable.feed([
      { sequence: a, tokens: part(9, 20) },
      { sequence: b, tokens: part(9, 12) },
    ]);
    expect(sameBits(one.data, alone)).toBe(true);
    expect(sameBits(other.data, alone.slice(0, other.data.length))).toBe(true);
  });

  it('is as it was after a feed that failed, also when more values were fed than are kept', () => {
    const wide = 9000; // eight frames are more than 2^16 values
    const ofWide = trace((g, frames) => {
      const x = g.op('x', ops.linear, { x: frames, w: g.weight('w', [2, wide]) });
      const past = g.state('convState', [2, 3]);
      return g.site('headIn', g.op('y', ops.causalConv1d, { x, w: g.weight('k', [2, 4]), past }));
    }, wide);
    const made = [...ofWide.weights].map(
      ([ref, { shape }]) => [ref, tensor(noise(sizeOf(shape), next), shape)] as const,
    );
    const wideOne = prepare(backend, { graph: ofWide, weights: weightsOf(new Map(made)) });
    const [sequence, other] = [wideOne.open(), wideOne.open()];
    for (const count of [5, 4, 2]) {
      const frames = noise(count * wide, next);
      for (const one of [sequence, other]) one.feed(frames);
      const observe = () => {
        throw new Error('seen');
      };
      expect(() => sequence.feed(frames, { observe })).toThrow('seen');
      expect(sequence.save()).toEqual(other.save());
    }
    wideOne.dispose?.();
  });

  it.each<[string, unknown]>([
    ['feed: expected the frames as a Float32Array', Int32Array.of(1, 2, 3, 4, 5)],
    ['feed: expected at least one frame; got none', new Float32Array(0)],
    ['feed: expected frames of 5 values; got 7 values', new Float32Array(7)],
    [
      'feed: expected finite values; got NaN at [1, 2]',
      Float32Array.of(0, 0, 0, 0, 0, 0, 0, Number.NaN, 0, 0),
    ],
  ])('%s', (sentence, wrong) => {
    const sequence = executable.open();
    expect(() => sequence.feed(wrong as Float32Array)).toThrow(sentence);
    expect(sequence.position).toBe(0);
  });
});

it('tokens are no frames', () => {
  const ofTokens = trace((g, tokens) => g.op('y', ops.embedding, { tokens, w: g.weight('t', [2, 2]) }));
  const weights = weightsOf(new Map([['t', tensor(new Float32Array(4), [2, 2])]]));
  expect(() => run({ graph: ofTokens, weights }, new Float32Array(2))).toThrow(
    new TypeError('feed: expected the tokens as an Int32Array'),
  );
});

it('a plan of frames comes back from its file', () => {
  const plan = planFor(recipes.quamba);
  const about = { architecture: 'spotter', layers: 2, vocabSize: 6 };
  const info = {
    config: about,
    recipe: { name: 'quamba', scheme: recipes.quamba },
    source: 'x',
    calibration: null,
  };
  const loaded = loadPlan(fromBytes('spotter', concat(savePlan(plan, info))));
  expect(loaded.plan.graph).toEqual(plan.graph);
  expect(sameBits(run(loaded.plan, sound).data, run(plan, sound).data)).toBe(true);
});

it('CUDA says what it does not run', () => {
  expect(() => openPlan({} as never, planFor(recipes.dynamic), {})).toThrow(
    new Error('backend cuda: a plan reads token ids; this one reads frames, which wasm and the reference do'),
  );
});

it.each([0, -1, 1.5, Number.NaN])('a width of %d is refused', width => {
  expect(() => prepare(backends.reference, { ...program, graph: { ...graph, width } })).toThrow(
    `program.width expected a whole number >= 1; got ${width}`,
  );
});
