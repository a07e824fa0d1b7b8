/**
 * The int8 product at the sizes of the public checkpoints, beside the same machine's ceilings in the same round: products
 * in registers for prefill, a plain read of the same bytes for decode. One thread and two; medians of interleaved rounds.
 *
 *   npm run build && node bench/ceilings.mjs --help
 */
import { wasm } from '../dist/backends/wasm/index.js';
import { machine, median, rate } from '../dist/cli/measure.js';
import { printAs } from '../dist/cli/terminal.js';
import { wholeFrom } from '../dist/cli/values.js';
import { table as cellsOf } from '../dist/eval/report/tables.js';
import { ops, prepare, trace } from '../dist/index.js';
import { align } from '../dist/plan/render.js';
import { shapes } from '../dist/random/shapes.js';
import { program } from './options.mjs';
import { filled } from './values.mjs';

const { rounds, rows, json } = program('ceilings.mjs', 'The int8 product against what the machine can do.', [
  '--rounds 5',
])
  .option('--rounds <n>', 'rounds, interleaved; medians are printed', wholeFrom(1), 9)
  .option('--rows <n>', 'tokens at once in prefill', wholeFrom(1), 128)
  .parse()
  .opts();

/** Matrices of one size, each read once: enough that together they do not stay in a cache. */
const COLD_BYTES = 160e6;

/** @import { Weights } from '../dist/graph.js' */

/** A plan of nothing but int8 products: tokens → rows of a small table → every matrix in turn. */
function products(inputs, outputs) {
  const matrices = Math.max(2, Math.ceil(COLD_BYTES / (inputs * outputs)));
  const graph = trace((g, tokens) => {
    const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [16, inputs]) });
    const q = g.op('q', ops.quantize, { x, scale: g.weight('scale', [1]) });
    let y;
    for (let i = 0; i < matrices; i++)
      y = g.op(`y${i}`, ops.linearI8, {
        x: q,
        xscale: g.weight('scale', [1]),
        w: g.weight(`w${i}`, [outputs, inputs], '', 'i8'),
        wscale: g.weight('wscale', [1, 1]),
      });
    return g.op('first', ops.slice, { x: y }, { start: 0, size: 1 });
  });
  /** @type {Weights} */
  const weights = {
    has: ref => graph.weights.has(ref),
    read(ref) {
      const { dtype, shape } = /** @type {import('../dist/tensor.js').TensorType} */ (graph.weights.get(ref));
      return filled(dtype, shape);
    },
  };
  return { plan: { graph, weights }, matrices };
}

const table = [];
for (const [shape, config] of Object.entries(shapes)) {
  if (!('dInner' in config)) continue; // Mamba-2's matrices are as large
  const { dModel, dInner } = config;
  const { plan, matrices } = products(dModel, 2 * dInner);
  const work = dModel * 2 * dInner * matrices;
  const runs = [];
  for (const threads of [1, 2]) {
    const executable = prepare(wasm, plan, { threads });
    await executable.ready;
    runs.push({ threads, executable, seen: [] });
  }
  const ids = Int32Array.from({ length: rows }, (_, i) => i % 16);
  for (let round = -2; round < rounds; round++)
    for (const { executable, seen } of runs) {
      const sequence = executable.open();
      const gemm = rate(rows * work, () => sequence.feed(ids));
      const gemv = rate(work, () => sequence.feed(ids.subarray(0, 1)));
      sequence.close();
      const multiply = executable.multiplyRate?.() ?? Number.NaN;
      const read = executable.readBandwidth?.(work) ?? Number.NaN;
      if (round >= 0) seen.push({ gemm, gemv, multiply, read });
    }
  const medianOf = ({ seen }, key) => median(seen.map(round => round[key]));
  for (const run of runs) {
    const { threads, executable } = run;
    const [gemm, gemv] = [medianOf(run, 'gemm'), medianOf(run, 'gemv')];
    table.push({
      shape,
      matrix: `${2 * dInner} × ${dModel}`,
      kernels: executable.about.kernels,
      threads,
      gemmGopsPerThread: (2 * gemm) / threads / 1e9,
      ofRegisters: gemm / medianOf(run, 'multiply'),
      againstOneThread: gemm / medianOf(runs[0], 'gemm'),
      gemvBytesPerSecond: gemv,
      ofPlainRead: gemv / medianOf(run, 'read'),
    });
    executable.dispose();
  }
}

const about = { ...machine(), rows, rounds };
const cells = cellsOf(table, [
  ['shape', row => row.shape],
  ['matrix', row => row.matrix],
  ['kernels', row => row.kernels],
  ['threads', row => `${row.threads}`],
  ['GEMM GOP/s a thread', row => row.gemmGopsPerThread.toFixed(1)],
  ['of registers', row => row.ofRegisters.toFixed(2)],
  ['against 1 thread', row => `${row.againstOneThread.toFixed(2)} ×`],
  ['GEMV GB/s', row => (row.gemvBytesPerSecond / 1e9).toFixed(1)],
  ['of a plain read', row => row.ofPlainRead.toFixed(2)],
]);
printAs(
  json,
  { ...about, table },
  () =>
    `${about.cpu}, Node ${about.node}, ${about.date}; ${rows} rows, medians of ${rounds} rounds\n\n${align(cells)}`,
);
