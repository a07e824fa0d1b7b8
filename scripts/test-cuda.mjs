/**
 * The CUDA backend against the reference, bit by bit, on a GPU: every op over its sweep of sizes, around the tiles of its
 * kernels and at the rows of mamba-130m, with zeros of both signs, denormals, infinities and NaN; every recipe as a whole
 * plan in cuts; the embedded model. Two NaNs count as the same. Needs dist/ and the library (npm run build:cuda), and:
 *
 *   node scripts/test-cuda.mjs [--brief] [--only op,…]      --brief: only each op's own sweep
 *
 * The last line is `N passed, N failed`. Without a GPU it says why nothing ran, and exits with 0.
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { prepare } from '../dist/backends/backend.js';
import { cuda } from '../dist/backends/cuda/index.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { choices, pointsOf } from '../dist/conformance/cases-sweep.js';
import { attrsOf, gauss, inputOf, ordinaryCall, wild } from '../dist/conformance/inputs.js';
import { called, expectedOf } from '../dist/conformance/judge.js';
import { cut, expectedFrom, fed } from '../dist/conformance/plan.js';
import { toys } from '../dist/conformance/toy.js';
import { openFile } from '../dist/formats/disk.js';
import { randomModel } from '../dist/model/random-model.js';
import { bind } from '../dist/op.js';
import { ops } from '../dist/ops/index.js';
import { calibrate, needsCalibration } from '../dist/quant/calibrate.js';
import { loadPlan } from '../dist/quant/checkpoint.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { initialState } from '../dist/run.js';
import { sizeOf, tensor, zeros } from '../dist/tensor.js';
import { random } from '../dist/text/random.js';

const { values: options } = parseArgs({
  options: { brief: { type: 'boolean', default: false }, only: { type: 'string' } },
});
const wanted = options.only?.split(',');
const total = { passed: 0, failed: 0 };

const found = cuda();
if ('why' in found) {
  console.log(`skipped, every op and plan on the GPU: ${found.why}`);
  console.log('0 passed, 0 failed');
  process.exit(0);
}
const { backend, about } = found;
const { name: card, sm, multiprocessors, memory } = about.device;
console.log(
  `${card}, sm_${sm}, ${multiprocessors} multiprocessors, ${(memory / 2 ** 30).toFixed(0)} GiB · ${about.library} · built for ${about.builtFor}`,
);

/** Sizes beyond an op's own sweep: the tiles of its kernel, and all ways to scale. */
const BEYOND = {
  'absmax-scale': { l: [2, 70], n: [2, 31, 255, 256, 257, 5120] },
  linear: { l: [3, 7, 8, 9, 33], i: [2, 7, 8, 127, 128, 129, 260], o: [1, 3, 15, 33, 63, 64, 65] },
  'linear-i8': {
    l: [3, 15, 16, 17, 63, 64, 65],
    i: [6, 24, 48, 192, 208, 384],
    o: [1, 8, 15, 33, 64, 65],
    g: [1, 2, 3, 6],
    s: ['l', 1],
    p: ['o', 1],
  },
  'causal-conv1d': {
    l: [31, 300],
    d: [1, 3, 5, 255, 256, 257],
    k: [1, 2, 3, 4, 5],
    activation: ['silu', 'none'],
  },
  'selective-scan': { l: [31, 32, 33, 65, 130], d: [1, 15, 16, 17, 65], n: [1, 2, 6, 15, 16, 17, 40, 300] },
  quantize: { l: [2, 129], n: [2, 3, 5, 15, 16, 17, 33], s: ['l'] },
  dequantize: { l: [2, 129], n: [2, 3, 5], s: ['l'] },
  fwht: {
    l: [2, 130],
    n: [4, 8, 32, 48, 64, 96, 192, 384, 1536, 40, 160, 320, 640, 112, 28, 896, 2560],
    inverse: [false, true],
  },
  'rms-norm': { l: [2, 130], m: [2, 3, 63, 64, 65, 161, 255, 256, 257, 2560], eps: [1e-5, 1e-6] },
  slice: { l: [2, 130], n: [11], start: [0, 1, 2, 3, 4], size: [1, 2, 3, 4, 5, 6] },
  embedding: { l: [130], v: [5, 9], m: [2, 3, 257] },
  'embedding-i8': { l: [130], v: [5, 9, 40], m: [2, 3, 257] },
};
const FLOATS = { plain: gauss, wild };
const ROWS = { l: [2, 130], n: [2, 6, 255, 257], m: [2, 6, 255, 257] };

/** The rows of mamba-130m: m 768, d 1536, n 16, k 4, r 48; and rows too long for shared memory. */
const LARGE = {
  embedding: { l: [64], v: [1000], m: [768] },
  'embedding-i8': { l: [64], v: [1000], m: [768] },
  add: { l: [1, 64], m: [768] },
  'rms-norm': { l: [1, 64], m: [768] },
  linear: [
    { l: [1, 64], i: [768], o: [3072] },
    { l: [1, 64], i: [1536], o: [80, 768] },
    { l: [1, 64], i: [48], o: [1536] },
    { l: [1], i: [768], o: [50280] },
  ],
  'linear-i8': [
    { l: [1, 64, 100], i: [768], o: [3072] },
    { l: [1, 64], i: [1536], o: [80, 768] },
    { l: [1, 64], i: [48], o: [1536] },
    { l: [1, 64], i: [768], o: [768], g: [6, 12], p: ['o'] },
    { l: [1], i: [768], o: [50280], p: ['o'] },
  ],
  slice: { l: [64], n: [3072], start: [0, 1536], size: [1536] },
  'causal-conv1d': { l: [1, 64], d: [1536], k: [4] },
  softplus: { l: [64], n: [1536] },
  silu: { l: [64], n: [1536] },
  'neg-exp': { l: [1536], n: [16] },
  'selective-scan': { l: [1, 64], d: [1536], n: [16] },
  fwht: { l: [1, 64], n: [1536, 16384, 20480], inverse: [false, true] },
  'scale-channels': { l: [64], n: [1536], inverse: [false, true] },
  'absmax-scale': { l: [64], n: [1536] },
  quantize: { l: [64], n: [1536] },
  dequantize: { l: [64], n: [1536] },
};

for (const op of Object.values(ops)) {
  if (wanted && !wanted.includes(op.name)) continue;
  const sweeps = [op.sweep, ...(options.brief ? [] : [BEYOND[op.name] ?? ROWS, LARGE[op.name]].flat())];
  const next = random(op.name.length);
  section(op.name, check => {
    if (!backend.kernelOf(op)) throw new Error(`the library has no ${op.name} of this signature`);
    for (const [words, point] of pointsOf(op, sweeps.flatMap(choices)))
      for (const values of Object.keys(FLOATS))
        compare(`${words} ${values}`, op, callOf(op, point, values, next), check);
  });
}
if (!options.brief && !wanted) {
  section('linear-i8 at its largest sums', largestSums);
  for (const key of ['silu', 'softplus', 'negExp'])
    section(`${ops[key].name} over float32`, check => overAllFloats(ops[key], check));
  section('exp2 over float32, by way of the scan', exp2OverAllFloats);
  section('errors', errors);
}
if (!wanted) {
  section('plans', plans);
  section('the embedded model', embedded);
}
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.passed > 0 && total.failed === 0 ? 0 : 1);

/** Runs the checks of one subject and prints a line. `check(what, difference)`: '' where there is none. */
function section(title, run) {
  const begin = performance.now();
  const failures = [];
  let count = 0;
  const check = (what, difference) => {
    count++;
    if (difference) failures.push(`${what}: ${difference}`);
  };
  try {
    run(check);
  } catch (error) {
    check(title, error.stack);
  }
  total.passed += count - failures.length;
  total.failed += failures.length;
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.log(
    `${title.padEnd(40)} ${String(count - failures.length).padStart(6)} same, ${failures.length} differ · ${seconds} s`,
  );
  for (const failure of failures.slice(0, 5)) console.log(`  ${failure}`);
}

/** A quantize has values of its own, without a NaN, which is an error. */
function callOf(op, { choice, absent }, values, next) {
  if (op === ops.quantize) return ordinaryCall(op, choice, absent, 1 + Object.keys(FLOATS).indexOf(values));
  const given = Object.keys(op.inputs).filter(key => !absent.includes(key));
  const inputs = given.map(key => [key, inputOf(op, key, choice, next, FLOATS[values])]);
  return bind(op, Object.fromEntries(inputs), attrsOf(op, choice));
}

function compare(what, op, call, check) {
  const expected = expectedOf(op, call);
  const { outputs } = called(backend, op, call);
  for (const key in expected) check(`${what}: ${key}`, difference(outputs[key].data, expected[key].data));
}

/** Where two arrays differ first, in words; '' where nowhere. */
function difference(actual, expected) {
  if (actual.length !== expected.length) return `${actual.length} values; expected ${expected.length}`;
  for (let i = 0; i < actual.length; i++)
    if (!Object.is(actual[i], expected[i])) return `[${i}] is ${actual[i]}; expected ${expected[i]}`;
  return '';
}

function largestSums(check) {
  const full = (rows, value) => tensor(new Int8Array(rows * 5120).fill(value), [rows, 5120]);
  const one = tensor(Float32Array.of(1));
  for (const [x, w] of [
    [-128, -128],
    [-128, 127],
    [127, 127],
  ])
    for (const rows of [3, 70]) {
      const scales = { xscale: one, wscale: tensor(one.data, [1, 1]) };
      const call = bind(ops.linearI8, { x: full(rows, x), w: full(5, w), ...scales });
      const { data } = called(backend, ops.linearI8, call).outputs.y;
      check(`${x} · ${w}`, difference(data, new Float32Array(data.length).fill(5120 * x * w)));
    }
}

/** An odd step: every exponent, changing mantissas. */
function overAllFloats(op, check) {
  const x = new Float32Array(Uint32Array.from({ length: 1 << 22 }, (_, i) => i * 1021).buffer);
  compare(op.name, op, bind(op, { x }), check);
}

function exp2OverAllFloats(check) {
  const [d, n] = [1 << 16, 16];
  const ones = shape => tensor(new Float32Array(sizeOf(shape)).fill(1), shape);
  const inputs = {
    u: zeros('f32', [1, d]),
    dt: ones([1, d]),
    A: tensor(new Float32Array(Uint32Array.from({ length: d * n }, (_, i) => i * 4093).buffer), [d, n]),
    B: zeros('f32', [1, n]),
    C: ones([1, n]),
    state: ones([d, n]),
  };
  compare('exp2', ops.selectiveScan, bind(ops.selectiveScan, inputs), check);
}

/** They are those of the reference. */
function errors(check) {
  const message = call => {
    try {
      call();
      return 'no error';
    } catch (error) {
      return `${error.name}: ${error.message}`;
    }
  };
  const refused = (op, inputs) => {
    const expected = message(() => op(inputs));
    const actual = message(() => called(backend, op, bind(op, inputs)));
    check(op.name, actual === expected ? '' : `'${actual}'; expected '${expected}'`);
  };
  for (const [rows, n, at] of [
    [1, 1, 0],
    [3, 5, 9],
    [130, 600, 129 * 600 + 2],
  ]) {
    const x = tensor(new Float32Array(rows * n).fill(1), [rows, n]);
    x.data.fill(NaN, at); // the first of many is named
    refused(ops.quantize, { x, scale: Float32Array.of(1) });
  }
  refused(ops.quantize, { x: Float32Array.of(1, 0), scale: Float32Array.of(0) });
  for (const token of [-1, 4])
    refused(ops.embedding, { tokens: Int32Array.of(1, token), w: zeros('f32', [4, 2]) });
}

/** Sizes that reach M_12, M_20, M_40 and M_28, and one layer as wide as mamba-130m. */
function plans(check) {
  const [{ config: plain }] = toys();
  const models = {
    '24 wide': plain,
    '20 wide': { ...plain, dModel: 20, dInner: 40 },
    '28 wide': { ...plain, dModel: 28, dInner: 56 },
    'mamba-130m, one layer': {
      ...plain,
      layers: 1,
      dModel: 768,
      dInner: 1536,
      dState: 16,
      dtRank: 48,
      vocabSize: 256,
    },
  };
  const next = random(7);
  const text = (length, v) => Int32Array.from({ length }, () => Math.floor(next() * v));
  for (const [name, config] of Object.entries(models)) {
    const wide = config.dModel > 100;
    const program = randomModel(config, 1);
    const samples = [text(24, config.vocabSize), text(24, config.vocabSize)];
    const tokens = text(wide ? 40 : 90, config.vocabSize);
    for (const [row, recipe] of Object.entries(recipes)) {
      const stats = needsCalibration(program, recipe)
        ? calibrate(program, recipe, samples, { prepare: part => prepare(wasm, part) })
        : { channels: {}, ranges: {} };
      const plan = planOf(program, recipe, stats);
      for (const cuts of wide ? [[40], [1, 38, 1]] : [[90], [1, 1, 1, 70, 17]])
        compareFed(`${name} ${row} ${cuts}`, backend, plan, tokens, cuts, check);
    }
  }
}

function embedded(check) {
  const path = new URL('../models/mamba-books-15m/plan.quamba.safetensors', import.meta.url);
  const { plan } = loadPlan(openFile(fileURLToPath(path)));
  const tokens = Int32Array.from({ length: 24 }, (_, i) => 300 + 37 * i);
  compareFed('wasm', wasm, plan, tokens, [24], check);
  compareFed('cuda', backend, plan, tokens, [20, 1, 3], check);
}

/** The logits, and the state after a text that is fed in cuts. */
function compareFed(what, by, plan, tokens, cuts, check) {
  const { outcomes } = fed(prepare(by, plan), cut(tokens, cuts), initialState(plan));
  for (const [name, { data }] of Object.entries(expectedFrom(plan, tokens)))
    check(`${what}: ${name}`, difference(outcomes[name].data, data));
}
