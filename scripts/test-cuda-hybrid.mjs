/** What test-cuda.mjs does with a plan whose states grow: attention, with the angles of its tokens, beside a scan. */

import { gauss } from '../dist/conformance/inputs.js';
import { cut, fed, joined, statesOf } from '../dist/conformance/plan.js';
import { trace, weightsOf } from '../dist/graph.js';
import { ops } from '../dist/ops/index.js';
import { ropeFrequencies } from '../dist/ops/rope-table.js';
import { interpret } from '../dist/run.js';
import { shapeAt } from '../dist/state.js';
import { sizeOf, tensor } from '../dist/tensor.js';
import { random } from '../dist/text/random.js';
import { compare, complaintOf } from './test-cuda-ops.mjs';

const VOCAB = 23;
const SIZES = { m: 12, h: 4, g: 2, p: 8, n: 8 };

/**
 * @import { Cuda } from '../dist/backends/cuda/index.js'
 * @import { Builder, Program } from '../dist/graph.js'
 * @import { Check, Sections } from './test-cuda-ops.mjs'
 */

/** @type {(cuda: Cuda) => Sections} */
export const hybridSections = cuda => ({
  'states that grow': check => whole(cuda, check),
  'states that grow, of several sequences': check => batches(cuda, check),
  'states that grow, saved and forked': check => moved(cuda, check),
  'states that grow, of a long text': check => long(cuda, check),
});

/**
 * Attention and its MLP, a scan, and again attention.
 *
 * @type {(kept?: 'f32' | 'f16') => Program}
 */
function hybrid(kept = 'f32') {
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
  const states = new Map([...graph.states].map(([ref, type]) => [ref, { ...type, dtype: kept }]));
  return { graph: { ...graph, states }, weights: weightsOf(weights) };
}

/** @type {(length: number, seed: number) => Int32Array} */
const text = (length, seed) => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * VOCAB));
};

/**
 * In any cut, by each way to run a token; what the library cannot do is refused in words.
 *
 * @type {(cuda: Cuda, check: Check) => void}
 */
function whole({ open }, check) {
  const plan = hybrid();
  const tokens = text(140, 1);
  const expected = fed(interpret(plan), [tokens]);
  for (const decode of /** @type {const} */ (['nodes', 'best']))
    for (const sizes of [[140], [126, 1, 1, 1, 1, 10]]) {
      const executable = open(plan, { decode, chunk: 100 });
      compare(`${decode} ${sizes}`, fed(executable, cut(tokens, sizes)), expected, check);
      executable.dispose();
    }
  /** @type {(what: string, attempt: () => unknown, sentence: RegExp) => void} */
  const refused = (what, attempt, sentence) => {
    const complaint = complaintOf(attempt);
    check(what, sentence.test(complaint) ? '' : complaint);
  };
  refused('f16', () => open(hybrid('f16')), / is kept as f16; the library keeps states as f32$/);
  refused(
    'persistent',
    () => open(plan, { decode: 'persistent' }),
    /decode PERSISTENT needs a plan of Mamba-1/,
  );
}

/**
 * Texts at the edge of a block and far from it, side by side, give what each gives alone.
 *
 * @type {(cuda: Cuda, check: Check) => void}
 */
function batches({ open }, check) {
  const plan = hybrid();
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
 * @type {(cuda: Cuda, check: Check) => void}
 */
function moved({ open }, check) {
  const plan = hybrid();
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
      const last = tensor(expected.logits.data.slice(length * VOCAB), logits.shape);
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
 * A text of more pages than blocks of threads share one each.
 *
 * @type {(cuda: Cuda, check: Check) => void}
 */
function long({ open }, check) {
  const plan = hybrid();
  const next = random(5);
  const position = 2170;
  const values = new Map(
    [...plan.graph.states].map(([ref, type]) => {
      const shape = shapeAt(type, position);
      return [
        ref,
        tensor(
          Float32Array.from({ length: sizeOf(shape) }, () => gauss(next)),
          shape,
        ),
      ];
    }),
  );
  const executable = open(plan);
  const [got, expected] = [executable, interpret(plan)].map(one => {
    const sequence = one.open({ position, values });
    const logits = joined([1, 1, 5, 1].map((length, i) => sequence.feed(text(length, i))));
    return { logits, ...statesOf(sequence) };
  });
  compare(`${position} tokens`, got, expected, check);
  executable.dispose();
}
