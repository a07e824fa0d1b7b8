/**
 * What the differential fuzz draws: a recipe in the words of scheme.ts, a model, and a walk of texts through it. Every part is a
 * plain value, so that a case that fails can be printed, and made smaller by fast-check.
 */
import fc from 'fast-check';
import type { MambaConfig } from '../../src/model/mamba.ts';
import type { Mamba2Config } from '../../src/model/mamba2.ts';
import { recipes } from '../../src/quant/recipes.ts';

/** Mostly what is right; now and then what has to be refused. */
const mostly = <T>(right: fc.Arbitrary<T>, ...wrong: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 400, arbitrary: right }, { weight: 1, arbitrary: fc.constantFrom(...wrong) });
const some = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(fields, { requiredKeys: [] });
/** A few words, each with a value. */
const few = (words: readonly string[], value: fc.Arbitrary<unknown>, unknown: string) =>
  fc
    .array(fc.tuple(mostly(fc.constantFrom(...words), unknown), value), { maxLength: 4 })
    .map(entries => Object.fromEntries(entries) as Record<string, unknown>);

const BLOCK_SITES = ['blockIn', 'convIn', 'gate', 'scanIn', 'dtLow', 'B', 'C', 'dt', 'scanOut'];
const ROLES = ['inProj', 'conv', 'xProj', 'dtProj', 'outProj', 'embedding', 'head'];
/** Of these, the words that Mamba-2 does not have. */
const ONLY_MAMBA = ['dtLow', 'xProj', 'dtProj'] as const;
const STATES = ['convState', 'ssmState'];

const p = mostly(fc.constantFrom(1, 0.99999, 0.99, 0.9, 0.5, 1e-9), 0, 1.5, '1', null);
const basis = mostly(
  fc.oneof(
    fc.constantFrom('none', 'hadamard', 'channels'),
    fc.record({ smooth: mostly(fc.constantFrom(0.5, 0.1, 1), 0, 2) }),
  ),
  'rotated',
  {},
);
const range = mostly(
  fc.oneof(
    fc.constant('absmax'),
    fc.record({
      percentile: fc.oneof({ weight: 5, arbitrary: p }, fc.array(p, { minLength: 1, maxLength: 3 })),
      ema: mostly(fc.constantFrom(0.01, 0.5, 1), 0),
    }),
  ),
  'max',
  { percentile: 1 },
);
const site = {
  basis,
  range,
  when: mostly(fc.constantFrom('static', 'dynamic'), 'never'),
  bits: mostly(fc.constant(8), 4, 7),
};
const group = mostly(fc.constantFrom(64, 32, 16, 8, 4, 3, 2, 1, 128), 0, 1.5);
const weight = mostly(
  fc.oneof(
    fc.record({
      bits: fc.constant(8),
      per: mostly(fc.oneof(fc.constantFrom('tensor', 'row'), fc.record({ group })), 'column'),
    }),
    fc.record({
      bits: fc.constant(4),
      per: fc.record({ group }),
      rounding: mostly(fc.constantFrom('nearest', 'nearest', 'nearest', 'gptq'), 'up'),
    }),
  ),
  { bits: 8, per: 'row', rounding: 'nearest' },
  { bits: 4, per: 'row', rounding: 'nearest' },
  { bits: 2, per: 'tensor' },
);
const words = {
  weights: weight,
  acts: mostly(
    fc.record({ ...site, basis: fc.oneof({ weight: 3, arbitrary: fc.constant('none') }, basis) }),
    {
      bits: 8,
    },
  ),
  at: few([...BLOCK_SITES, 'headIn'], some(site), 'attention'),
  weightsAt: few(ROLES, weight, 'router'),
  residual: mostly(fc.constantFrom('hadamard', undefined, undefined), 'none'),
  states: few(STATES, fc.record({ bits: mostly(fc.constantFrom(16, 8), 4) }), 'kvState'),
  optional: mostly(fc.constantFrom([], ['gate', 'conv'], [...ONLY_MAMBA]), ['kvState']),
};
/** Words at random, or a row of the table with some of its words replaced. */
const recipe: fc.Arbitrary<unknown> = mostly(
  fc.oneof(
    some(words),
    fc
      .tuple(fc.constantFrom(...Object.values(recipes)), some(words), fc.nat(127))
      .map(([row, patch, keep]) => ({
        ...row,
        ...Object.fromEntries(Object.entries(patch).filter((_, i) => (keep >> i) % 4 === 0)),
      })),
  ),
  null,
  [],
  { weight: { bits: 8, per: 'tensor' } },
);

/** Sizes around the tiles of the kernels, sizes of every Hadamard base, and sizes that have none. */
const width = fc.oneof(
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }) },
  {
    weight: 6,
    arbitrary: fc.constantFrom(2, 4, 8, 16, 32, 64, 12, 20, 24, 28, 36, 40, 44, 48, 52, 56, 60, 80, 96),
  },
  { weight: 1, arbitrary: fc.integer({ min: 41, max: 140 }) },
);
const eps = fc.constantFrom(1e-5, 1e-6, 2 ** -126, 0.5);
const mamba: fc.Arbitrary<MambaConfig> = fc
  .record({
    falcon: fc.boolean(),
    layers: fc.constantFrom(1, 1, 2, 3),
    dModel: width,
    dInner: width,
    dState: fc.oneof(fc.constantFrom(16, 4, 8), fc.integer({ min: 1, max: 20 })),
    dConv: fc.oneof(fc.constant(4), fc.integer({ min: 1, max: 6 })),
    dtRank: fc.oneof(fc.constantFrom(1, 2, 4, 8), fc.integer({ min: 1, max: 10 })),
    vocabSize: fc.integer({ min: 1, max: 80 }),
    normEps: eps,
    mixerNormEps: eps,
    tieEmbeddings: fc.boolean(),
    useBias: fc.boolean(),
    useConvBias: fc.boolean(),
  })
  .map(({ falcon, mixerNormEps, ...sizes }) => ({
    architecture: falcon ? 'falcon-mamba' : 'mamba',
    naming: 'hf',
    ...sizes,
    ...(falcon && { mixerNormEps }),
  }));
/** Heads whose channels are no whole vectors and more than a tile, groups that begin inside a vector, limits that act. */
const mamba2: fc.Arbitrary<Mamba2Config> = fc
  .record({
    layers: fc.constantFrom(1, 1, 2, 3),
    dModel: width,
    groups: fc.constantFrom(1, 1, 2, 3, 4),
    headsOfGroup: fc.integer({ min: 1, max: 4 }),
    headDim: fc.oneof(fc.constantFrom(8, 4, 16), fc.integer({ min: 1, max: 35 })),
    dState: fc.constantFrom(4, 8, 12, 16, 20, 36, 128),
    dConv: fc.oneof(fc.constant(4), fc.integer({ min: 1, max: 6 })),
    limits: fc.constantFrom({}, {}, { dtHi: 0.1 }, { dtLo: 0.01, dtHi: 0.5 }, { dtLo: 0.2, dtHi: 0.2 }),
    vocabSize: fc.integer({ min: 1, max: 80 }),
    normEps: eps,
    tieEmbeddings: fc.boolean(),
    useBias: fc.boolean(),
    useConvBias: fc.boolean(),
  })
  .map(({ headsOfGroup, limits, ...sizes }) => ({
    architecture: 'mamba2',
    naming: 'hf',
    heads: headsOfGroup * sizes.groups,
    ...sizes,
    ...limits,
  }));
const config: fc.Arbitrary<MambaConfig | Mamba2Config> = fc.oneof(mamba, mamba2);

/** A weight of which a value, or all, are something that no training gives. By their numbers, modulo how many there are. */
const odd = fc.record({
  ref: fc.nat(40),
  at: fc.option(fc.nat(1000), { nil: 'all' as const }),
  /** As text: JSON has no NaN. The sign `*` multiplies. */
  value: fc.constantFrom(
    ...['NaN', 'Infinity', '-Infinity', '3.4e38', '-3.4e38', '1e15', '-0', '0', '1e-45', '1e-39'],
    ...['*1e15', '*1e-15', '*1e30', '*-1', '*0'],
  ),
});

/** The row of the last token is NaN. That token ends a turn now and then, whose feed fails, and is not calibrated on. */
const oddToken = fc.record({
  ref: fc.constant(0),
  at: fc.constant('end' as const),
  value: fc.constant('NaN'),
});

const who = fc.nat(3);
const count = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 5 }) },
  { weight: 3, arbitrary: fc.integer({ min: 6, max: 40 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 127, 128, 129, 150, 260) },
);
/** `count` tokens by a seed; now and then ending with the last token of the vocabulary, or with one that it does not have. */
const turn = fc.record({
  who,
  count,
  seed: fc.nat(1000),
  end: fc.oneof(
    { weight: 60, arbitrary: fc.constant(null) },
    { weight: 10, arbitrary: fc.constant('last' as const) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 1000, 2 ** 31 - 1) },
  ),
});
/** For different texts; now and then for one of them twice, which is refused. */
const turns = fc.oneof(
  {
    weight: 40,
    arbitrary: fc.uniqueArray(turn, { selector: ({ who: text }) => text, minLength: 1, maxLength: 4 }),
  },
  fc.array(turn, { minLength: 1, maxLength: 4 }),
);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      act: fc.constant('feed' as const),
      turns,
      logits: fc.constantFrom('all' as const, 'last' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      act: fc.constantFrom(...(['fork', 'save', 'load', 'snapshot', 'restore', 'close', 'restart'] as const)),
      who,
      /** Another sequence, or where a state is kept. */
      other: who,
    }),
  },
);

export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
export type Turn = typeof turn extends fc.Arbitrary<infer T> ? T : never;

export const drawn = fc.record({
  recipe,
  config,
  seed: fc.nat(1_000_000),
  odd: fc.oneof(
    { weight: 5, arbitrary: fc.constant([]) },
    { weight: 2, arbitrary: fc.array(odd, { minLength: 1, maxLength: 3 }) },
    { weight: 1, arbitrary: fc.tuple(oddToken) },
  ),
  samples: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 3 }),
  walk: fc.array(step, { minLength: 1, maxLength: 8 }),
  /** How many, and on which path: to start threads takes longer than all the rest. */
  threads: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 2, max: 4 })),
  threaded: fc.constantFrom(...(['walk', 'walk', 'walk', 'calibration', 'folder', 'observer'] as const)),
});
export type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never;
