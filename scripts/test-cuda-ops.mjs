/** What test-cuda.mjs does with single ops, beyond the conformance suite. */

import { choices, pointsOf } from '../dist/conformance/cases/sweep.js';
import { forms, keptAll } from '../dist/conformance/forms.js';
import { callOf, gauss, ordinaryCall, wild } from '../dist/conformance/inputs.js';
import { called, expectedOf } from '../dist/conformance/judge/judge.js';
import { bind, resultsOf } from '../dist/op.js';
import { ops } from '../dist/ops/index.js';
import { sizeOf, tensor, zeros } from '../dist/tensor.js';

/** Sizes that the suite lacks: around the tiles of the kernels. */
const BEYOND = {
  'absmax-scale': { l: [2, 70], n: [31, 255, 256, 257, 5120] },
  linear: { l: [3, 7, 8, 9, 33], i: [127, 128, 260], o: [15, 63, 64, 65] },
  'linear-i8': {
    l: [15, 16, 17, 63, 64, 65],
    i: [24, 192, 208, 384],
    o: [8, 33, 64, 65],
    g: [1, 2, 3, 6],
    p: ['o', 1],
  },
  'linear-i4': { l: [15, 16, 17, 63, 64, 65], i: [24, 192, 208, 384], o: [8, 33, 64, 65] },
  'causal-conv1d': { l: [31, 300], d: [255, 256, 257], k: [1, 4, 5], activation: ['silu', 'none'] },
  'selective-scan': { l: [31, 32, 33, 65], d: [15, 16, 17], n: [16, 40, 300] },
  'ssd-scan': [
    { l: [15, 16, 17, 33], h: [4], p: [15, 16, 17], g: [1, 2], n: [64, 128, 300] },
    { l: [3], h: [3], p: [5], n: [128], lo: [0, 0.5], hi: [0.7, 3] },
  ],
  fwht: { l: [2, 130], n: [64, 640, 896, 2560], inverse: [false, true] },
  'rms-norm': { l: [2, 130], m: [255, 256, 257, 2560], eps: [1e-5] },
  'gated-rms-norm': { l: [2, 130], d: [256, 257, 2560], g: [1, 2, 8], eps: [1e-5] },
  attention: { l: [1, 7, 8, 9, 17], h: [4], g: [2, 4], p: [12, 20, 132], t: [0, 1, 120, 127, 505, 511, 513] },
  rope: { l: [2, 130], h: [1, 3], p: [10, 68, 130], r: [1, 5, 34] },
  'rope-table': { l: [2, 130], r: [5, 33], sine: [false, true] },
};
const FLOATS = [gauss, wild];
const ROWS = { l: [2, 130], n: [255, 257], m: [255, 257] };

/** The rows of mamba-130m and mamba2-130m: m 768, d 1536, n 16, k 4, r 48, h 24, p 64; and rows too long for shared memory. */
const LARGE = {
  embedding: { l: [64], v: [1000], m: [768] },
  'embedding-i8': { l: [64], v: [1000], m: [768] },
  add: { l: [1, 64], m: [768] },
  'rms-norm': { l: [1, 64], m: [768, 16384] },
  'gated-rms-norm': { l: [1, 64], d: [1536, 16384], g: [1, 8] },
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
  'linear-i4': [
    { l: [1, 64, 100], i: [768], o: [3072], g: [6, 12] },
    { l: [1, 64], i: [1536], o: [768], g: [12, 24] },
    { l: [1], i: [768], o: [50280], g: [12] },
  ],
  slice: { l: [64], n: [3072], start: [0, 1536], size: [1536] },
  'causal-conv1d': { l: [1, 64], d: [1536], k: [4] },
  softplus: { l: [64], n: [1536] },
  silu: { l: [64], n: [1536] },
  'neg-exp': { l: [1536], n: [16] },
  'selective-scan': { l: [1, 64], d: [1536], n: [16] },
  'ssd-scan': { l: [1, 64], h: [24], p: [64], n: [128] },
  fwht: { l: [1, 64], n: [1536, 16384, 20480], inverse: [false, true] },
  'scale-channels': { l: [64], n: [1536], inverse: [false, true] },
  'absmax-scale': { l: [64], n: [1536] },
  quantize: { l: [64], n: [1536] },
  dequantize: { l: [64], n: [1536] },
  'dequantize-i4': { l: [64], n: [1536], g: [12, 24] },
  attention: { l: [1, 64], h: [8], g: [2], p: [64, 256], t: [0, 1000] },
  rope: { l: [1, 64], h: [8, 32], p: [128], r: [32, 64] },
  'rope-table': { l: [1, 64], r: [32, 64], sine: [false, true] },
  swiglu: { l: [64], n: [1536] },
  'squared-relu': { l: [64], n: [1536] },
};

/**
 * @import { Backend } from '../dist/backends/backend.js'
 * @import { Form } from '../dist/conformance/forms.js'
 * @import { AnyOp, BoundCall } from '../dist/op.js'
 * @import { Data, Tensor } from '../dist/tensor.js'
 */
/** @typedef {(what: string, difference: string) => void} Check says what was compared, and the difference, '' where there is none */
/** @typedef {Record<string, (check: Check) => void | Promise<void>>} Sections by title */

/** @type {(backend: Backend, options: { brief: boolean, only?: string[] }) => Sections} */
export function opSections(backend, { brief, only }) {
  /** @type {(what: string, op: AnyOp, call: BoundCall, check: Check) => void} */
  const judge = (what, op, call, check) =>
    compare(what, resultsOf(called(backend, op, call)), expectedOf(op, call), check);
  const chosen = forms.filter(
    ({ op, dtype }) => backend.kernelOf(op, keptAll(op, { dtype })) && (!only || only.includes(op.name)),
  );
  /** @type {(form: Form, check: Check) => void} */
  const sweep = (form, check) => {
    const { op } = form;
    const sizes = brief ? [op.sweep] : [op.sweep, BEYOND[op.name] ?? ROWS, LARGE[op.name]].flat();
    let seed = 0;
    for (const [words, { choice, absent }] of pointsOf(op, sizes.flatMap(choices)))
      for (const values of FLOATS) {
        const refusesNaN = op === ops.quantize; // a NaN is an error of quantize
        seed++;
        const call = refusesNaN
          ? ordinaryCall(form, choice, absent, seed)
          : callOf(form, choice, absent, seed, () => values);
        judge(`${words} ${values.name}`, op, call, check);
      }
  };
  const sweeps = Object.fromEntries(
    chosen.map(form => [`${form.name}, plain and wild values`, check => sweep(form, check)]),
  );
  if (only) return sweeps;
  const refused = { errors: check => errors(backend, check) };
  if (brief) return { ...sweeps, ...refused };
  const allOf = op => check => judge(op.name, op, bind(op, { x: allFloats(1 << 22, 1021) }), check);
  return {
    ...sweeps,
    'linear-i8 at its largest sums': check => largestSums(backend, check),
    'silu over float32': allOf(ops.silu),
    'softplus over float32': allOf(ops.softplus),
    'neg-exp over float32': allOf(ops.negExp),
    'sin and cos over float32': check => {
      const inputs = { tokens: Int32Array.of(0), freq: allFloats(1 << 22, 1021), fed: Float32Array.of(1) };
      for (const sine of [false, true])
        judge(`sine ${sine}`, ops.ropeTable, bind(ops.ropeTable, inputs, { sine }), check);
    },
    'exp2 over float32, by way of the scan': check =>
      judge('exp2', ops.selectiveScan, exp2OverAllFloats(), check),
    ...refused,
  };
}

/** @type {(what: string, got: Record<string, Tensor>, expected: Record<string, Tensor>, check: Check) => void} */
export function compare(what, got, expected, check) {
  for (const name in expected) check(`${what}: ${name}`, difference(got[name].data, expected[name].data));
}

/**
 * Where two arrays differ first, in words; '' where nowhere.
 *
 * @type {(actual: Data, expected: Data) => string}
 */
export function difference(actual, expected) {
  if (actual.length !== expected.length) return `${actual.length} values; expected ${expected.length}`;
  for (let i = 0; i < actual.length; i++)
    if (!Object.is(actual[i], expected[i])) return `[${i}] is ${actual[i]}; expected ${expected[i]}`;
  return '';
}

/** @type {(backend: Backend, check: Check) => void} */
function largestSums(backend, check) {
  /** @type {(rows: number, value: number) => Tensor<'i8'>} */
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
const allFloats = (size, step) =>
  new Float32Array(Uint32Array.from({ length: size }, (_, i) => i * step).buffer);

/** A scan of one token from a state of ones with dt = C = 1 and B = 0: its state is exp2(A). */
function exp2OverAllFloats() {
  const [d, n] = [1 << 16, 16];
  const ones = /** @param {number[]} shape */ shape => tensor(new Float32Array(sizeOf(shape)).fill(1), shape);
  const inputs = {
    u: zeros('f32', [1, d]),
    dt: ones([1, d]),
    A: tensor(allFloats(d * n, 4093), [d, n]),
    B: zeros('f32', [1, n]),
    C: ones([1, n]),
    h: ones([d, n]),
  };
  return bind(ops.selectiveScan, inputs);
}

/** @type {(backend: Backend, check: Check) => void} they are those of the reference */
function errors(backend, check) {
  /** @type {(op: AnyOp, inputs: Record<string, Tensor | Data>) => void} */
  const refused = (op, inputs) => {
    const expected = complaintOf(() => op(inputs));
    const actual = complaintOf(() => called(backend, op, bind(op, inputs)));
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

/** The error of an attempt, as a sentence. */
export function complaintOf(attempt) {
  try {
    attempt();
    return 'no error';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}
