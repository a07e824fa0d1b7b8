/** Every row of the recipe table, by the same laws; and what is between a recipe and a file. */
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors, type Writable, writeSafetensors } from '../../src/formats/safetensors.ts';
import {
  flatten,
  type OpNode,
  type Program,
  type Ref,
  trace,
  weightsOf,
  withNodes,
} from '../../src/graph.ts';
import { ops } from '../../src/ops/index.ts';
import { fuse, patterns, unfuse } from '../../src/plan/fuse.ts';
import { render } from '../../src/plan/render.ts';
import { calibrate, needsCalibration, statsSizes } from '../../src/quant/calibrate.ts';
import { loadPlan, savePlan, verifyPlan } from '../../src/quant/checkpoint.ts';
import { quantize, transform } from '../../src/quant/lower.ts';
import { planOf, samplesOf } from '../../src/quant/pipeline.ts';
import { type RecipeName, recipe as recipeOf, recipes } from '../../src/quant/recipes.ts';
import {
  a8,
  a8dynamic,
  channels,
  clip,
  hadamard,
  parseRecipe,
  type Recipe,
  siteAction,
  w8,
  weightScheme,
  withPercentile,
} from '../../src/quant/scheme.ts';
import { loadStats, type StatsInfo, saveStats } from '../../src/quant/stats.ts';
import { transformOf } from '../../src/quant/transforms.ts';
import { run } from '../../src/run.ts';
import { tensor } from '../../src/tensor.ts';
import { concat } from '../formats/file.ts';
import { noise, planOfToy, random, sameBits, statsOfToy, type Toy, toy, toy2, toys } from '../toy.ts';

const names = Object.keys(recipes) as RecipeName[];
const table: Readonly<Record<RecipeName, Recipe>> = recipes;

const logitsOf = (program: Program, tokens: Int32Array): Float32Array => run(program, tokens).data;
const floatLogits = (of: Toy) => logitsOf(of.program, of.text);

/** ‖a − b‖ / ‖b‖. */
function distance(a: Float32Array, b: Float32Array): number {
  const size = (values: Iterable<number>) => Math.sqrt([...values].reduce((sum, x) => sum + x * x, 0));
  return size(a.map((x, i) => x - b[i])) / size(b);
}
const errorOf = (of: Toy, recipe: Recipe) =>
  distance(logitsOf(planOfToy(of, recipe), of.text), floatLogits(of));

/** Every leaf of a recipe with its path: `acts.basis "none"`. */
function leaves(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [`${path} ${JSON.stringify(value)}`];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, path ? `${path}.${key}` : key));
}
const added = (to: Recipe, from: Recipe) => leaves(to).filter(leaf => !leaves(from).includes(leaf));

describe.each(names)('%s', name => {
  const recipe = table[name];

  it('transforms without changing the function', () => {
    for (const of of toys) {
      const turned = transform(of.program, recipe, statsOfToy(of, recipe).channels);
      expect(distance(logitsOf(turned, of.text), floatLogits(of)), of.name).toBeLessThan(1e-5);
    }
  });

  it('has the plan that it had', async () => {
    await expect(`${render(planOfToy(toy, recipe))}\n`).toMatchFileSnapshot(`plans/${name}.txt`);
  });

  it('loses little to rounding', () => {
    for (const of of toys) {
      const error = errorOf(of, recipe);
      if (needsCalibration(of.program, recipe) || recipe.weights)
        expect(error, of.name).toBeGreaterThan(1e-4);
      else expect(error, of.name).toBe(0);
      const coarse = (recipe.weights as Recipe['weights'])?.bits === 4;
      expect(error, of.name).toBeLessThan(coarse ? 0.7 : 0.6);
    }
  });

  it('fuses into the same bits, and comes apart again', () => {
    for (const of of toys) {
      const fused = planOfToy(of, recipe);
      const apart = unfuse(fused);
      const stats = statsOfToy(of, recipe);
      const base = quantize(transform(of.program, recipe, stats.channels), stats);
      const bits = logitsOf(base, of.text);
      for (const plan of [fused, apart, fuse(apart)])
        expect(sameBits(logitsOf(plan, of.text), bits)).toBe(true);
      const inOrder = (nodes: readonly OpNode[]) => nodes.map(node => Object.values(node.out)[0]).sort();
      expect(inOrder(flatten(fused.graph.nodes))).toEqual(inOrder(flatten(base.graph.nodes)));
      for (const node of fused.graph.nodes) {
        if (node.kind !== 'fused') continue;
        const { anchor, before, after } = patterns.find(p => p.name === node.name)!;
        const ops = node.body.map(({ op }) => op.name);
        expect(ops.length).toBeGreaterThan(1);
        expect(ops).toContain(anchor);
        expect([anchor, ...before, ...after]).toEqual(expect.arrayContaining(ops));
      }
    }
  });

  it('makes every linear whose input and weight it quantizes an integer one, and no other', () => {
    for (const of of toys) {
      const site = siteOf(of.program);
      const nodes = flatten(planOfToy(of, recipe).graph.nodes);
      for (const node of floatNodes(of.program)) {
        const quantized =
          quantizedSites(of.program, recipe).has(node.in.x) && weightScheme(recipe, node.role);
        const made = nodes.find(n => n.out.y === node.out.y)!;
        const bits = weightScheme(recipe, node.role)?.bits;
        if (node.op.name === 'linear') expect(made.op.name).toBe(quantized ? `linear-i${bits}` : 'linear');
        if (quantized && node.op.name === 'linear') expect(made.in.x).toBe(node.in.x);
        if (node.op.name === 'selective-scan' || node.op.name === 'causal-conv1d')
          expect(made.in.x ?? made.in.u).toMatch(
            siteAction(recipe, site.get(node.in.x ?? node.in.u)!).quantize ? /\.(real|plain)$/ : /./,
          );
      }
    }
  });

  it('undoes a site once for all who need it plain, and only then', () => {
    for (const of of toys) {
      const nodes = flatten(planOfToy(of, recipe).graph.nodes);
      const integers = quantizedSites(of.program, recipe);
      for (const [ref, word] of siteOf(of.program)) {
        const turned = transformOf(siteAction(recipe, word).basis) !== undefined;
        const readers = floatNodes(of.program).filter(node => Object.values(node.in).includes(ref));
        const linears = readers.filter(node => node.op.name === 'linear');
        const absorbing = linears.filter(node => integers.has(ref) && weightScheme(recipe, node.role));
        const plain = turned ? readers.length > linears.length : false;
        const real =
          integers.has(ref) &&
          (turned ? plain || absorbing.length < linears.length : absorbing.length < readers.length);
        const count = (value: Ref) => nodes.filter(node => Object.values(node.out).includes(value)).length;
        expect([ref, count(`${ref}.real`), count(`${ref}.plain`)]).toEqual([
          ref,
          real ? 1 : 0,
          plain ? 1 : 0,
        ]);
      }
    }
  });

  it('leaves no site, and no weight that it quantizes in float', () => {
    for (const of of toys) {
      const { graph, weights } = planOfToy(of, recipe);
      expect(graph.nodes.filter(node => node.kind === 'site')).toEqual([]);
      for (const { role, in: inputs } of floatNodes(of.program))
        if (weightScheme(recipe, role)) expect(graph.weights.has(inputs.w)).toBe(false);
      const types = new Set([...graph.weights.keys()].map(ref => weights.read(ref).dtype));
      expect(types.has('i8')).toBe(recipe.weights !== undefined);
    }
  });

  it('is read from its own JSON', () => {
    expect(parseRecipe(JSON.parse(JSON.stringify(recipe)))).toEqual(recipe);
    expect(recipeOf(name)).toBe(recipe);
  });

  it('comes back from a checkpoint with the same bits', () => {
    for (const of of toys) {
      const plan = planOfToy(of, recipe);
      const bytes = concat(savePlan(plan, infoOf(of, recipe)));
      const loaded = loadPlan(fromBytes('plan.safetensors', bytes));
      expect(loaded.info).toEqual(infoOf(of, recipe));
      expect(loaded.plan.graph).toEqual(plan.graph);
      expect(sameBits(logitsOf(loaded.plan, of.text), logitsOf(plan, of.text))).toBe(true);
      expect(verifyPlan(fromBytes('plan.safetensors', bytes))).toBe(true);
      expect(sameBits(concat(savePlan(loaded.plan, loaded.info)) as never, bytes as never)).toBe(true);
    }
  });

  it('calibrates from a file of statistics as from the text', () => {
    const stats = statsOfToy(toy, recipe);
    const info = { recipe, source: 'abc', calibration };
    const bytes = concat(saveStats(stats, info));
    const expected = { ...info, sizes: statsSizes(toy.program, recipe) };
    const loaded = loadStats(fromBytes('stats.safetensors', bytes), expected);
    expect(loaded.calibration).toEqual(calibration);
    const plan = planOf(toy.program, recipe, loaded.stats);
    expect(sameBits(logitsOf(plan, toy.text), logitsOf(planOfToy(toy, recipe), toy.text))).toBe(true);
  });
});

it('statistics are as large as is said beforehand, those of a state of three axes too', () => {
  for (const of of [toy, toy2()])
    for (const name of ['quamba-ssd', 'quamba-int8-state'] as const) {
      const stats = statsOfToy(of, recipes[name]);
      const { channels, hessians } = statsSizes(of.program, recipes[name]);
      const sizesIn = (found: Readonly<Record<string, Float32Array>> = {}) =>
        Object.fromEntries(Object.entries(found).map(([ref, { length }]) => [ref, length]));
      expect([sizesIn(stats.channels), sizesIn(stats.hessians)], `${of.name} ${name}`).toEqual([
        channels,
        hessians,
      ]);
    }
});

it('two who need a site plain share what undoes it', () => {
  const graph = trace((g, tokens) => {
    const x = g.site('blockIn', g.op('x', ops.embedding, { tokens, w: g.weight('table', [8, 8]) }));
    const read = g.op('read', ops.linear, { x, w: g.weight('w', [8, 8], 'inProj') });
    const both = g.op('both', ops.add, { x: g.op('a', ops.silu, { x }), y: g.op('b', ops.softplus, { x }) });
    return g.op('sum', ops.add, { x: both, y: read });
  });
  const next = random(9);
  const weights = weightsOf(new Map(['table', 'w'].map(ref => [ref, tensor(noise(64, next), [8, 8])])));
  const recipe: Recipe = { weights: w8, acts: a8, at: { blockIn: hadamard } };
  const plan = quantize(transform({ graph, weights }, recipe), { ranges: { blockIn: 4 } });
  const made = flatten(plan.graph.nodes).map(node => node.op.name);
  expect(made).toEqual('embedding fwht quantize linear-i8 dequantize fwht silu softplus add add'.split(' '));
  expect(
    distance(logitsOf(plan, Int32Array.of(0, 3, 7)), logitsOf({ graph, weights }, Int32Array.of(0, 3, 7))),
  ).toBeLessThan(0.05);
});

it('a plan that is fused already is fused to itself', () => {
  const plan = planOfToy(toy, recipes.quamba);
  expect(fuse(plan)).toEqual(plan);
});

const calibration = { text: 'toy', samples: 6, window: 32 };
const infoOf = ({ config }: Toy, scheme: Recipe) => ({
  config,
  recipe: { name: 'a name', scheme },
  source: 'abc',
  calibration,
});

const floatNodes = ({ graph }: Program): readonly OpNode[] => flatten(graph.nodes);
/** The site of each value that is one. */
const siteOf = ({ graph }: Program): ReadonlyMap<Ref, string> =>
  new Map(graph.nodes.flatMap(node => (node.kind === 'site' ? [[node.out, node.site] as const] : [])));
const quantizedSites = (program: Program, recipe: Recipe): ReadonlySet<Ref> =>
  new Set([...siteOf(program)].flatMap(([ref, word]) => (siteAction(recipe, word).quantize ? ref : [])));

describe('ablations', () => {
  const { 'naive-static': naive, 'percentile-only': percentile, 'hadamard-only': rotated, quamba } = table;

  it('are one field away from their neighbour', () => {
    expect(added(percentile, naive)).toEqual([
      'at.scanIn.range.percentile 0.99999',
      'at.scanIn.range.ema 0.01', // the percentile's own constant
    ]);
    expect(added(rotated, naive)).toEqual(['at.scanOut.basis "hadamard"']);
    expect(added(table.dynamic, naive)).toEqual(['acts.when "dynamic"']);
    expect(added(table['dynamic-rotated'], table.dynamic)).toEqual(['at.scanOut.basis "hadamard"']);
    expect(new Set(added(table['dynamic-rotated-rows'], table['dynamic-rotated']))).toEqual(
      new Set(['weights.per "row"']),
    );
    expect(added(table['quamba-f16-state'], quamba)).toEqual(['states.ssmState.bits 16']);
    expect(added(quamba, table['quamba-f16-state'])).toEqual([]);
    expect(added(table['quamba-int8-state'], quamba)).toEqual(['states.ssmState.bits 8']);
    for (const other of [percentile, rotated, table.dynamic])
      expect(added(naive, other)).toEqual(other === table.dynamic ? ['acts.when "static"'] : []);
  });

  it('quamba is both of them and nothing else; its int8 head adds the head and the embedding', () => {
    expect(leaves(quamba).sort()).toEqual([...new Set([...leaves(percentile), ...leaves(rotated)])].sort());
    const more = added(table['quamba-int8-head'], quamba);
    expect(more.every(leaf => /^(at\.headIn|weightsAt\.(embedding|head))\./.test(leaf))).toBe(true);
    expect(added(quamba, table['quamba-int8-head'])).toEqual([]);
  });

  it('beyond quamba, each row adds one thing, and the last one has them all', () => {
    const added1 = (name: RecipeName) => added(table[name], quamba).map(leaf => leaf.split(' ')[0]);
    expect(added1('quamba-rows')).toEqual(['weights.per']);
    expect(added1('quamba-channels')).toEqual(['at.scanIn.basis']);
    expect(added1('quamba-rotated')).toEqual(['residual']);
    expect(added1('quamba-clipped')).toEqual(['acts.range.percentile', 'acts.range.ema']);
    const each: readonly RecipeName[] = [
      'quamba-rows',
      'quamba-channels',
      'quamba-rotated',
      'quamba-clipped',
    ];
    const replaced = each.flatMap(name => added(quamba, table[name]));
    expect(replaced).toEqual(['weights.per "tensor"', 'acts.range "absmax"']);
    const union = new Set([...leaves(quamba), ...each.flatMap(name => leaves(table[name]))]);
    expect(leaves(table['quamba-plus']).sort()).toEqual(
      [...union].filter(leaf => !replaced.includes(leaf)).sort(),
    );
  });

  it('what is added errs less, where the weights and channels of a toy differ enough to show it', () => {
    for (const of of toys) {
      const plus = errorOf(of, table['quamba-plus']);
      expect(plus, of.name).toBeLessThan(0.9 * errorOf(of, quamba));
    }
  });

  it('quamba errs less than naive rounding where channels stick out, by its rotation', () => {
    for (const of of toys) {
      expect(errorOf(of, quamba), of.name).toBeLessThan(0.6 * errorOf(of, naive));
      expect(errorOf(of, rotated), of.name).toBeLessThan(0.6 * errorOf(of, naive));
    }
  });

  it('a percentile clips what only a few values need', () => {
    const range = (recipe: Recipe) => statsOfToy(toy, recipe).ranges['layers.0.scanIn'];
    expect(range(withPercentile(percentile, 0.99))).toBeLessThan(0.8 * range(naive));
    expect(range(percentile)).toBeLessThanOrEqual(range(naive));
    expect({
      ...statsOfToy(toy, withPercentile(percentile, 0.99)).ranges,
      'layers.0.scanIn': 0,
      'layers.1.scanIn': 0,
    }).toEqual({ ...statsOfToy(toy, naive).ranges, 'layers.0.scanIn': 0, 'layers.1.scanIn': 0 });
  });

  it('ranges are those after the transform', () => {
    const range = (recipe: Recipe) => statsOfToy(toy, recipe).ranges['layers.0.scanOut'];
    expect(range(rotated)).toBeLessThan(0.6 * range(naive)); // an outlier, spread
  });
});

describe('groups of weights, which no row has', () => {
  const finer: Recipe = {
    acts: a8,
    at: { scanOut: hadamard },
    weightsAt: { inProj: { bits: 8, per: { group: 8 } }, outProj: { bits: 8, per: 'row' } },
  };
  it('are scales of their own', () => {
    expect(errorOf(toy, finer)).toBeLessThan(0.3);
    const { graph, weights } = planOfToy(toy, finer);
    const scale = 'backbone.layers.0.mixer.in_proj.weight.i8-groups-of-8.wscale';
    expect(weights.read(scale).shape).toEqual([96, 3]);
    expect(graph.weights.get(scale)).toEqual({ dtype: 'f32', shape: [96, 3] });
  });

  it('are refused where the op that reads the weight has no such form', () => {
    const conv: Recipe = { acts: a8, weightsAt: { conv: { bits: 8, per: { group: 2 } } } };
    expect(() => planOfToy(toy, conv)).toThrow(
      new Error(
        'quantize: backbone.layers.0.mixer.conv1d.weight has scales for groups of columns, which only a linear can read',
      ),
    );
  });
});

describe('withPercentile', () => {
  it('changes p where there is a percentile, and nothing else', () => {
    for (const name of names) {
      const changed = withPercentile(table[name], 0.999);
      const expected = leaves(table[name]).map(leaf => leaf.replace(/(\.range\.percentile) .*/, '$1 0.999'));
      expect(leaves(changed)).toEqual(expected);
      expect(parseRecipe(changed)).toEqual(changed);
    }
    expect(table.quamba.at?.scanIn).toEqual(clip(0.99999));
  });

  it('changes one that stands in acts, for all sites, too', () => {
    const everywhere: Recipe = { acts: { ...a8, ...clip(0.5) } };
    expect(withPercentile(everywhere, 0.9).acts?.range).toEqual({ percentile: 0.9, ema: 0.01 });
  });
});

describe('parseRecipe', () => {
  /* biome-ignore format: a table */
  const wrong: readonly [json: unknown, message: string][] = [
    [null, 'recipe expected an object; got null'],
    [[], 'recipe expected an object; got []'],
    ['quamba', 'recipe expected an object; got "quamba"'],
    [{ name: 'x' }, 'recipe: no field "name"; expected weights, acts, at, weightsIn, weightsAt, residual, states, optional'],
    [{ residual: 'none' }, 'recipe.residual expected hadamard; got "none"'],
    [{ weights: { bits: 8 } }, 'recipe.weights.per expected tensor or row or { "group": size }; got nothing'],
    [{ weights: { bits: 6, per: 'tensor' } }, 'recipe.weights.bits expected 8 or 4; got 6'],
    [{ weights: { bits: 4, per: { group: 128 } } }, 'recipe.weights.rounding expected nearest or gptq; got nothing'],
    [{ weights: { bits: 4, per: 'row', rounding: 'gptq' } }, 'recipe.weights.per expected { "group": size } beside 4 bits; got "row"'],
    [{ weights: { bits: 8, per: 'row', rounding: 'nearest' } }, 'recipe.weights.rounding expected nothing beside 8 bits; got "nearest"'],
    [{ weights: { bits: 8, per: 'column' } }, 'recipe.weights.per expected tensor or row or { "group": size }; got "column"'],
    [{ weights: { bits: 8, per: { group: 0 } } }, 'recipe.weights.per.group expected a positive integer; got 0'],
    [{ weights: { bits: 8, per: { groups: 4 } } }, 'recipe.weights.per: no field "groups" (did you mean group?); expected group'],
    [{ weights: { bits: 8, per: null } }, 'recipe.weights.per expected an object; got null'],
    [{ acts: { basis: 'none', range: 'absmax', when: 'static' } }, 'recipe.acts.bits is missing'],
    [{ acts: { ...a8, zero: 0 } }, 'recipe.acts: no field "zero"; expected basis, range, when, bits'],
    [{ acts: { ...a8, when: 'later' } }, 'recipe.acts.when expected static or dynamic; got "later"'],
    [{ acts: { ...a8, bits: 16 } }, 'recipe.acts.bits expected 8; got 16'],
    [{ acts: { ...a8, basis: 'fourier' } }, 'recipe.acts.basis expected none or hadamard or channels or { "channels": n } or { "smooth": α }; got "fourier"'],
    [{ acts: { ...a8, basis: { smooth: 2 } } }, 'recipe.acts.basis.smooth expected a number in (0, 1]; got 2'],
    [{ acts: { ...a8, range: 'minmax' } }, 'recipe.acts.range expected absmax or { "percentile": p, "ema": σ }; got "minmax"'],
    [{ at: { output: hadamard } }, 'recipe.at: no field "output"; expected blockIn, convIn, gate, scanIn, dtLow, B, C, dt, scanOut, attnIn, attnOut, mlpIn, mlpProduct, query, key, value, headIn'],
    [{ at: { scanIn: { range: { percentile: 99.9, ema: 0.01 } } } }, 'recipe.at.scanIn.range.percentile expected a number in (0, 1]; got 99.9'],
    [{ at: { scanIn: { range: { percentile: 0.99 } } } }, 'recipe.at.scanIn.range.ema expected a number in (0, 1]; got nothing'],
    [{ at: { scanIn: { range: { percentile: '0.99', ema: 0.01 } } } }, 'recipe.at.scanIn.range.percentile expected a number in (0, 1]; got "0.99"'],
    [{ at: { scanIn: { range: { percentile: [0.5, 0], ema: 0.01 } } } }, 'recipe.at.scanIn.range.percentile[1] expected a number in (0, 1]; got 0'],
    [{ at: { scanIn: 'clip' } }, 'recipe.at.scanIn expected an object; got "clip"'],
    [{ weightsAt: { lmHead: { bits: 8, per: 'row' } } }, 'recipe.weightsAt: no field "lmHead" (did you mean head?); expected inProj, conv, xProj, dtProj, outProj, qkvProj, oProj, gateUpProj, downProj, embedding, head'],
    [{ states: { ssmState: { bits: 4 } } }, 'recipe.states.ssmState.bits expected 16 or 8; got 4'],
    [{ states: { kvCache: { bits: 16 } } }, 'recipe.states: no field "kvCache" (did you mean keyCache?); expected convState, ssmState, keyCache, valueCache'],
    [{ states: { ssmState: 16 } }, 'recipe.states.ssmState expected an object; got 16'],
    [{ weightsAt: { head: 8 } }, 'recipe.weightsAt.head expected an object; got 8'],
    [{ optional: 'gate' }, 'recipe.optional expected an array; got "gate"'],
    [{ optional: ['gates'] }, 'recipe.optional[0] expected blockIn or convIn or gate or scanIn or dtLow or B or C or dt or scanOut or attnIn or attnOut or mlpIn or mlpProduct or query or key or value or headIn or inProj or conv or xProj or dtProj or outProj or qkvProj or oProj or gateUpProj or downProj or embedding or head or convState or ssmState or keyCache or valueCache; got "gates"'],
  ];
  it.each(wrong)('%j: %s', (json, message) => {
    expect(() => parseRecipe(json)).toThrow(new TypeError(message));
  });

  it('names the place that it is told', () => {
    expect(() => parseRecipe(3, 'my.json')).toThrow(new TypeError('my.json expected an object; got 3'));
  });

  it('a row that is not in the table is refused by name', () => {
    for (const [name, meant] of [
      ['quambo', ' (did you mean quamba?)'],
      ['toString', ''],
      ['__proto__', ''],
    ])
      expect(() => recipeOf(name)).toThrow(
        new RangeError(`recipe '${name}' is not known${meant}; expected ${names.join(', ')}`),
      );
  });
});

describe('calibration', () => {
  it('of the same samples is the same, and its order matters to the average only', () => {
    const { quamba } = recipes;
    const again = calibrate(toy.program, quamba, toy.samples);
    expect(again).toEqual(statsOfToy(toy, quamba));
    const turned = calibrate(toy.program, quamba, [...toy.samples].reverse());
    for (const [ref, range] of Object.entries(again.ranges))
      expect(turned.ranges[ref] === range, ref).toBe(!ref.endsWith('scanIn'));
  });

  it('is asked for only by recipes with static ranges, smoothing or GPTQ', () => {
    const needs = Object.fromEntries(names.map(name => [name, needsCalibration(toy.program, table[name])]));
    expect(names.filter(name => !needs[name])).toEqual([
      'fp32',
      'dynamic',
      'dynamic-rotated',
      'dynamic-rotated-rows',
      'w4a16-rtn',
    ]);
  });

  it('is asked for by scales of channels, even where the sites are dynamic', () => {
    const recipe: Recipe = { weights: w8, acts: { ...a8dynamic, ...channels } };
    expect(needsCalibration(toy.program, recipe)).toBe(true);
    const { channels: seen, ranges } = calibrate(toy.program, recipe, toy.samples);
    expect([Object.keys(seen).length, Object.keys(ranges)]).toEqual([18, []]);
  });

  it('reports its progress to the end', () => {
    for (const name of ['quamba', 'smoothquant'] as const) {
      const seen: [number, number][] = [];
      calibrate(toy.program, recipes[name], toy.samples, { onProgress: (...at) => seen.push(at) });
      const total = toy.samples.length * (name === 'smoothquant' ? 2 : 1);
      expect(seen).toEqual(Array.from({ length: total }, (_, i) => [i + 1, total]));
    }
  });

  it('needs samples, and tokens in them', () => {
    expect(() => calibrate(toy.program, recipes.quamba, [])).toThrow(
      new RangeError('calibrate: expected at least one sample; got none'),
    );
    expect(() => calibrate(toy.program, recipes.quamba, [toy.text, new Int32Array(0)])).toThrow(
      new RangeError('calibrate: sample 1 holds no tokens'),
    );
  });

  it('is missed by name', () => {
    expect(() => planOf(toy.program, recipes.quamba)).toThrow(
      new Error('quantize: no range for layers.0.blockIn; calibrate with this recipe first'),
    );
    expect(() => planOf(toy.program, recipes.smoothquant)).toThrow(
      new Error('quantize: no channel statistics for layers.0.blockIn; calibrate with this recipe first'),
    );
  });

  it('takes samples evenly over a text, in order', () => {
    const tokens = Int32Array.from({ length: 100 }, (_, i) => i);
    expect(samplesOf(tokens, 4, 10).map(s => [s[0], s.length])).toEqual([
      [0, 10],
      [30, 10],
      [60, 10],
      [90, 10],
    ]);
    expect(samplesOf(tokens, 1, 100)).toEqual([tokens]);
    expect(samplesOf(tokens, 3, 99).map(s => s[0])).toEqual([0]);
    expect(samplesOf(tokens, 9, 30).map(s => s[0])).toEqual([0, 35, 70]);
    expect(() => samplesOf(tokens, 4, 101)).toThrow(
      new RangeError('calibration text expected at least 101 tokens (one window); got 100'),
    );
    expect(() => samplesOf(tokens, 0, 10)).toThrow(
      new RangeError('samples expected a whole number >= 1; got 0'),
    );
    expect(() => samplesOf(tokens, 1, 1.5)).toThrow(
      new RangeError('window expected a whole number >= 1; got 1.5'),
    );
  });
});

describe('a checkpoint', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const bytes = concat(savePlan(plan, infoOf(toy, recipes.quamba)));
  const open = (content: Uint8Array) => fromBytes('toy.safetensors', content);
  /** The file with a text of its header replaced by one of the same length. */
  const edited = (from: string, to: string) => {
    const text = Buffer.from(bytes).toString('latin1');
    expect([text.includes(from), from.length]).toEqual([true, to.length]);
    return new Uint8Array(Buffer.from(text.replace(from, to), 'latin1'));
  };

  it('of another version is refused', () => {
    const next = edited('"version":"2"', '"version":"3"');
    expect(() => loadPlan(open(next))).toThrow(
      new Error('toy.safetensors: plan format version 3 is not known; this quamba reads version 2'),
    );
  });

  it('that is none is refused', () => {
    expect(() => loadPlan(open(edited('quamba-plan', 'quamba-plum')))).toThrow(
      new Error(
        "toy.safetensors: is not a quantized checkpoint of quamba (no metadata format 'quamba-plan')",
      ),
    );
  });

  it('whose graph, recipe or config is broken names the field', () => {
    expect(() => loadPlan(open(edited('\\"op\\":\\"embedding\\"', '\\"op\\":\\"embeddong\\"')))).toThrow(
      new TypeError(
        'toy.safetensors: graph.nodes[0].op: no op "embeddong"; this plan was made by another version of quamba',
      ),
    );
    expect(() => loadPlan(open(edited('\\"when\\":\\"static\\"', '\\"when\\":\\"stotic\\"')))).toThrow(
      new TypeError('toy.safetensors: recipe.scheme.acts.when expected static or dynamic; got "stotic"'),
    );
    expect(() => loadPlan(open(edited('{\\"architecture\\"', '[\\"architecture\\"')))).toThrow(
      /^toy\.safetensors: metadata config: expected JSON; /,
    );
  });

  it('with one value changed is refused, wherever it is', () => {
    const file = readSafetensors(open(bytes));
    for (const [name, { begin, end }] of file.tensors)
      for (const at of [begin, (begin + end) >> 1, end - 1]) {
        const wrong = Uint8Array.from(bytes);
        wrong[at] ^= 1;
        expect(() => loadPlan(open(wrong)), `${name} at ${at}`).toThrow(
          new Error('toy.safetensors: has changed since it was saved (identity differs)'),
        );
      }
  });

  it('holds F16 only what F16 has', () => {
    const halves = 'backbone.norm_f.weight';
    const type = plan.graph.weights.get(halves)!;
    const [size] = type.shape;
    const exact = tensor(Float32Array.from({ length: size }, (_, i) => 1 + i / 1024));
    const mixed = withNodes(plan, plan.graph.nodes, new Map([[halves, { ...type, read: () => exact }]]));
    const source = open(concat(savePlan(mixed, infoOf(toy, recipes.quamba))));
    const { tensors } = readSafetensors(source);
    expect(tensors.get(halves)?.dtype).toBe('F16');
    expect(tensors.get('backbone.layers.0.norm.weight')?.dtype).toBe('F32');
    expect(tensors.get('backbone.layers.0.mixer.in_proj.weight.i8')?.dtype).toBe('I8');
    const loaded = loadPlan(source).plan;
    for (const ref of mixed.graph.weights.keys())
      expect(sameBits(loaded.weights.read(ref).data, mixed.weights.read(ref).data), ref).toBe(true);
  });
});

describe('a file of statistics', () => {
  const { quamba, smoothquant } = recipes;
  const info = { recipe: quamba, source: 'a'.repeat(64), calibration };
  const bytes = concat(saveStats(statsOfToy(toy, quamba), info));
  const load = (content: Uint8Array, expected: StatsInfo = info) =>
    loadStats(fromBytes('stats.safetensors', content), {
      ...expected,
      sizes: statsSizes(toy.program, expected.recipe),
    });

  it('comes back as it was', () => {
    expect(load(bytes)).toEqual({ stats: { hessians: {}, ...statsOfToy(toy, quamba) }, calibration });
    const smooth = { ...info, recipe: smoothquant };
    const stats = statsOfToy(toy, smoothquant);
    expect(load(concat(saveStats(stats, smooth)), smooth)).toEqual({ stats, calibration });
    expect(Object.keys(stats.channels).length).toBe(8);
  });

  it('that does not say what it is calibrated on is refused', () => {
    const file = readSafetensors(fromBytes('stats', bytes));
    const said = (text?: string) => {
      const { calibration: _, ...silent } = file.metadata;
      const metadata = text === undefined ? silent : { ...silent, calibration: text };
      return () => load(concat(writeSafetensors([], metadata)));
    };
    expect(said()).toThrow(/^stats\.safetensors: calibration: expected JSON; /);
    expect(said('null')).toThrow(
      new TypeError('stats.safetensors: calibration expected an object; got null'),
    );
    const text = { text: 'x', samples: 0, window: 1 };
    expect(said(JSON.stringify(text))).toThrow(
      new TypeError('stats.safetensors: calibration.samples expected a whole number >= 1; got 0'),
    );
  });

  it.each([
    ['quamba', '.range', 1],
    ['smoothquant', '.channels', 24],
    ['quamba-int8-state', 'ssmState.channels', 48],
    ['w4a8', '.hessian', 24 * 24],
  ] as const)('of %s whose %s is not as the model has it is refused by name', (row, suffix, size) => {
    const info = { recipe: recipes[row] as Recipe, source: 'abc', calibration };
    const file = readSafetensors(fromBytes('stats', concat(saveStats(statsOfToy(toy, info.recipe), info))));
    const name = [...file.tensors.keys()].find(ref => ref.endsWith(suffix))!;
    const { data } = file.read(name);
    expect(data.length).toBe(size);
    const having = (changed: Partial<Writable> | undefined) => {
      const tensors = [...file.tensors.keys()].flatMap(ref => {
        const good = { ...file.read(ref), dtype: 'F32' as const };
        if (ref !== name) return [[ref, good] as const];
        return changed ? [[ref, { ...good, ...changed }] as const] : [];
      });
      return () => load(concat(writeSafetensors(tensors, file.metadata)), info);
    };
    const where = `stats.safetensors: tensor ${name}`;
    expect(having({})().calibration).toEqual(calibration);
    expect(having(undefined)).toThrow(new Error(`${where} is missing`));
    for (const length of [0, 2, 1000, (size + 1) ** 2])
      expect(having({ shape: [length], data: new Float32Array(length) })).toThrow(
        new TypeError(`${where} expected f32[${size}]; got f32[${length}]`),
      );
    expect(having({ shape: [size, 1] })).toThrow(`${where} expected f32[${size}]; got f32[${size}, 1]`);
    expect(having({ dtype: 'I8', data: new Int8Array(size) })).toThrow(
      new TypeError(`${where} expected f32[${size}]; got i8[${size}]`),
    );
    expect(having({ data: Float32Array.from(data, x => -x) })).toThrow(
      new RangeError(`${where} expected 0 or more at index 0; got ${-data[0]}`),
    );
  });

  it('of another recipe, model or format is refused', () => {
    expect(() => load(bytes, { ...info, recipe: recipes['naive-static'] })).toThrow(
      new Error(`stats.safetensors: was made for another recipe: ${JSON.stringify(quamba)}`),
    );
    expect(() => load(bytes, { ...info, source: 'b'.repeat(64) })).toThrow(
      new Error('stats.safetensors: was made for another model (aaaaaaaaaaaa); this one is bbbbbbbbbbbb'),
    );
    expect(() => load(concat(savePlan(planOfToy(toy, quamba), infoOf(toy, quamba))))).toThrow(
      new Error('stats.safetensors: expected quamba-stats version 1; got quamba-plan version 2'),
    );
  });
});
