/** The words beyond the paper: a scale for each channel, the rotated residual stream, a p for each layer, and its search. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Builder,
  flatten,
  type OpNode,
  type Program,
  type Ref,
  trace,
  weightsOf,
} from '../../src/graph.ts';
import { graphOf } from '../../src/model/index.ts';
import { fwht } from '../../src/ops/fwht.ts';
import { ops } from '../../src/ops/index.ts';
import { calibrate, calibrateAll } from '../../src/quant/calibrate.ts';
import { checkRecipe } from '../../src/quant/check-recipe.ts';
import { heldOutOf, planOf, samplesOf } from '../../src/quant/pipeline.ts';
import { channelRanges, rowRanges } from '../../src/quant/ranges.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { rotateResidual } from '../../src/quant/residual.ts';
import {
  a8,
  channels,
  clip,
  hadamard,
  i8,
  type Recipe,
  smooth,
  w4,
  w8,
  w8rows,
  withPercentile,
} from '../../src/quant/scheme.ts';
import { clips, searchPercentile } from '../../src/quant/search.ts';
import { transformOf } from '../../src/quant/transforms.ts';
import { nominalStats } from '../../src/random/nominal-ranges.ts';
import { interpret, run } from '../../src/run.ts';
import { sizeOf, tensor } from '../../src/tensor.ts';
import { noise, planOfToy, random, sameBits, statsOfToy, type Toy, toy, toys } from '../toy.ts';

const logitsOf = (program: Program, tokens: Int32Array): Float32Array => run(program, tokens).data;
const far = (a: Float32Array, b: Float32Array): number =>
  Math.max(...a.map((x, i) => Math.abs(x - b[i]))) / Math.max(...b.map(Math.abs));
const stepped: Recipe = { weights: w8, acts: a8, at: { scanIn: { ...clip(0.9), ...channels } } };

describe('a scale for each channel', () => {
  it('is made of its own largest |x| and the range of the site', () => {
    const plain: Recipe = { ...stepped, at: { scanIn: clip(0.9) } };
    const smoothed: Recipe = { ...stepped, at: { scanIn: smooth(0.5) } };
    for (const of of toys) {
      const ref = 'layers.1.scanIn';
      const { channels: seen, ranges } = statsOfToy(of, stepped);
      const most = statsOfToy(of, plain).ranges[ref];
      const largest = statsOfToy(of, smoothed).channels[ref];
      const tokens = of.samples.reduce((sum, { length }) => sum + length, 0);
      expect(seen[ref]).toEqual(channelRanges(largest, tokens, most));
      expect(new Set([...seen[ref]].map(x => x === most)), of.name).toEqual(new Set([true, false]));
      expect(ranges[ref]).toBe(127);
      const { [ref]: _, 'layers.0.scanIn': __, ...others } = ranges;
      const { [ref]: ___, 'layers.0.scanIn': ____, ...same } = statsOfToy(of, plain).ranges;
      expect(others).toEqual(same);
    }
  });

  it('is its own largest |x|, but no more than the range, after 128 samples of 512 tokens', () => {
    const largest = Float32Array.of(0, 1e-30, 0.1, 2.5, 3, 7);
    for (const tokens of [65536, 65537, 1e6])
      expect([...channelRanges(largest, tokens, 3)]).toEqual([...largest.map(x => Math.min(x, 3))]);
    expect([...channelRanges(largest, 1, 3)]).toEqual(new Array(6).fill(3));
    expect([...channelRanges(Float32Array.of(0, 1, 2), 256, 2)]).toEqual([1, 1.5, 2]);
  });

  it('goes from the range to its own largest |x| as more is seen, and never beyond', () => {
    const size = fc.float({ min: 0, max: 1e6, noNaN: true });
    const seen = fc.integer({ min: 1, max: 1 << 20 });
    fc.assert(
      fc.property(size, size, seen, seen, (largest, range, a, b) => {
        const at = (tokens: number) => channelRanges(Float32Array.of(largest), tokens, range)[0];
        const [few, many] = [at(Math.min(a, b)), at(Math.max(a, b))];
        expect(few).toBeLessThanOrEqual(range);
        expect(many).toBeLessThanOrEqual(few);
        expect(many).toBeGreaterThanOrEqual(Math.min(largest, range));
      }),
    );
  });

  it('of a row of a state goes the same way in logarithms', () => {
    const largest = Float32Array.of(0, 1, 16, 4096);
    expect(rowRanges(largest, 65536)).toEqual(largest);
    expect([...rowRanges(largest, 256)]).toEqual([0, 64, 256, 4096]);
    expect([...rowRanges(largest, 1)].slice(1)).toEqual([4096, 4096, 4096]);
    expect([...rowRanges(new Float32Array(2), 1)]).toEqual([0, 0]);
    const ref = 'layers.0.ssmState';
    for (const of of toys.slice(0, 3)) {
      const sample = of.samples[0].slice(0, 16);
      const sequence = interpret(of.program).open();
      sequence.feed(sample);
      const { data, shape } = sequence.save().values.get(ref)!;
      const [rows, n] = shape;
      const most = Float32Array.from({ length: rows }, (_, c) =>
        Math.max(...Array.from(data.subarray(c * n, (c + 1) * n), Math.abs)),
      );
      const seen = calibrate(of.program, recipes['quamba-int8-state'], [sample]).channels;
      expect(seen[ref], of.name).toEqual(rowRanges(most, 16));
    }
  });

  it('from one short sample costs no more than one scale for all of them', () => {
    for (const of of toys.slice(0, 3))
      for (const tokens of [4, 16, 32]) {
        const samples = [of.samples[0].slice(0, tokens)];
        const error = (recipe: Recipe) => {
          const plan = planOf(of.program, recipe, calibrate(of.program, recipe, samples));
          return far(logitsOf(plan, of.text), logitsOf(of.program, of.text));
        };
        expect(error(recipes['quamba-channels']), `${of.name} ${tokens}`).toBeLessThan(
          1.25 * error(recipes.quamba),
        );
      }
  });

  it('leaves a scale of 1, so that a step of channel j is its largest |x| / 127', () => {
    const { weights } = planOfToy(toy, stepped);
    expect(weights.read('layers.0.scanIn.scale').data).toEqual(Float32Array.of(1));
    const seen = statsOfToy(toy, stepped).channels['layers.0.scanIn'];
    expect(weights.read('layers.0.scanIn.factors').data).toEqual(
      seen.map(x => Math.max(x, Math.fround(1e-5)) / 127),
    );
  });

  it('rounds no channel by more than half of its own step, unless it is clipped', () => {
    const t = transformOf('channels')!;
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: Math.fround(1e-3), max: 1e3, noNaN: true }), { minLength: 1, maxLength: 9 }),
        fc.infiniteStream(fc.float({ min: -1, max: 1, noNaN: true })),
        (ranges, unit) => {
          const n = ranges.length;
          const c = t.factors!(Float32Array.from(ranges), []);
          const x = Float32Array.from(ranges, range => Math.fround(range * unit.next().value));
          const steps = ops.scaleChannels({ x: tensor(x, [1, n]), c }, { inverse: true }).y;
          const { q } = ops.quantize({ x: steps, scale: tensor(Float32Array.of(1)) });
          for (let j = 0; j < n; j++)
            expect(Math.abs(q.data[j] * c.data[j] - x[j])).toBeLessThanOrEqual(0.5001 * c.data[j]);
        },
      ),
    );
  });

  it('is fused with the convolution and the scan, whose nodes stay the same', () => {
    const fused = planOfToy(toy, stepped).graph.nodes.filter(node => node.kind === 'fused');
    const bodies = fused.map(node => node.body.map(({ op }) => op.name).join(' '));
    expect(bodies).toContain('dequantize causal-conv1d scale-channels quantize');
    expect(bodies).toContain(
      'dequantize softplus dequantize scale-channels dequantize dequantize dequantize selective-scan',
    );
  });

  it('of random weights is one for all', () => {
    const recipe = recipes['quamba-plus'];
    const stats = nominalStats(toy.program, recipe);
    expect(stats.ranges['layers.0.scanIn']).toBe(127);
    expect(stats.channels['layers.0.scanIn']).toEqual(new Float32Array(48).fill(7));
    expect(logitsOf(planOf(toy.program, recipe, stats), toy.text).every(Number.isFinite)).toBe(true);
  });
});

describe('a rotated residual stream', () => {
  const turned = (of: Toy) => rotateResidual(of.program);

  it('computes the same', () => {
    for (const of of toys)
      expect(far(logitsOf(turned(of), of.text), logitsOf(of.program, of.text)), of.name).toBeLessThan(1e-5);
  });

  it('is Q h after every layer', () => {
    for (const of of toys) {
      const at = (program: Program, ref: Ref) =>
        logitsOf({ ...program, graph: { ...program.graph, result: ref } }, of.text);
      for (const ref of ['layers.0.h', 'layers.1.h']) {
        const h = at(of.program, ref);
        const expected = fwht({ x: tensor(h, [of.text.length, of.config.dModel]) }).y.data;
        expect(far(at(turned(of), ref), expected), `${of.name} ${ref}`).toBeLessThan(1e-5);
      }
    }
  });

  it('costs two transforms where embedding and head are one matrix, and nothing where they are two', () => {
    const count = (of: Toy, name: string) =>
      flatten(turned(of).graph.nodes).filter(node => node.op.name === name).length;
    expect(toys.map(of => [of.config.tieEmbeddings, count(of, 'fwht')])).toEqual([
      [true, 2],
      [false, 0],
      [true, 2],
    ]);
    const size = ({ graph }: Program) =>
      [...graph.weights.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    for (const of of toys) expect(size(turned(of)), of.name).toBeLessThanOrEqual(size(of.program));
  });

  it('takes the weight out of the norms that only linears read, and keeps the others', () => {
    const norms = (of: Toy) =>
      flatten(turned(of).graph.nodes).flatMap(node =>
        node.op.name === 'rms-norm' && /normed$/.test(node.out.y) ? [[node.out.y, 'w' in node.in]] : [],
      );
    expect(norms(toys[0])).toEqual([
      ['layers.0.normed', false],
      ['layers.1.normed', false],
      ['normed', true],
    ]);
    expect(norms(toys[1])).toContainEqual(['normed', false]);
  });

  it('is given plain to whoever else reads it', () => {
    const graph = trace((g, tokens) => {
      const h = g.op('h', ops.embedding, { tokens, w: g.weight('table', [8, 12]) });
      return g.op('both', ops.add, {
        x: g.op('a', ops.silu, { x: h }),
        y: g.op('b', ops.softplus, { x: h }),
      });
    });
    const program = {
      graph,
      weights: weightsOf(new Map([['table', tensor(noise(96, random(3)), [8, 12])]])),
    };
    const after = rotateResidual(program);
    expect(flatten(after.graph.nodes).map(node => node.op.name)).toEqual(
      'embedding fwht silu softplus add'.split(' '),
    );
    const text = Int32Array.of(1, 7, 2);
    expect(far(logitsOf(after, text), logitsOf(program, text))).toBeLessThan(1e-5);
  });

  /** A program on the stream `h` f32[l, 12], with the weights that it names. */
  const onStream = (rest: (g: Builder, h: Ref) => Ref): Program => {
    const graph = trace((g, tokens) =>
      rest(g, g.op('h', ops.embedding, { tokens, w: g.weight('table', [8, 12]) })),
    );
    const next = random(3);
    const tensors = [...graph.weights].map(
      ([ref, { shape }]) => [ref, tensor(noise(sizeOf(shape), next), shape)] as const,
    );
    return { graph, weights: weightsOf(new Map(tensors)) };
  };
  it.each<[string, string, (g: Builder, h: Ref) => Ref]>([
    [
      'what no linear wrote is rotated before it is added',
      'embedding fwht silu fwht add fwht',
      (g, h) => g.op('sum', ops.add, { x: h, y: g.op('gated', ops.silu, { x: h }) }),
    ],
    [
      'a linear reads it without a norm, and folds',
      'embedding linear',
      (g, h) => g.op('y', ops.linear, { x: h, w: g.weight('w', [5, 12]) }),
    ],
    [
      'a linear whose weight is read twice reads it plain',
      'embedding fwht linear linear',
      (g, h) =>
        g.op('z', ops.linear, {
          x: g.op('y', ops.linear, { x: h, w: g.weight('w', [12, 12]) }),
          w: g.weight('w', [12, 12]),
        }),
    ],
    ['it is the result', 'embedding fwht', (_, h) => h],
    [
      'a norm of it is the result',
      'embedding fwht rms-norm',
      (g, h) => g.op('normed', ops.rmsNorm, { x: h, w: g.weight('norm', [12]) }),
    ],
    [
      'what is added to it is read by others too',
      'embedding linear fwht add fwht silu add',
      (g, h) => {
        const y = g.op('y', ops.linear, { x: h, w: g.weight('w', [12, 12]) });
        const sum = g.op('sum', ops.add, { x: h, y });
        return g.op('end', ops.add, { x: g.op('of', ops.silu, { x: y }), y: sum });
      },
    ],
  ])('where %s, it computes the same', (_, nodes, rest) => {
    const program = onStream(rest);
    const after = rotateResidual(program);
    const text = Int32Array.of(1, 7, 2);
    expect(far(logitsOf(after, text), logitsOf(program, text))).toBeLessThan(1e-5);
    expect(
      flatten(after.graph.nodes)
        .map(node => node.op.name)
        .sort(),
    ).toEqual(nodes.split(' ').sort());
  });

  it('begins with a linear too, where something is added to what it writes', () => {
    const program = onStream((g, h) => {
      const read = g.op('read', ops.silu, { x: h });
      const x = g.op('x', ops.linear, { x: read, w: g.weight('in', [8, 12]), b: g.weight('bias', [8]) });
      const y = g.op('y', ops.linear, { x: g.op('n', ops.rmsNorm, { x }), w: g.weight('w', [8, 8]) });
      const sum = g.op('sum', ops.add, { x, y });
      return g.op('y2', ops.linear, { x: sum, w: g.weight('out', [5, 8]) });
    });
    const after = rotateResidual(program);
    const text = Int32Array.of(1, 7, 2);
    expect(far(logitsOf(after, text), logitsOf(program, text))).toBeLessThan(1e-5);
    expect([...after.graph.weights.keys()].sort()).toEqual(
      ['bias', 'in', 'out', 'table', 'w'].map(ref => `${ref}.residual`),
    );
  });

  it('is refused where there is none', () => {
    const graph = trace((_, tokens) => tokens);
    expect(() => rotateResidual({ graph, weights: weightsOf(new Map()) })).toThrow(
      new RangeError('recipe.residual: the program has no residual stream'),
    );
  });

  it('goes with factors that are made from channels of the rotated stream', () => {
    const both: Recipe = { weights: w8, acts: a8, at: { blockIn: smooth(0.5) }, residual: 'hadamard' };
    const { channels: seen } = statsOfToy(toy, both);
    const plain = statsOfToy(toy, { ...both, residual: undefined }).channels;
    expect(far(seen['layers.0.blockIn'], plain['layers.0.blockIn'])).toBeGreaterThan(0.1);
    const quantized = logitsOf(planOfToy(toy, both), toy.text);
    expect(far(quantized, logitsOf(toy.program, toy.text))).toBeLessThan(0.5);
  });
});

describe('a percentile for each layer', () => {
  it('is that of each layer', () => {
    const at = (p: number | number[]) => statsOfToy(toy, withPercentile(recipes.quamba, p)).ranges;
    const each = at([0.9, 0.99]);
    expect(each['layers.0.scanIn']).toBe(at(0.9)['layers.0.scanIn']);
    expect(each['layers.1.scanIn']).toBe(at(0.99)['layers.1.scanIn']);
    expect(each['layers.1.scanIn']).not.toBe(at(0.9)['layers.1.scanIn']);
  });

  it('is refused where there are not as many as layers', () => {
    expect(() => calibrate(toy.program, withPercentile(recipes.quamba, [0.9]), toy.samples)).toThrow(
      new RangeError('recipe.at.scanIn.range.percentile expected one p or 2, one for each layer; got 1'),
    );
  });
});

describe('calibrating several recipes at once', () => {
  const family: readonly Recipe[] = [
    recipes.quamba,
    withPercentile(recipes.quamba, 0.9),
    recipes['quamba-rows'],
    recipes['quamba-clipped'],
    { ...recipes['quamba-channels'], weights: w8rows },
  ];

  it('sees what each of them sees alone', () => {
    for (const of of toys)
      expect(calibrateAll(of.program, family, of.samples)).toEqual(
        family.map(recipe => statsOfToy(of, recipe)),
      );
  });

  it('takes the passes of one', () => {
    let most = 0;
    calibrateAll(toy.program, family, toy.samples, { onProgress: (_, total) => (most = total) });
    expect(most).toBe(toy.samples.length);
  });
});

it('a state is calibrated where no site comes after it, or there is none at all', () => {
  const graph = trace((g, tokens) => {
    const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [8, 12]) });
    const conv = { x, w: g.weight('w', [12, 4]), past: g.state('convState', [12, 3]) };
    return g.op('y', ops.linear, { x: g.op('conv', ops.causalConv1d, conv), w: g.weight('head', [8, 12]) });
  });
  const next = random(4);
  const tensors = [...graph.weights].map(
    ([ref, { shape }]) => [ref, tensor(noise(sizeOf(shape), next), shape)] as const,
  );
  const program = { graph, weights: weightsOf(new Map(tensors)) };
  const recipe: Recipe = { states: { convState: i8 } };
  const text = Int32Array.of(1, 7, 2, 5);
  const stats = calibrate(program, recipe, [text]);
  expect(Object.keys(stats.channels)).toEqual(['convState']);
  expect(far(logitsOf(planOf(program, recipe, stats), text), logitsOf(program, text))).toBeLessThan(0.05);
});

it('a size without a Hadamard matrix is refused by name, before anything is measured', () => {
  const graph = trace((g, tokens) =>
    g.site('scanOut', g.op('x', ops.embedding, { tokens, w: g.weight('table', [8, 7]) })),
  );
  const program = { graph, weights: weightsOf(new Map()) };
  const sentence = (what: string) =>
    new RegExp(`^calibrate: the recipe rotates ${what}, and 7 has no Hadamard matrix \\(n must be`);
  const text = [Int32Array.of(1)];
  expect(() => calibrate(program, { at: { scanOut: hadamard } }, text)).toThrow(sentence('scanOut'));
  expect(() => calibrate(program, { residual: 'hadamard' }, text)).toThrow(sentence('the residual stream'));
});

it('a weight whose input is no site is not rounded by GPTQ, which is told by name', () => {
  const graph = trace((g, tokens) => {
    const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [8, 12]) });
    const site = g.site('blockIn', x);
    const read = g.op('read', ops.linear, { x: site, w: g.weight('in', [12, 12], 'inProj') });
    return g.op('out', ops.linear, { x: read, w: g.weight('head', [8, 12], 'head') });
  });
  const weights = weightsOf(new Map());
  const recipe: Recipe = { weights: w4, weightsAt: { head: w4 } };
  expect(() => planOf({ graph, weights }, recipe)).toThrow(
    new Error('quantize: GPTQ cannot round head, because what linear out reads is no site'),
  );
});

describe('the search', () => {
  const ps = [1, 0.95, 0.9, 0.8];
  const recipe: Recipe = {
    weights: w8,
    acts: a8,
    at: { scanIn: { ...clip(0.99999), ...channels }, scanOut: hadamard },
  };
  /** Small where the steps of each layer's u are near to what is wanted. */
  const near = (wanted: readonly number[], of: Recipe = recipe) => {
    const goal = wanted.map(
      (p, layer) => statsOfToy(toy, withPercentile(of, p)).channels[`layers.${layer}.scanIn`],
    );
    return ({ weights }: Program) =>
      goal.reduce((sum, channel, layer) => {
        const { data } = weights.read(`layers.${layer}.scanIn.factors`);
        return sum + (data as Float32Array).reduce((a, x, j) => a + Math.abs(127 * x - channel[j]), 0);
      }, 0);
  };

  it('finds the best p, and gives the statistics of its recipe', () => {
    for (const p of ps) {
      const found = searchPercentile(toy.program, recipe, toy.samples, near([p, p]), { percentiles: ps });
      expect(found.percentile).toBe(p);
      expect(found.score).toBe(Math.min(...found.trials.map(trial => trial.score)));
      expect(found.trials.map(trial => trial.percentile)).toEqual(ps);
      expect(found.recipe).toEqual(withPercentile(recipe, p));
      expect(found.stats).toEqual(statsOfToy(toy, found.recipe));
    }
  });

  it('finds a p for each layer', () => {
    const score = near([0.8, 0.95]);
    const seen: number[] = [];
    const found = searchPercentile(toy.program, recipe, toy.samples, score, {
      percentiles: ps,
      perLayer: true,
      onTrial: (_, done, total) => seen.push(done, total),
    });
    expect(found.percentile).toEqual([0.8, 0.95]);
    expect(found.stats).toEqual(statsOfToy(toy, withPercentile(recipe, [0.8, 0.95])));
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => [i + 1, 10]).flat());
    expect(
      sameBits(
        logitsOf(planOf(toy.program, found.recipe, found.stats), toy.text),
        logitsOf(planOfToy(toy, found.recipe), toy.text),
      ),
    ).toBe(true);
  });

  it('gives the Hessians of the channels of the best p', () => {
    const four: Recipe = { ...recipe, weights: w4, weightsAt: { conv: w8 } };
    const found = searchPercentile(toy.program, four, toy.samples, near([0.8, 0.8], four), {
      percentiles: ps,
    });
    expect(found.percentile).toBe(0.8);
    expect(found.stats.hessians).toHaveProperty(['layers.0.scanIn']);
    expect(found.stats).toEqual(statsOfToy(toy, found.recipe));
  });

  it('takes the first of the best', () => {
    const found = searchPercentile(toy.program, recipe, toy.samples, () => 1, {
      percentiles: ps,
      perLayer: true,
    });
    expect(found.percentile).toBe(1);
  });

  it('has nothing to do where nothing is clipped', () => {
    expect(Object.entries(recipes).flatMap(([name, row]) => (clips(row) ? name : []))).toContain('quamba');
    expect(() => searchPercentile(toy.program, recipes['naive-static'], toy.samples, () => 0)).toThrow(
      new RangeError('search: the recipe has no percentile range to choose a p for'),
    );
  });
});

describe('held-out text', () => {
  const place = (window: Int32Array) => [window[0], window.at(-1)!];

  it('is between the samples, and touches none', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 9 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 50 }),
        (count, window, held, more) => {
          const text = Int32Array.from(
            { length: (count - 1) * (2 * window + 1) + window + more },
            (_, i) => i,
          );
          const taken = samplesOf(text, count, window).map(place);
          const out = heldOutOf(text, count, window, held).map(place);
          expect(out.length).toBe(Math.min(held, count - 1));
          const all = [...taken, ...out].sort(([a], [b]) => a - b);
          for (let i = 1; i < all.length; i++) expect(all[i][0]).toBeGreaterThan(all[i - 1][1]);
          expect(out.every(([first, last]) => last - first + 1 === window)).toBe(true);
        },
      ),
    );
  });

  it('needs room', () => {
    expect(() => heldOutOf(new Int32Array(100), 5, 20, 2)).toThrow(
      new RangeError(
        'calibration text expected room for a window of 20 tokens between two of its 5 samples; got 100 tokens',
      ),
    );
  });
});

// A node's inputs by their op, to see that nothing of the float model is left behind.
it('no row keeps a weight that it folded', () => {
  for (const of of toys) {
    const nodes: readonly OpNode[] = flatten(planOfToy(of, recipes['quamba-plus']).graph.nodes);
    const norms = nodes.flatMap(node => (node.op.name === 'rms-norm' && node.in.w ? node.in.w : []));
    expect(
      norms.filter(ref => /layers\.\d+\.norm\.weight/.test(ref)),
      of.name,
    ).toEqual([]);
  }
});

describe('a recipe of which no plan can be made', () => {
  const four = (group: number, rounding: 'nearest' | 'gptq') =>
    ({ bits: 4, per: { group }, rounding }) as const;
  it.each<[string, Recipe]>([
    [
      'backbone.embeddings.weight is a weight of embedding; rounding gptq is for those of linear',
      { weightsAt: { embedding: four(8, 'gptq') } },
    ],
    [
      'backbone.layers.0.mixer.conv1d.weight is a weight of causal-conv1d; rounding gptq is for those of linear',
      { weights: four(8, 'gptq') },
    ],
    [
      'backbone.layers.0.mixer.conv1d.weight has scales for groups of columns, which only a linear can read',
      { acts: a8, weightsAt: { conv: { bits: 8, per: { group: 2 } } } },
    ],
    [
      'groups of 5 do not divide 24 columns',
      { acts: a8, weightsAt: { inProj: { bits: 8, per: { group: 5 } } } },
    ],
  ])('is refused before anything is calibrated: %s', (says, scheme) => {
    expect(() => checkRecipe({ name: 'mine', scheme }, toy.config, toy.program.graph)).toThrow(
      `quantize: ${says}`,
    );
  });

  it('names the width that cannot be rotated, not a count of the same number', () => {
    const config = { ...toy.config, layers: 6, dModel: 6, vocabSize: 6 };
    expect(() =>
      checkRecipe({ name: 'mine', scheme: { residual: 'hadamard' } }, config, graphOf(config)),
    ).toThrow('recipe mine rotates the residual stream, and d_model 6 has no');
  });

  it('and every row of the table has one', () => {
    for (const { config, program } of toys)
      for (const [name, scheme] of Object.entries<Recipe>(recipes))
        checkRecipe({ name, scheme }, config, program.graph);
  });
});
