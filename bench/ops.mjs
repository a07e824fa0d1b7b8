/**
 * Every op alone, on every backend, at the sizes of the public Mamba checkpoints: microseconds for one call on 1 row (decode)
 * and on 64 (prefill).
 *
 *   npm run build && node bench/ops.mjs --help
 *
 * What is timed. `wasm`: one call into WebAssembly that runs the op's instructions on values and weights which lie packed in
 * its memory already, as they do when a plan runs; nothing is copied in or out. `reference`: the op's own function on arrays
 * that are there already. The weights of one op mostly stay in the cache from call to call; those of a whole model do not:
 * that is what `quamba bench` measures. `call` is a wasm call that does nothing worth speaking of, to be taken off the rest.
 */
import { Bench } from 'tinybench';
import { createMachine } from '../dist/backends/wasm/machine.js';
import { alone } from '../dist/backends/wasm/single.js';
import { variantOf } from '../dist/backends/wasm/variants.js';
import { machine } from '../dist/cli/measure.js';
import { printAs } from '../dist/cli/terminal.js';
import { wholeFrom } from '../dist/cli/values.js';
import { invoke } from '../dist/conformance/judge/judge.js';
import { table } from '../dist/eval/report/tables.js';
import { reads, statesOf } from '../dist/graph.js';
import { bind } from '../dist/op.js';
import { ops } from '../dist/ops/index.js';
import { packedColumns } from '../dist/ops/nibbles.js';
import { foldConstants } from '../dist/plan/fold.js';
import { patterns } from '../dist/plan/fuse.js';
import { align } from '../dist/plan/render.js';
import { inferTypes } from '../dist/plan/types.js';
import { groupSize } from '../dist/quant/int4.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipe } from '../dist/quant/recipes.js';
import { randomModel } from '../dist/random/model.js';
import { nominalStats } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { extent, parse } from '../dist/signature.js';
import { listOf, oneOf, program } from './options.mjs';
import { filled } from './values.mjs';

const ALL = Object.keys(shapes);
const NAMES = [...Object.values(ops).map(op => op.name), ...patterns.map(({ name }) => name)];
const options = program('ops.mjs', 'Microseconds of every op alone, and of the fused nodes of a plan.', [
  '--shape mamba-130m',
  '--shape mamba-130m,mamba-2.8b --only linear-i8,selective-scan --rows 1 --json',
])
  .option('--shape <a,b>', `${ALL.join(', ')} (default: all)`, listOf(oneOf(ALL)))
  .option('--only <a,b>', `${NAMES.join(', ')} (default: all)`, listOf(oneOf(NAMES)))
  .option('--rows <1,64>', 'tokens in a call', listOf(wholeFrom(1)), [1, 64])
  .option('--threads <n>', 'of wasm', wholeFrom(1), 1)
  .option('--time <ms>', 'for each measurement', wholeFrom(1), 100)
  .option('--no-reference', 'wasm only')
  .parse()
  .opts();
const { shape: chosen = ALL, only = NAMES } = options;

/** The reference is left out where it takes longer, in milliseconds. */
const LONGEST = 1000;

/**
 * @import { Subgraph } from '../dist/backends/wasm/program.js'
 * @import { ValueType } from '../dist/graph.js'
 * @import { MambaConfig } from '../dist/model/mamba.js'
 * @import { Mamba2Config } from '../dist/model/mamba2.js'
 * @import { AnyOp } from '../dist/op.js'
 * @import { Tensor } from '../dist/tensor.js'
 * @typedef {Record<string, number>} Dims
 * @typedef {{ op: AnyOp, what: string, dims: Dims, attrs?: Dims }} Single
 * @typedef {{ subgraph: Subgraph, values: Tensor[] }} Alone nodes, and what they read of each row
 */

/**
 * Of a family's block: d channels, e of them in the convolution, the matrices, and the ops that the other family lacks.
 *
 * @typedef {{ d: number, e: number, matrices: Record<string, Dims>, own: Single[] }} Block
 */
/** @type {(config: MambaConfig) => Block} */
/* biome-ignore format: a table */
function ofMamba({ dModel: m, dInner: d, dState: n, dtRank: r }) {
  return {
    d, e: d,
    matrices: { in_proj: { i: m, o: 2 * d }, x_proj: { i: d, o: r + 2 * n }, dt_proj: { i: r, o: d } },
    own: [
      { op: ops.slice, what: 'x of xz', dims: { n: 2 * d }, attrs: { start: 0, size: d } },
      { op: ops.softplus, what: 'dt', dims: { n: d } },
      { op: ops.silu, what: 'z', dims: { n: d } },
      { op: ops.negExp, what: 'A', dims: { n: d } },
      { op: ops.selectiveScan, what: 'scan', dims: { d, n } },
    ],
  };
}
/** @type {(config: Mamba2Config) => Block} */
/* biome-ignore format: a table */
function ofMamba2({ dModel: m, heads: h, headDim: p, dState: n, groups: g }) {
  const d = h * p;
  const e = d + 2 * g * n;
  return {
    d, e,
    matrices: { in_proj: { i: m, o: d + e + h } },
    own: [
      { op: ops.slice, what: 'z of zxBCdt', dims: { n: d + e + h }, attrs: { start: 0, size: d } },
      { op: ops.ssdScan, what: 'scan', dims: { h, p, g, n }, attrs: { g } },
      { op: ops.gatedRmsNorm, what: 'y · z', dims: { d }, attrs: { g } },
    ],
  };
}

/**
 * Every op with the letters of its signatures at the sizes of a model, and what it is there for.
 *
 * @type {(config: MambaConfig | Mamba2Config) => Single[]}
 */
/* biome-ignore format: a table */
function singles(config) {
  const { dModel: m, dConv: k, vocabSize: v } = config;
  const { d, e, matrices, own } = 'dInner' in config ? ofMamba(config) : ofMamba2(config);
  /** @type {(op: AnyOp, more: (dims: Dims) => Dims) => Single[]} */
  const products = (op, more) => Object.entries({ ...matrices, out_proj: { i: d, o: m }, head: { i: m, o: v } })
    .map(([what, dims]) => ({ op, what, dims: { ...dims, ...more(dims) } }));
  return [
    { op: ops.embedding, what: 'embedding', dims: { v, m } },
    { op: ops.embeddingI8, what: 'embedding', dims: { v, m } },
    { op: ops.add, what: 'residual', dims: { m } },
    { op: ops.rmsNorm, what: 'block', dims: { m } },
    ...products(ops.linear, () => ({})),
    ...products(ops.linearI8, ({ o }) => ({ p: o === v ? v : 1, g: 1 })),
    ...products(ops.linearI4, ({ i }) => ({ h: packedColumns(i), g: i / groupSize(128, i) })),
    { op: ops.causalConv1d, what: 'conv', dims: { d: e, k } },
    ...own,
    ...[ops.fwht, ops.scaleChannels, ops.absmaxScale, ops.quantize, ops.dequantize].map(op => ({ op, what: 'y', dims: { n: d } })),
  ];
}

/** @type {(one: Single, l: number) => import('../dist/op.js').BoundCall} */
function callOf({ op, dims, attrs }, l) {
  const inputs = Object.entries(op.inputs).map(([key, signature]) => {
    const { dtype, axes } = parse(signature);
    const tensor = filled(
      dtype,
      axes.map(axis => extent(axis, { s: 1, l, ...dims })),
      dims.v,
    );
    if (key.endsWith('scale') || key === 'c') tensor.data.fill(1 / 64); // scales are positive
    return [key, tensor];
  });
  return bind(op, Object.fromEntries(inputs), attrs);
}

/**
 * The fused nodes of the first layer's plan, each alone, and what it is there for.
 *
 * @type {(config: MambaConfig | Mamba2Config, rows: number) => (Alone & { name: string, what: string })[]}
 */
function fusedNodes(config, rows) {
  const model = randomModel({ ...config, layers: 1 }, 1);
  const scheme = recipe('quamba-int8-head');
  const { graph, weights } = foldConstants(planOf(model, scheme, nominalStats(model, scheme)));
  const types = inferTypes(graph);
  return graph.nodes.flatMap(node => {
    if (node.kind !== 'fused') return [];
    const inputs = reads(node).filter(ref => types.get(ref)?.shape[0] === 'l');
    const values = inputs.map(ref => {
      const { dtype, shape } = /** @type {ValueType} */ (types.get(ref));
      return filled(dtype, [rows, ...shape.slice(1)]);
    });
    const states = new Map([...graph.states].filter(([ref]) => statesOf(node).includes(ref)));
    const last = Object.values(node.body.at(-1)?.out ?? {})[0];
    return {
      name: node.name,
      what: node.body.find(({ role }) => role)?.role ?? last.replace('layers.0.', ''),
      subgraph: { nodes: [node], inputs, results: [], states, types, weights },
      values,
    };
  });
}

/** Microseconds of a call, the median. */
async function time(run) {
  const least = { iterations: 3, warmupIterations: 2 };
  const bench = new Bench({ time: options.time, warmupTime: options.time / 4, ...least });
  bench.add('op', run, { async: false });
  const [{ result }] = await bench.run();
  if ('error' in result) throw result.error;
  return 'latency' in result ? result.latency.p50 * 1000 : Number.NaN;
}

/** In a wasm machine of its own. */
async function timeMachine(/** @type {Alone} */ { subgraph, values }, rows) {
  const { threads } = options;
  const machine = createMachine({ ...subgraph, results: [] }, variantOf(), { rows, threads });
  await machine.ready;
  const place = machine.take();
  machine.run([{ place, position: 0, rows, inputs: values }]);
  // without inputs: what the first call copied in is still there
  const us = await time(() => machine.run([{ place, position: 0, rows, inputs: [] }]));
  machine.dispose();
  return us;
}

/** The reference's kernel, where a call is not too long by what one row took. */
async function timeReference(/** @type {Single} */ one, rows) {
  if (!options.reference) return undefined;
  const short = callOf(one, 1);
  const run = () => invoke(one.op.reference, short);
  run();
  const start = performance.now();
  run();
  if ((performance.now() - start) * rows > LONGEST) return undefined;
  const call = callOf(one, rows);
  return time(() => invoke(one.op.reference, call));
}

/** The rows of a shape: { l, op, what, dims?, reference?, wasm } in microseconds, and what a matrix product reaches. */
async function measure(shape) {
  const config = shapes[shape];
  const rows = [];
  const add = row => {
    rows.push({ shape, ...row });
    console.error(`ops: ${shape}, ${row.l} rows: ${row.op} ${row.what}`);
  };
  for (const l of options.rows) {
    const nothing = callOf({ op: ops.add, what: '', dims: { m: 1 } }, l);
    add({ l, op: 'call', what: '', wasm: await timeMachine(alone(ops.add, nothing), l) });
    for (const one of singles(config).filter(({ op }) => only.includes(op.name))) {
      const { op, what, dims } = one;
      const reference = await timeReference(one, l);
      const wasm = await timeMachine(alone(op, callOf(one, l)), l);
      const products = dims.o && { billionProductsPerSecond: (l * dims.i * dims.o) / wasm / 1e3 };
      add({ l, op: op.name, what, dims, reference, wasm, ...products });
    }
    for (const one of fusedNodes(config, l).filter(({ name }) => only.includes(name)))
      add({ l, op: one.name, what: one.what, wasm: await timeMachine(one, l) });
  }
  return rows;
}

const sizes = (dims = {}) => Object.entries(dims).map(([letter, size]) => `${letter}=${size}`);
/** @type {[title: string, cell: (row: any) => string | undefined][]} */
const COLUMNS = [
  ['op', row => row.op],
  ['for', row => row.what],
  ['sizes', row => sizes(row.dims).join(' ')],
  ['reference', row => row.reference?.toFixed(1)],
  ['wasm', row => row.wasm.toFixed(1)],
  ['times', row => row.reference && (row.reference / row.wasm).toFixed(1)],
  ['10⁹ products/s', row => row.billionProductsPerSecond?.toFixed(1)],
];

const about = { ...machine(), kernels: variantOf().name, threads: options.threads };
const rows = [];
for (const shape of chosen) rows.push(...(await measure(shape)));
printAs(options.json, { ...about, unit: 'microseconds', rows }, () =>
  [
    `${about.cpu}, Node ${about.node}, ${about.kernels}, threads ${about.threads}; microseconds, medians`,
    ...chosen.flatMap(shape =>
      options.rows.map(l => {
        const those = rows.filter(row => row.shape === shape && row.l === l);
        return `\n${shape}, l = ${l}\n${align(table(those, COLUMNS))}`;
      }),
    ),
  ].join('\n'),
);
