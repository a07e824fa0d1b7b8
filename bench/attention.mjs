/**
 * The attention layers of a hybrid alone, on wasm: milliseconds for one more token (decode) and for 128 (prefill), by how many
 * tokens came before, and the multiply-adds per second of both products.
 *
 *   npm run build && node bench/attention.mjs --shape falcon-h1-0.5b --kept f32,f16 --threads 2
 */
import { prepare } from '../dist/backends/backend.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { machine } from '../dist/cli/measure.js';
import { printAs } from '../dist/cli/terminal.js';
import { wholeFrom } from '../dist/cli/values.js';
import { median } from '../dist/eval/speed.js';
import { trace, weightsOf } from '../dist/graph.js';
import { ops } from '../dist/ops/index.js';
import { align } from '../dist/plan/render.js';
import { listOf, oneOf, program } from './options.mjs';
import { filled } from './values.mjs';

const SHAPES = {
  'granite-4.0-h-350m': { layers: 4, h: 12, g: 4, p: 64, scale: 1 / 64 },
  'falcon-h1-0.5b': { layers: 36, h: 8, g: 2, p: 64, scale: 1 / 8 },
};
const NAMES = Object.keys(SHAPES);
const TYPES = ['f32', 'f16', 'i8-dynamic'];
const options = program('attention.mjs', 'Milliseconds of the attention layers of a hybrid.', [
  '--shape falcon-h1-0.5b --kept f32,f16 --threads 2',
])
  .option('--shape <a,b>', NAMES.join(', '), listOf(oneOf(NAMES)), NAMES)
  .option('--kept <a,b>', TYPES.join(', '), listOf(oneOf(TYPES)), ['f32'])
  .option('--at <a,b>', 'positions', listOf(wholeFrom(0)), [1, 128, 1024, 4096, 16384])
  .option('--threads <n>', 'of wasm', wholeFrom(1), 1)
  .option('--rounds <n>', 'of which the median counts', wholeFrom(1), 7)
  .parse()
  .opts();

const PREFILL = 128;

/** Layers of attention whose queries, keys and values are rows of tables. */
function attentionOf({ layers, h, g, p, scale }, dtype) {
  const weights = new Map();
  const graph = trace((builder, tokens) => {
    const rows = (name, size) => {
      weights.set(`${name}.rows`, filled('f32', [256, size]));
      return builder.op(name, ops.embedding, { tokens, w: builder.weight(`${name}.rows`, [256, size]) });
    };
    const [k, v] = [rows('k', g * p), rows('v', g * p)];
    let q = rows('q', h * p);
    for (let i = 0; i < layers; i++) {
      const states = { K: builder.state(`K${i}`, ['t', g, p]), V: builder.state(`V${i}`, ['t', g, p]) };
      q = builder.op(`y${i}`, ops.attention, { q, k, v, ...states }, { h, g, scale });
    }
    return q;
  });
  const states = new Map([...graph.states].map(([ref, type]) => [ref, { ...type, dtype }]));
  const types = new Map([...weights].map(([ref, { dtype, shape }]) => [ref, { dtype, shape }]));
  return { graph: { ...graph, states, weights: types }, weights: weightsOf(weights) };
}

const tokens = Int32Array.from({ length: 4096 }, (_, i) => (i * 37) & 255);
const rowsOf = [];
for (const name of options.shape)
  for (const kept of options.kept) {
    const shape = SHAPES[name];
    const context = Math.max(...options.at) + PREFILL + options.rounds;
    const executable = prepare(wasm, attentionOf(shape, kept), { context, threads: options.threads });
    await executable.ready;
    const sequence = executable.open();
    for (const at of [...options.at].sort((a, b) => a - b)) {
      while (sequence.position < at)
        sequence.feed(tokens.subarray(0, Math.min(1024, at - sequence.position)), { logits: 'last' });
      /** Seconds of a feed from here. */
      const timed = rows => {
        const fork = sequence.fork();
        fork.feed(tokens.subarray(0, 1), { logits: 'last' }); // gets a page of its own
        const start = performance.now();
        fork.feed(tokens.subarray(0, rows), { logits: 'last' });
        const seconds = (performance.now() - start) / 1000;
        fork.close();
        return seconds;
      };
      const [decode, prefill] = [1, PREFILL].map(rows =>
        median(Array.from({ length: options.rounds }, () => timed(rows))),
      );
      const products = (2 * shape.layers * shape.h * shape.p) / 1e9;
      rowsOf.push({
        ...{ shape: name, kept, at },
        decode: 1000 * decode,
        prefill: 1000 * prefill,
        decodeProducts: (products * (at + 2)) / decode,
        prefillProducts: (products * PREFILL * (at + 1 + PREFILL / 2)) / prefill,
      });
    }
    executable.dispose?.();
  }
const head = ['shape', 'kept', 'at', 'decode ms', '10⁹/s', `prefill ${PREFILL} ms`, '10⁹/s'];
printAs(options.json, rowsOf, () =>
  [
    `${machine().cpu}, node ${process.version}, ${options.threads} threads`,
    align([
      head,
      ...rowsOf.map(({ shape, kept, at, decode, decodeProducts, prefill, prefillProducts }) => [
        ...[shape, kept, String(at), decode.toFixed(2), decodeProducts.toFixed(1)],
        ...[prefill.toFixed(1), prefillProducts.toFixed(1)],
      ]),
    ]),
  ].join('\n'),
);
