/** What test-cuda.mjs does with a plan whose states grow: attention, with the angles of its tokens, beside a scan. */

import { gauss, wild } from '../dist/conformance/inputs.js';
import { cut, fed, statesOf } from '../dist/conformance/plan.js';
import { hybridToys, planOfToy } from '../dist/conformance/toy.js';
import { trace, weightsOf } from '../dist/graph.js';
import { ops } from '../dist/ops/index.js';
import { ropeFrequencies } from '../dist/ops/rope-table.js';
import { recipes } from '../dist/quant/recipes.js';
import { f16 } from '../dist/quant/scheme.js';
import { interpret } from '../dist/run.js';
import { shapeAt } from '../dist/state.js';
import { joined, sizeOf, tensor } from '../dist/tensor.js';
import { random } from '../dist/text/random.js';
import { compare, complaintOf } from './test-cuda-ops.mjs';

const VOCAB = 23;
const SIZES = { m: 12, h: 4, g: 2, p: 8, n: 8 };

/**
 * @import { Cuda } from '../dist/backends/cuda/index.js'
 * @import { State } from '../dist/executable.js'
 * @import { Builder, Program } from '../dist/graph.js'
 * @import { Check, Sections } from './test-cuda-ops.mjs'
 * @import { Recipe } from '../dist/quant/scheme.js'
 * @typedef {(cuda: Cuda, plan: Program, check: Check) => void} OfPlan
 */

/**
 * How keys and values are kept.
 *
 * @typedef {readonly [keys: StateType['dtype'], values: StateType['dtype']]} Kept
 * @import { StateType } from '../dist/state.js'
 */
const KEPT = /** @type {readonly Kept[]} */ ([
  ['f32', 'f32'],
  ['f16', 'f16'],
  ['i8-dynamic', 'i8-dynamic'],
]);
const MIXED = /** @type {readonly Kept[]} */ ([
  ['f32', 'i8-dynamic'],
  ['f16', 'f32'],
  ['i8-dynamic', 'f16'],
]);

/** @type {Record<string, Recipe>} of the toys of each family */
const RECIPES = {
  fp32: recipes.fp32,
  'quamba-ssd-int8-kv': recipes['quamba-ssd-int8-kv'],
  'quamba-ssd with an f16 cache': { ...recipes['quamba-ssd'], states: { keyCache: f16, valueCache: f16 } },
  'w4a8-ssd-mixed': recipes['w4a8-ssd-mixed'],
};

/** @type {(cuda: Cuda, options: { brief: boolean }) => Sections} */
export const hybridSections = (cuda, { brief }) => ({
  ...Object.fromEntries(
    KEPT.flatMap(kept => sectionsOf(`states that grow, as ${kept[0]}`, hybrid(kept), cuda)),
  ),
  ...Object.fromEntries(
    KEPT.flatMap(kept => [
      [`states that grow, as ${kept[0]}, of a long text`, check => long(cuda, hybrid(kept), check)],
      [`states that grow, as ${kept[0]}, of any value`, check => rounded(cuda, hybrid(kept), check)],
    ]),
  ),
  'states that grow, keys and values unlike': check => {
    for (const kept of MIXED) whole(cuda, hybrid(kept), check);
  },
  ...Object.fromEntries(
    hybridToys().flatMap(toy =>
      Object.entries(RECIPES)
        .slice(0, brief ? 2 : undefined)
        .flatMap(([name, recipe]) =>
          sectionsOf(`hybrids, ${toy.name} ${name}`, planOfToy(toy, recipe), cuda),
        ),
    ),
  ),
  'states that are refused': check => refusals(cuda, check),
});

/** @type {(title: string, plan: Program, cuda: Cuda) => [string, (check: Check) => void][]} */
const sectionsOf = (title, plan, cuda) => [
  [title, check => whole(cuda, plan, check)],
  [`${title}, of several sequences`, check => batches(cuda, plan, check)],
  [`${title}, saved and forked`, check => moved(cuda, plan, check)],
];

/**
 * Attention and its MLP, a scan, and again attention.
 *
 * @type {(kept: Kept) => Program}
 */
function hybrid([keys, values]) {
  const { m, h, g: groups, p, n } = SIZES;
  /** @type {Map<string, import('../dist/tensor.js').Tensor>} */
  const weights = new Map([['freq', tensor(ropeFrequencies(100, 3))]]);
  const next = random(9);
  /** @type {(g: Builder, name: string, ...shape: number[]) => string} */
  const weight = (g, name, ...shape) => {
    weights.set(
      name,
      tensor(
        Float32Array.from({ length: sizeOf(shape) }, () => gauss(next) / 3),
        shape,
      ),
    );
    return g.weight(name, shape);
  };
  const graph = trace((g, tokens) => {
    const freq = g.weight('freq', [3]);
    const cos = g.op('cos', ops.ropeTable, { tokens, freq, fed: g.state('fed.cos', [1]) });
    const sin = g.op('sin', ops.ropeTable, { tokens, freq, fed: g.state('fed.sin', [1]) }, { sine: true });
    let x = g.op('x', ops.embedding, { tokens, w: weight(g, 'table', VOCAB, m) });
    for (const [i, isAttention] of [true, false, true].entries()) {
      const layer = g.scope(`layer.${i}`);
      /** @type {(name: string, of: string, rows: number, columns?: number) => string} */
      const linear = (name, of, rows, columns = m) =>
        layer.op(name, ops.linear, { x: of, w: weight(g, `${i}.${name}`, rows, columns) });
      const normed = layer.op('normed', ops.rmsNorm, { x });
      const turned = /** @param {string} name @param {number} heads */ (name, heads) =>
        layer.op(`${name}.turned`, ops.rope, { x: linear(name, normed, heads * p), cos, sin }, { h: heads });
      const y = isAttention
        ? layer.op(
            'y',
            ops.attention,
            {
              q: turned('q', h),
              k: turned('k', groups),
              v: linear('v', normed, groups * p),
              K: layer.state('K', ['t', groups, p]),
              V: layer.state('V', ['t', groups, p]),
            },
            { h, g: groups, scale: p ** -0.5 },
          )
        : layer.op(
            'y',
            ops.ssdScan,
            {
              dt: linear('dt', normed, h),
              x: linear('u', normed, h * p),
              A: layer.op('A', ops.negExp, { x: weight(g, `${i}.A`, h, 1) }),
              B: linear('B', normed, groups * n),
              C: linear('C', normed, groups * n),
              S: layer.state('S', [h, n, p]),
            },
            { g: groups },
          );
      const mixed = layer.op('mixed', ops.add, { x, y: linear('out', y, m, h * p) });
      const again = layer.op('again', ops.rmsNorm, { x: mixed });
      const [gate, up] = ['gate', 'up'].map(name => linear(name, again, 2 * m));
      const act = isAttention
        ? layer.op('act', ops.swiglu, { gate, up })
        : layer.op('act', ops.squaredRelu, { x: up });
      x = layer.op('h', ops.add, { x: mixed, y: linear('down', act, m, 2 * m) });
    }
    return g.op('logits', ops.linear, { x, w: weight(g, 'head', VOCAB, m) });
  });
  return keptAs({ graph, weights: weightsOf(weights) }, ref =>
    ref.endsWith('.K') ? keys : ref.endsWith('.V') ? values : 'f32',
  );
}

/** @type {(program: Program, dtypeOf: (state: string) => StateType['dtype']) => Program} */
function keptAs({ graph, weights }, dtypeOf) {
  const states = new Map([...graph.states].map(([ref, type]) => [ref, { ...type, dtype: dtypeOf(ref) }]));
  return { graph: { ...graph, states }, weights };
}

/** @type {(length: number, seed: number) => Int32Array} */
const text = (length, seed) => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * VOCAB));
};

/**
 * In any cut, by each way to run a token.
 *
 * @type {OfPlan}
 */
function whole({ open }, plan, check) {
  const tokens = text(140, 1);
  const expected = fed(interpret(plan), [tokens]);
  for (const decode of /** @type {const} */ (['nodes', 'best']))
    for (const sizes of [[140], [126, 1, 1, 1, 1, 10]]) {
      const executable = open(plan, { decode, chunk: 100 });
      compare(`${decode} ${sizes}`, fed(executable, cut(tokens, sizes)), expected, check);
      executable.dispose();
    }
}

/**
 * What the library cannot do is refused in words.
 *
 * @type {(cuda: Cuda, check: Check) => void}
 */
function refusals({ open }, check) {
  const plan = hybrid(['f32', 'f32']);
  /** @type {(what: string, attempt: () => unknown, sentence: RegExp) => void} */
  const refused = (what, attempt, sentence) => {
    const complaint = complaintOf(attempt);
    check(what, sentence.test(complaint) ? '' : complaint);
  };
  const scan = keptAs(plan, ref => (ref.endsWith('.S') ? 'f16' : 'f32'));
  refused(
    'a state that does not grow',
    () => open(scan),
    /plan\.states\.layer\.1\.S is kept as f16; the library keeps states that do not grow as f32$/,
  );
  refused(
    'persistent',
    () => open(plan, { decode: 'persistent' }),
    /decode PERSISTENT needs a plan of Mamba-1/,
  );
}

/**
 * Texts at the edge of a block and far from it, side by side, give what each gives alone.
 *
 * @type {OfPlan}
 */
function batches({ open }, plan, check) {
  const reference = interpret(plan);
  const lengths = [1, 126, 254, 128];
  const texts = lengths.map((length, i) => text(length + 8, i + 1));
  const expected = texts.map(tokens => fed(reference, [tokens]));
  const steps = [
    [1, 2, 1, 3],
    [1, 1, 1, 1],
    [1, 1, 1, 1],
    [5, 4, 5, 3],
  ];
  for (const decode of /** @type {const} */ (['nodes', 'best'])) {
    const many = open(plan, { sequences: texts.length, decode, chunk: 100 });
    const running = texts.map((tokens, i) => {
      const sequence = many.open();
      return { sequence, rows: [sequence.feed(tokens.slice(0, lengths[i]))], at: lengths[i] };
    });
    for (const step of steps) {
      const turns = running.map(({ sequence, at }, i) => ({
        sequence,
        tokens: texts[i].slice(at, at + step[i]),
      }));
      for (const [i, logits] of many.feed(turns).entries()) {
        running[i].rows.push(logits);
        running[i].at += step[i];
      }
    }
    for (const [i, { sequence, rows }] of running.entries())
      compare(`${decode} ${i}`, { logits: joined(rows), ...statesOf(sequence) }, expected[i], check);
    many.dispose();
  }
}

/**
 * A text that is saved, loaded, forked or begun anew goes on as it would have, also between the GPU and the reference.
 *
 * @type {OfPlan}
 */
function moved({ open }, plan, check) {
  const here = interpret(plan);
  const rest = text(9, 3);
  const other = text(9, 4);
  for (const length of [0, 128, 130]) {
    const begun = text(length, 2);
    const executable = open(plan, { sequences: 4 });
    const [there, elsewhere] = [executable, here].map(one => {
      const sequence = one.open();
      if (length > 0) sequence.feed(begun);
      return sequence;
    });
    const fork = there.fork();
    const saved = there.save();
    const ends = {
      'it goes on': there,
      'its fork': fork,
      'saved here, loaded there': executable.open(elsewhere.save()),
      'saved there, loaded here': here.open(saved),
    };
    const went = Object.entries(ends).map(([what, sequence]) => {
      const tokens = sequence === fork ? other : rest;
      return { what, sequence, tokens, logits: sequence.feed(tokens) };
    });
    for (const { what, sequence, tokens, logits } of went) {
      const expected = fed(here, [Int32Array.from([...begun, ...tokens])]);
      const got = { ...statesOf(sequence), logits };
      const last = tensor(expected.logits.data.slice(length * logits.shape[1]), logits.shape);
      compare(`${length}, ${what}`, got, { ...expected, logits: last }, check);
    }
    there.load();
    compare(
      `${length}, begun anew`,
      { logits: there.feed(rest), ...statesOf(there) },
      fed(here, [rest]),
      check,
    );
    executable.dispose();
  }
}

/**
 * Values of every kind are kept as the reference keeps them: denormals, infinities and NaN too.
 *
 * @type {OfPlan}
 */
function rounded({ open }, plan, check) {
  const executable = open(plan);
  const state = stateAt(plan, 300, wild);
  const [got, expected] = [executable, interpret(plan)].map(one => statesOf(one.open(state)));
  compare('300 tokens', got, expected, check);
  executable.dispose();
}

/**
 * A text of more pages than blocks of threads share one each.
 *
 * @type {OfPlan}
 */
function long({ open }, plan, check) {
  const position = 2170;
  const state = stateAt(plan, position, gauss);
  const executable = open(plan);
  const [got, expected] = [executable, interpret(plan)].map(one => {
    const sequence = one.open(state);
    const logits = joined([1, 1, 5, 1].map((length, i) => sequence.feed(text(length, i))));
    return { logits, ...statesOf(sequence) };
  });
  compare(`${position} tokens`, got, expected, check);
  executable.dispose();
}

/** @type {(plan: Program, position: number, draw: (next: () => number) => number) => State} */
function stateAt({ graph }, position, draw) {
  const next = random(5);
  const values = [...graph.states].map(([ref, type]) => {
    const shape = shapeAt(type, position);
    return /** @type {const} */ ([
      ref,
      tensor(
        Float32Array.from({ length: sizeOf(shape) }, () => draw(next)),
        shape,
      ),
    ]);
  });
  return { position, values: new Map(values) };
}
