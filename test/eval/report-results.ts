/** Results as a run prints them, made up: every section of a report, with the shapes that real ones have. */

import { rungs } from '../../src/eval/ladder.ts';
import { histogramObserver, type Shape, shapeObserver, sortedChannels } from '../../src/eval/moments.ts';
import type { OutlierLayer, Side } from '../../src/eval/outliers.ts';
import type { ResultRow, Results } from '../../src/eval/report/results.ts';
import { siteArms } from '../../src/eval/sensitivity.ts';
import { arms, claims, judge, type TechniqueRow } from '../../src/eval/techniques.ts';
import { mamba } from '../../src/model/mamba.ts';
import { random } from '../../src/text/random.ts';

/* biome-ignore format: a table */
const ROWS: readonly (readonly [string, number, number, number, number])[] = [
  ['fp32', 21.898, 0, 58.87, 310],
  ['naive-static', 25.037, 0.1312, 24.69, 498],
  ['dynamic', 22.0, 0.0046, 24.69, 441],
  ['smoothquant', 22.774, 0.0411, 24.7, 447],
  ['quarot-style', 22.011, 0.0053, 24.69, 389],
  ['percentile-only', 24.807, 0.1234, 24.69, 499],
  ['hadamard-only', 22.436, 0.0244, 24.69, 482],
  ['quamba', 22.146, 0.0118, 24.69, 481],
  ['quamba-int8-head', 22.221, 0.0152, 15.3, 640],
];

export const madeUpRows = (): readonly ResultRow[] =>
  ROWS.map(([recipe, perplexity, kl, megabytes, decode], i) => ({
    recipe,
    perplexity,
    nats: Math.log(perplexity),
    tokens: 261888,
    nllSum: Math.log(perplexity) * 261888,
    kl,
    top1: 1 - Math.sqrt(kl),
    bytes: Math.round(megabytes * 1e6),
    stateBytes: 700416,
    prefill: 2 * decode + i,
    decode,
    tasks: {
      lambada: { acc: 0.1 - 0.1 * kl, stderr: 0.0042, n: 5153 },
      piqa: { acc: 0.55, acc_norm: 0.56, stderr: 0.01, n: 1838 },
    },
  }));

const CHANGES = { baseline: 0.145, clip: 0.141, rotate: 0.024, both: 0.0113 } as const;

export function madeUpResults(layerCount = 12, seeds = 3): Results {
  const next = random(7);
  const fidelity = (change: number) => ({
    nats: Math.log(21.898 * (1 + change)),
    perplexity: 21.898 * (1 + change),
    change,
    kl: Math.abs(change) * 0.9,
    top1: 1 - Math.min(0.5, Math.abs(change)),
  });
  const all = arms();
  const blocks = all.map(({ name }) =>
    Array.from({ length: seeds }, () =>
      Float64Array.from({ length: 40 }, () => 3 + CHANGES[name] + next() / 50),
    ),
  );
  const rows = all.map(({ name, p }): TechniqueRow => {
    const bend = p === undefined ? 0 : (0.05 * (Math.log10(1 - Math.min(p, 0.999999)) + 4.4) ** 2) / 4;
    const trials = Array.from({ length: seeds }, (_, seed) => ({
      seed,
      ...fidelity(CHANGES[name] * (1 + bend + (next() - 0.5) / 8)),
    }));
    const changes = trials.map(({ change }) => change);
    return {
      name,
      ...(p === undefined ? {} : { p }),
      trials,
      mean: changes.reduce((sum, change) => sum + change, 0) / seeds,
      min: Math.min(...changes),
      max: Math.max(...changes),
    };
  });
  return {
    model: 'models/mamba-books-15m',
    backend: 'wasm',
    text: 'validation.txt.gz',
    calibrationText: 'calibration.txt.gz',
    settings: { limit: 4096, window: 512, samples: 16, sample: 512, seeds },
    results: madeUpRows(),
    ablation: {
      techniques: {
        float: { nats: Math.log(21.898), perplexity: 21.898 },
        seeds: Array.from({ length: seeds }, (_, seed) => seed),
        predictions: 2560,
        rows,
        verdicts: judge(rows, blocks, claims([1, 0.99999])),
      },
      ladder: {
        p: 0.99999,
        predictions: 4088,
        rows: rungs(0.99999).map(({ name }, i) => ({ name, ...fidelity(0.145 / (i + 1)) })),
      },
      outliers: {
        tokens: 1024,
        p: 0.99999,
        layers: Array.from({ length: layerCount }, (_, layer) => layerOf(layer, next)),
      },
      sites: {
        p: 0.99999,
        predictions: 2044,
        rows: siteArms(0.99999, mamba.sites).map(({ kind, site, how }, i) => ({
          kind,
          ...(site && { site }),
          how,
          ...fidelity(kind === 'only' ? 10 ** (-4 + ((i * 37) % 9) / 4) : 0.0113 - (i % 5) / 1000),
        })),
      },
      layers: {
        tokens: 1024,
        recipes: ROWS.slice(1).map(([recipe, , kl]) => ({
          recipe,
          layers: Array.from({ length: layerCount }, (_, layer) => {
            const relative = Math.sqrt(kl / 3) * (0.5 + layer / (layer + 3));
            return { layer, relative, snr: -20 * Math.log10(relative) };
          }),
        })),
      },
    },
  };
}

function layerOf(layer: number, next: () => number): OutlierLayer {
  const wild = 4 + 3 * layer;
  const before = sideOf(next, wild);
  const u = sideOf(next, 3);
  const range = u.shape.max * 0.7;
  return {
    layer,
    u: { before: u, after: { ...u, step: range / 127 }, range, share: 2.5e-5 },
    y: { before, after: sideOf(next, 1) },
  };
}

/** Values whose channel j is larger the smaller j is. */
function sideOf(next: () => number, wild: number): Side {
  const [tokens, channels] = [40, 64];
  const x = Float32Array.from({ length: tokens * channels }, (_, i) => {
    const normal = (next() + next() + next() - 1.5) * 2;
    return normal * (i % channels === 0 ? wild : 1 / (1 + (i % channels) / 20));
  });
  const most = new Float32Array(channels);
  for (const [i, value] of x.entries()) most[i % channels] = Math.max(most[i % channels], Math.abs(value));
  const [shape, histogram] = [shapeObserver(), histogramObserver(64)];
  shape.observe(x);
  histogram.observe(x);
  const found: Shape = shape.shape();
  return {
    shape: found,
    histogram: histogram.histogram(),
    channels: sortedChannels(most),
    step: found.max / 127,
  };
}
