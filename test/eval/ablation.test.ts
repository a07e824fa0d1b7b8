/** The measures of an ablation against closed forms and laws, its recipes, and its parts on toy models. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare as prepareOn } from '../../src/backends/backend.ts';
import { backends } from '../../src/backends/index.ts';
import { ABLATION_DEFAULTS, ablate } from '../../src/eval/ablation.ts';
import { calibrateEach, samplesBySeed } from '../../src/eval/calibrations.ts';
import { floatReference, pairedDifference } from '../../src/eval/fidelity.ts';
import { errorOf, measureLayers, withHiddenSites } from '../../src/eval/layer-error.ts';
import { histogramObserver, shapeObserver, sortedChannels } from '../../src/eval/moments.ts';
import { measureOutliers } from '../../src/eval/outliers.ts';
import { blockSitesOf, siteArms } from '../../src/eval/sensitivity.ts';
import { arms, claims, judge, measureTechniques, type TechniqueRow } from '../../src/eval/techniques.ts';
import { windowsOf } from '../../src/eval/windows.ts';
import type { Program } from '../../src/graph.ts';
import { graphOf, type Site } from '../../src/model/index.ts';
import { mamba } from '../../src/model/mamba.ts';
import { mamba2 } from '../../src/model/mamba2.ts';
import { calibrate } from '../../src/quant/calibrate.ts';
import { planOf, samplesOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { siteAction, weightScheme } from '../../src/quant/scheme.ts';
import { randomModel } from '../../src/random/model.ts';
import { shapes } from '../../src/random/shapes.ts';
import { interpret, run } from '../../src/run.ts';
import { random, sameBits, statsOfToy, toy } from '../toy.ts';

const { program } = toy;
const prepare = interpret;
const text = (length: number, seed = 1): Int32Array => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * toy.config.vocabSize));
};
const values = fc.array(
  fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map(i => i / 1024),
  { minLength: 2, maxLength: 60 },
);

describe('the shape of values', () => {
  const shapeOf = (...parts: readonly ArrayLike<number>[]) => {
    const observer = shapeObserver();
    for (const part of parts) observer.observe(Float32Array.from(part));
    return observer.shape();
  };

  it('two values as often as each other have kurtosis 1 and crest factor 1', () => {
    expect(shapeOf([3, -3, 3, -3])).toEqual({ count: 4, max: 3, rms: 3, crest: 1, kurtosis: 1 });
  });

  it('one value of n that differs has kurtosis n − 2 + 1 / (n − 1), wherever they lie', () => {
    for (const n of [5, 10, 100])
      for (const offset of [0, 8]) {
        const x = new Float32Array(n).fill(offset);
        x[2] += 4;
        expect(shapeOf(x).kurtosis).toBeCloseTo(n - 2 + 1 / (n - 1), 6);
      }
  });

  it('an even grid has kurtosis 9/5 · (n² − 7/3) / (n² − 1)', () => {
    const n = 101;
    const grid = Array.from({ length: n }, (_, i) => i - 50);
    expect(shapeOf(grid).kurtosis).toBeCloseTo((1.8 * (n * n - 7 / 3)) / (n * n - 1), 10);
  });

  it('a constant has kurtosis 0, nothing has no shape', () => {
    expect(shapeOf(new Float32Array(50).fill(0.1)).kurtosis).toBe(0);
    expect(shapeOf()).toEqual({ count: 0, max: 0, rms: 0, crest: 0, kurtosis: 0 });
  });

  it('does not depend on the pieces, nor, but for its size, on the scale', () => {
    fc.assert(
      fc.property(values, fc.nat(), (x, at) => {
        const cut = at % x.length;
        const whole = shapeOf(x);
        const parts = shapeOf(x.slice(0, cut), x.slice(cut));
        for (const key of ['count', 'max', 'rms', 'crest', 'kurtosis'] as const)
          expect(Math.abs(parts[key] - whole[key]), key).toBeLessThanOrEqual(1e-9 * (1 + whole[key]));
        const twice = shapeOf(x.map(v => 2 * v));
        expect(twice.kurtosis).toBeCloseTo(whole.kurtosis, 6);
        expect(twice.max).toBe(2 * whole.max);
        expect(whole.crest === 0 || whole.crest >= 1 - 1e-12).toBe(true);
        expect(whole.kurtosis === 0 || whole.kurtosis >= 1 - 1e-6).toBe(true);
      }),
    );
  });
});

describe('a histogram', () => {
  it('holds every value in the bin of its place, however it grew', () => {
    fc.assert(
      fc.property(values, x => {
        const observer = histogramObserver(16);
        for (const value of x) observer.observe(Float32Array.of(value));
        const { to, counts } = observer.histogram();
        expect(Number.isInteger(Math.log2(to))).toBe(true);
        const expected = new Array<number>(16).fill(0);
        for (const value of x) expected[Math.min(15, Math.floor((Math.fround(value) + to) / (to / 8)))]++;
        expect(counts).toEqual(expected);
      }),
    );
  });

  it('refuses a number of bins that cannot be joined', () =>
    expect(() => histogramObserver(6)).toThrow('histogram: bins expected a multiple of 4; got 6'));
});

it('channels are sorted, and thinned from the largest on', () => {
  expect(sortedChannels(Float32Array.of(1, 5, 2, 4), 96)).toEqual([5, 4, 2, 1]);
  expect(sortedChannels(Float32Array.of(1, 5, 2, 4), 2)).toEqual([5, 2]);
});

describe('calibration', () => {
  const tokens = text(400);

  it('seed 0 draws what quantize draws; a seed draws the same again, another one elsewhere', () => {
    expect(samplesBySeed(tokens, 5, 20, 0)).toEqual(samplesOf(tokens, 5, 20));
    expect(samplesBySeed(tokens, 5, 20, 3)).toEqual(samplesBySeed(tokens, 5, 20, 3));
    expect(samplesBySeed(tokens, 5, 20, 3)).not.toEqual(samplesBySeed(tokens, 5, 20, 4));
  });

  it('every sample is a window of its own part of the text', () => {
    const order = Int32Array.from({ length: 1000 }, (_, i) => i);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 60 }),
        fc.nat(99),
        (count, window, seed) => {
          const part = (1000 - window) / count;
          for (const [i, sample] of samplesBySeed(order, count, window, seed + 1).entries()) {
            expect(sample).toEqual(order.slice(sample[0], sample[0] + window));
            expect(sample.length).toBe(window);
            expect(sample[0]).toBeGreaterThanOrEqual(Math.floor(i * part));
            expect(sample[0]).toBeLessThanOrEqual((i + 1) * part);
          }
        },
      ),
    );
  });

  it('refuses a seed that is none', () =>
    expect(() => samplesBySeed(tokens, 5, 20, -1)).toThrow('seed expected a whole number >= 0; got -1'));

  it('of many recipes has the bits of each alone', () => {
    const samples = samplesBySeed(tokens, 3, 24, 1);
    const all = [
      ...Object.values(recipes),
      ...arms().map(arm => arm.recipe),
      ...siteArms(0.999, mamba.sites).map(arm => arm.recipe),
    ];
    const together = calibrateEach(program, all, samples, { prepare });
    for (const [i, recipe] of all.entries()) expect(together[i]).toEqual(calibrate(program, recipe, samples));
  });

  it('runs recipes that differ in ranges in one pass', () => {
    let passes = 0;
    const counting = (part: Program) => {
      passes++;
      return interpret(part);
    };
    const all = arms().map(arm => arm.recipe);
    calibrateEach(program, all, samplesBySeed(tokens, 2, 8, 0), { prepare: counting });
    expect(passes).toBe(2); // y as it is, y rotated
  });
});

describe('recipes', () => {
  /** The sites and weights at which two recipes differ. */
  const differences = (a: object, b: object): string[] =>
    mamba.sites.filter(site => JSON.stringify(siteAction(a, site)) !== JSON.stringify(siteAction(b, site)));

  it('each technique is one site from its neighbours', () => {
    const all = arms();
    const of = (name: string, p?: number) => all.find(arm => arm.name === name && arm.p === p)!.recipe;
    for (const { name, p, recipe } of all) {
      expect(differences(of('baseline'), recipe)).toEqual(
        { baseline: [], clip: ['scanIn'], rotate: ['scanOut'], both: ['scanIn', 'scanOut'] }[name],
      );
      if (name !== 'both') continue;
      expect(differences(of('clip', p), recipe)).toEqual(['scanOut']);
      expect(differences(of('rotate'), recipe)).toEqual(['scanIn']);
    }
  });

  it('have the sites that the model has, in its order', () => {
    expect(blockSitesOf(program.graph)).toEqual(mamba.sites);
    expect(blockSitesOf(graphOf(shapes['mamba2-130m']))).toEqual(mamba2.sites);
  });

  it('run on Mamba-2, all parts', async () => {
    const { vocabSize } = toy.config;
    const small = { layers: 2, dModel: 24, heads: 3, headDim: 16, dState: 8, vocabSize };
    const model = randomModel({ ...shapes['mamba2-130m'], ...small }, 1);
    const settings = { ...ABLATION_DEFAULTS, limit: 48, window: 24, samples: 2, sample: 24, seeds: 2 };
    const scheme = recipes['quamba-ssd'];
    const samples = samplesBySeed(text(200), 2, 24, 0);
    const plan = planOf(model, scheme, calibrate(model, scheme, samples));
    const plans = [{ name: 'quamba-ssd', scheme, plan: async <T>(use: (p: Program) => T) => use(plan) }];
    const texts = { calibration: text(200), evaluation: text(60, 2) };
    const { techniques, outliers, sites, layers } = await ablate(
      { program: model, ...texts, plans, prepare },
      { ...settings, percentiles: [1] },
    );
    expect(techniques!.rows.map(({ name }) => name)).toEqual(['baseline', 'clip', 'rotate', 'both']);
    expect(outliers!.layers).toHaveLength(2);
    expect([...new Set(sites!.rows.flatMap(({ site }) => site ?? []))]).toEqual(mamba2.sites);
    for (const { kl, kind, site } of sites!.rows) expect(kl, `${kind} ${site}`).toBeGreaterThan(0);
    for (const { relative } of layers!.recipes[0].layers) expect(relative).toBeGreaterThan(0);
  });

  it.each([mamba, mamba2])(
    'a site alone leaves the others and all weights float; all but one leave one float: $name',
    architecture => {
      const sites: readonly Site[] = architecture.sites;
      const rounded = (recipe: object) => sites.filter(site => siteAction(recipe, site).quantize);
      for (const { kind, site, recipe } of siteArms(0.9999, sites)) {
        const expected = {
          weights: [],
          only: [site],
          all: sites,
          'all-but': sites.filter(s => s !== site),
        };
        expect(rounded(recipe), `${kind} ${site}`).toEqual(expected[kind]);
        expect(weightScheme(recipe, 'inProj') === undefined).toBe(kind === 'only');
      }
    },
  );

  it('their row with both is the table’s', () => {
    const both = arms().find(({ name, p }) => name === 'both' && p === 0.99999)!;
    expect(both.recipe).toEqual(recipes.quamba);
  });
});

describe('fidelity', () => {
  const tokens = text(130);
  const windows = windowsOf(tokens, 40, 100);
  const reference = floatReference(program, { windows, prepare });

  it('of the float model itself: no difference at all', () => {
    const { kl, top1, change, nats } = reference.compare(program).fidelity;
    expect({
      kl,
      top1,
      change: Math.abs(change) < 1e-14,
      nats: Math.abs(nats - reference.nats) < 1e-14,
    }).toEqual({
      kl: 0,
      top1: 1,
      change: true,
      nats: true,
    });
  });

  it('takes whole windows within the limit', () => {
    expect(windows.map(w => w.length)).toEqual([40, 40]);
    expect(reference.predictions).toBe(78);
    expect(() => windowsOf(tokens, 40, 39)).toThrow('limit expected at least 40 tokens (one window); got 39');
    expect(() => windowsOf(tokens, 1, 39)).toThrow('window expected a whole number >= 2; got 1');
  });

  it('is the definition', () => {
    const plan = planOf(program, recipes.dynamic);
    let [nll, kl, same] = [0, 0, 0];
    const softmax = (row: Float32Array): number[] => {
      const exps = [...row].map(v => Math.exp(v));
      const total = exps.reduce((a, b) => a + b, 0);
      return exps.map(v => v / total);
    };
    for (const window of windows) {
      const [p, q] = [program, plan].map(of => run(of, window));
      const v = p.shape[1];
      for (let t = 0; t + 1 < window.length; t++) {
        const [a, b] = [p, q].map(({ data }) => softmax(data.subarray(t * v, (t + 1) * v)));
        nll -= Math.log(b[window[t + 1]]);
        kl += a.reduce((sum, x, i) => sum + x * Math.log(x / b[i]), 0);
        same += a.indexOf(Math.max(...a)) === b.indexOf(Math.max(...b)) ? 1 : 0;
      }
    }
    const found = reference.compare(plan).fidelity;
    expect(found.nats).toBeCloseTo(nll / 78, 10);
    expect(found.perplexity).toBeCloseTo(Math.exp(nll / 78), 8);
    expect(found.kl).toBeCloseTo(kl / 78, 10);
    expect(found.top1).toBe(same / 78);
    expect(found.change).toBeCloseTo(Math.exp(nll / 78 - reference.nats) - 1, 10);
  });

  it('a paired difference is a mean and its standard error', () => {
    const { mean, error } = pairedDifference(Float64Array.of(3, 5, 4), Float64Array.of(1, 1, 1));
    expect(mean).toBe(3);
    expect(error).toBeCloseTo(1 / Math.sqrt(3), 14);
    expect(pairedDifference(Float64Array.of(3), Float64Array.of(1)).error).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('the order of the paper', () => {
  const row = (name: TechniqueRow['name'], min: number, max: number): TechniqueRow => ({
    name,
    ...(name === 'clip' || name === 'both' ? { p: 0.99999 } : {}),
    trials: [],
    mean: (min + max) / 2,
    min,
    max,
  });
  const blocksAt = (...levels: number[]) =>
    levels.map(level => [Float64Array.from({ length: 20 }, (_, i) => level + (i % 2) / 100)]);
  const verdicts = (rows: TechniqueRow[], levels: number[]) =>
    judge(rows, blocksAt(...levels), claims([0.99999])).map(({ verdict }) => verdict);

  it('holds, is turned, or is noise', () => {
    const rows = [
      row('baseline', 0.14, 0.15),
      row('clip', 0.13, 0.141),
      row('rotate', 0.02, 0.03),
      row('both', 0.04, 0.05),
    ];
    expect(verdicts(rows, [3, 2.9, 2.5, 2.6])).toEqual([
      'noise',
      'as the paper',
      'as the paper',
      'other than the paper',
    ]);
  });

  it('without a p is only that of the rotation', () => {
    expect(claims([])).toEqual([{ better: { name: 'rotate' }, worse: { name: 'baseline' } }]);
    const verdict = judge(
      [row('baseline', 0.14, 0.15), row('rotate', 0.02, 0.03)],
      blocksAt(3, 2.5),
      claims([]),
    );
    expect(verdict).toMatchObject([{ verdict: 'as the paper' }]);
  });

  it('a difference within its own error is noise though the seeds are apart', () => {
    const rows = [
      row('baseline', 0.14, 0.15),
      row('clip', 0.12, 0.13),
      row('rotate', 0.02, 0.03),
      row('both', 0.01, 0.015),
    ];
    const wild = Float64Array.from({ length: 20 }, (_, i) => (i % 2 ? 2 : -1.99));
    const blocks = [
      [new Float64Array(20)],
      [wild],
      [new Float64Array(20).fill(-1)],
      [new Float64Array(20).fill(-2)],
    ];
    const [first, second] = judge(rows, blocks, claims([0.99999]));
    expect([first.verdict, first.seedsApart, second.verdict]).toEqual(['noise', true, 'as the paper']);
  });
});

describe('layers', () => {
  it('relative error and SNR are those of the definition', () => {
    const { relative, snr } = errorOf(0, [Float32Array.of(3, 4.5)], [Float32Array.of(3, 4)]);
    expect(relative).toBeCloseTo(0.1, 14);
    expect(snr).toBeCloseTo(20, 12);
    expect(errorOf(2, [Float32Array.of(1)], [Float32Array.of(1)])).toEqual({
      layer: 2,
      relative: 0,
      snr: null,
    });
  });

  it('the stream can be seen in every plan without changing it, the same bits on wasm', () => {
    const tokens = text(11);
    for (const recipe of Object.values(recipes)) {
      const plan = planOf(program, recipe, statsOfToy(toy, recipe));
      const seen = (executable: ReturnType<typeof interpret>) => {
        const hidden: Float32Array[] = [];
        const logits = executable.open().feed(tokens, {
          observe: (site, _, x) => site === 'hidden' && hidden.push(x.data.slice()),
        });
        return { logits: logits.data, hidden };
      };
      const shown = withHiddenSites(plan);
      const expected = seen(interpret(shown));
      expect(expected.hidden.length).toBe(toy.config.layers);
      expect(sameBits(expected.logits, run(plan, tokens).data)).toBe(true);
      const executable = prepareOn(backends.wasm, shown);
      const found = seen(executable);
      executable.dispose?.();
      expect(found.hidden.every((h, i) => sameBits(h, expected.hidden[i]))).toBe(true);
    }
  });

  it('a plan that is the float model has no error', async () => {
    const itself = { name: 'itself', scheme: {}, plan: async <T>(use: (plan: Program) => T) => use(program) };
    const { recipes: measured } = await measureLayers(program, [itself], { windows: [text(9)], prepare });
    expect(measured[0].layers.map(({ relative }) => relative)).toEqual(new Array(toy.config.layers).fill(0));
  });
});

describe('outliers', () => {
  const allAt = (range: number) =>
    Object.fromEntries(
      program.graph.nodes.flatMap(node => (node.kind === 'site' ? [[node.out, range]] : [])),
    );

  it('a rotation keeps the rms; clipping at the range leaves nothing beyond it', () => {
    const windows = [text(16), text(16, 2)];
    const range = Math.fround(0.05);
    const { layers, tokens } = measureOutliers(program, { windows, prepare }, 0.9, allAt(range));
    expect(tokens).toBe(32);
    expect(layers.length).toBe(toy.config.layers);
    for (const { u, y } of layers) {
      expect(y.after.shape.rms / y.before.shape.rms).toBeCloseTo(1, 5);
      expect(y.before.histogram.counts.reduce((a, b) => a + b, 0)).toBe(y.before.shape.count);
      expect(y.before.shape.max).toBe(y.before.channels[0]);
      expect(u.after.shape.max).toBeLessThanOrEqual(range);
      expect(u.range).toBe(range);
      expect(u.after.step).toBe(range / 127);
      expect(u.share > 0 === u.before.shape.max > range).toBe(true);
      expect(u.share).toBeLessThanOrEqual(1);
    }
  });

  it('a range beyond every value clips none, and its grid is coarser than absmax', () => {
    const { layers } = measureOutliers(program, { windows: [text(16)], prepare }, 0.9, allAt(1e6));
    for (const { u } of layers) {
      expect([u.share, u.after.step]).toEqual([0, 1e6 / 127]);
      expect(u.after.shape).toEqual(u.before.shape);
    }
  });
});

describe('an ablation', () => {
  const settings = {
    ...ABLATION_DEFAULTS,
    limit: 24,
    window: 12,
    samples: 2,
    sample: 10,
    seeds: 2,
    percentiles: [1, 0.999],
  };
  const input = { program, calibration: text(90), evaluation: text(60, 5), plans: [], prepare };

  it('has all its parts, the same each time, and counts to the end', async () => {
    const ends = new Map<string, readonly [number, number]>();
    const first = await ablate(
      { ...input, onProgress: (part, done, total) => ends.set(part, [done, total]) },
      settings,
    );
    expect(Object.keys(first)).toEqual(['techniques', 'ladder', 'outliers', 'sites', 'layers']);
    expect(await ablate(input, settings)).toEqual(first);
    for (const [part, [done, total]] of ends) expect({ part, done }).toEqual({ part, done: total });
    const { rows, verdicts } = first.techniques!;
    expect(rows.map(({ name, p }) => [name, p])).toEqual(arms([1, 0.999]).map(({ name, p }) => [name, p]));
    expect(verdicts.length).toBe(4);
    for (const { trials, min, mean, max } of rows) {
      expect(trials.map(({ seed }) => seed)).toEqual([0, 1]);
      expect(min <= mean && mean <= max).toBe(true);
    }
  });

  it('has only the parts that are asked for', async () =>
    expect(Object.keys(await ablate(input, { ...settings, parts: ['outliers'] }))).toEqual(['outliers']));

  it('one pass more of a seed changes that seed only', () => {
    const reference = floatReference(program, { windows: windowsOf(input.evaluation, 12, 24), prepare });
    const measured = (seeds: number[]) =>
      measureTechniques(
        reference,
        seeds,
        seed => samplesBySeed(input.calibration, 2, 10, seed),
        [0.999],
      ).rows.map(({ trials }) => trials[0]);
    expect(measured([0, 7])).toEqual(measured([0]));
  });
});
