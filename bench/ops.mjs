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
import { variantOf } from '../dist/backends/wasm/variants.js';
import { machine } from '../dist/cli/measure.js';
import { table } from '../dist/eval/report/tables.js';
import { opNode, reads, statesOf, weightsOf } from '../dist/graph.js';
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
import { parse } from '../dist/signature.js';
import { zeros } from '../dist/tensor.js';
import { readOptions } from './options.mjs';

const HELP = `node bench/ops.mjs [options]

  --shape a,b      shapes: ${Object.keys(shapes).join(', ')} (default: all)
  --only a,b       ops by name (default: all): ${Object.values(ops)
    .map(op => op.name)
    .join(', ')},
                   or of the fused nodes of a plan: ${patterns.map(({ name }) => name).join(', ')}
  --rows 1,64      tokens in a call
  --threads N      of wasm (default 1)
  --time MS        for each measurement (default 100)
  --no-reference   wasm only
  --json           print JSON instead of the tables

Examples:
  node bench/ops.mjs --shape mamba-130m
  node bench/ops.mjs --shape mamba-130m,mamba-2.8b --only linear-i8,selective-scan --rows 1 --json`;

/** The reference is left out where it takes longer, in milliseconds. */
const LONGEST = 1000;

/**
 * @import { Subgraph } from '../dist/backends/wasm/program.js'
 * @import { ValueType } from '../dist/graph.js'
 * @import { MambaConfig } from '../dist/model/mamba.js'
 * @import { AnyOp, BoundCall } from '../dist/op.js'
 * @import { Tensor } from '../dist/tensor.js'
 * @typedef {Record<string, number>} Dims
 * @typedef {Pick<Subgraph, 'nodes' | 'types' | 'states' | 'weights'> & { values: Map<string, Tensor> }} Alone a node, and what it
 *   reads of each row
 */

/**
 * @param {string} name
 * @param {string} what
 * @param {Dims} dims
 * @param {Record<string, number>} attrs
 */
function row(name, what, dims, attrs = {}) {
  const op = /** @type {AnyOp} */ (Object.values(ops).find(found => found.name === name));
  return { op, what, dims, attrs };
}

/**
 * Every op with the letters of its signatures at the sizes of a model, and what it is there for.
 *
 * @param {MambaConfig} config
 */
/* biome-ignore format: a table */
function cases({ dModel: m, dInner: d, dState: n, dConv: k, dtRank: r, vocabSize: v }) {
  /** @type {(of: (what: string, dims: Dims) => ReturnType<typeof row>) => ReturnType<typeof row>[]} */
  const ofMatrices = of => [
    of('in_proj', { i: m, o: 2 * d }), of('x_proj', { i: d, o: r + 2 * n }), of('dt_proj', { i: r, o: d }),
    of('out_proj', { i: d, o: m }), of('head', { i: m, o: v }),
  ];
  return [
    row('embedding', 'embedding', { v, m }),
    row('embedding-i8', 'embedding', { v, m }),
    row('add', 'residual', { m }),
    row('rms-norm', 'block', { m }),
    ...ofMatrices((what, dims) => row('linear', what, dims)),
    ...ofMatrices((what, dims) => row('linear-i8', what, { ...dims, p: what === 'head' ? v : 1, g: 1 })),
    ...ofMatrices((what, dims) => row('linear-i4', what, { ...dims, h: packedColumns(dims.i), g: dims.i / groupSize(128, dims.i) })),
    row('slice', 'x of xz', { n: 2 * d }, { start: 0, size: d }),
    row('causal-conv1d', 'conv', { d, k }),
    row('softplus', 'dt', { n: d }),
    row('silu', 'z', { n: d }),
    row('neg-exp', 'A', { n: d }),
    row('selective-scan', 'scan', { d, n }),
    row('fwht', 'y', { n: d }),
    row('scale-channels', 'y', { n: d }),
    row('absmax-scale', 'y', { n: d }),
    row('quantize', 'y', { n: d }),
    row('dequantize', 'y', { n: d }),
  ];
}

/** Values between −1 and 1, or small integers, or tokens: no op's speed depends on more. */
function filled(dtype, shape, most = 1) {
  const t = zeros(dtype, shape);
  const { data } = t;
  const begin = Math.min(data.length, 4099);
  for (let i = 0, x = 1; i < begin; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    data[i] = dtype === 'f32' ? x / 2 ** 31 : dtype === 'i8' ? x >> 25 : (x >>> 8) % most;
  }
  for (let size = begin; size < data.length; size *= 2) data.copyWithin(size, 0, size);
  return t;
}

/**
 * The tensors of one call, by the op's signatures, and which of them have one row for each token.
 *
 * @param {AnyOp} op
 * @param {Dims} dims
 * @param {number} rows
 */
function inputsOf(op, dims, rows) {
  const values = { s: 1, l: rows, ...dims };
  return Object.entries(/** @type {Record<string, string>} */ (op.inputs)).map(([key, signature]) => {
    const { dtype, axes } = parse(signature);
    const shape = axes.map(({ letter, minus, size }) => size ?? values[letter ?? ''] - minus);
    const tensor = filled(dtype, shape, dims.v);
    if (key.endsWith('scale') || key === 'c') tensor.data.fill(1 / 64); // scales are positive
    return { key, tensor, isRows: axes[0].letter === 'l' };
  });
}

/** @type {(op: AnyOp, dims: Dims, attrs: Dims, rows: number) => BoundCall} */
const callOf = (op, dims, attrs, rows) =>
  bind(op, Object.fromEntries(inputsOf(op, dims, rows).map(({ key, tensor }) => [key, tensor])), attrs);

/** What reference's kernel does in one call. */
function referenceCall(op, dims, attrs, rows) {
  const call = callOf(op, dims, attrs, rows);
  return () => op.reference(call.inputs, call.attrs, call.outputs, call.dims, call.states);
}

/** One node in a wasm machine of its own. */
async function machineCall(/** @type {Alone} */ { values, ...alone }, rows, threads) {
  const subgraph = { ...alone, inputs: [...values.keys()], results: [] };
  const machine = createMachine(subgraph, variantOf(), { rows, threads });
  await machine.ready;
  const place = machine.take();
  machine.run([{ place, rows, inputs: [...values.values()] }]);
  return {
    // without inputs: what the first call copied in is still there
    run: () => machine.run([{ place, rows, inputs: [] }]),
    dispose: () => machine.dispose(),
  };
}

/** @type {(op: AnyOp, dims: Dims, attrs: Dims, rows: number) => Alone} an op alone */
function single(op, dims, attrs, rows) {
  const inputs = inputsOf(op, dims, rows);
  const { outputs, states } = callOf(op, dims, attrs, rows);
  const refs = Object.fromEntries(
    [...inputs.map(({ key }) => key), ...Object.keys(states)].map(key => [key, key]),
  );
  const out = Object.fromEntries(Object.keys(outputs).map(key => [key, `after.${key}`]));
  /** @type {(tensor: Tensor, isRows: boolean) => ValueType} */
  const typeOf = ({ dtype, shape }, isRows) => ({ dtype, shape: isRows ? ['l', ...shape.slice(1)] : shape });
  /** @type {(rows: boolean) => Map<string, Tensor>} */
  const named = rows =>
    new Map(inputs.filter(({ isRows }) => isRows === rows).map(({ key, tensor }) => [key, tensor]));
  return {
    nodes: [{ ...opNode(op, refs, '', attrs), out }],
    types: new Map([
      ...inputs.map(({ key, tensor, isRows }) => /** @type {const} */ ([key, typeOf(tensor, isRows)])),
      ...Object.keys(out).map(key => /** @type {const} */ ([out[key], typeOf(outputs[key], true)])),
    ]),
    values: named(true),
    states: new Map(Object.entries(states).map(([key, { dtype, shape }]) => [key, { dtype, shape }])),
    weights: weightsOf(named(false)),
  };
}

/**
 * The fused nodes of the first layer's plan, each alone, and what it is there for.
 *
 * @param {MambaConfig} config
 * @param {number} rows
 * @returns {(Alone & { name: string, what: string })[]}
 */
function fusedNodes(config, rows) {
  const program = randomModel({ ...config, layers: 1 }, 1);
  const scheme = recipe('quamba-int8-head');
  const { graph, weights } = foldConstants(planOf(program, scheme, nominalStats(program, scheme)));
  const types = inferTypes(graph);
  return graph.nodes.flatMap(node => {
    if (node.kind !== 'fused') return [];
    const values = reads(node).flatMap(ref => {
      const { dtype, shape: [first, ...shape] = [] } = types.get(ref) ?? {};
      if (first !== 'l') return [];
      return [/** @type {const} */ ([ref, filled(dtype, [rows, ...shape])])];
    });
    const last = Object.values(node.body.at(-1)?.out ?? {})[0];
    return {
      name: node.name,
      what: node.body.find(({ role }) => role)?.role ?? last.replace('layers.0.', ''),
      nodes: [node],
      types,
      values: new Map(values),
      states: new Map([...graph.states].filter(([ref]) => statesOf(node).includes(ref))),
      weights,
    };
  });
}

/** Microseconds of a call, the median. */
async function time(run) {
  const least = { iterations: 3, warmupIterations: 2 };
  const bench = new Bench({ time: options.time, warmupTime: options.time / 4, ...least });
  bench.add('op', run, { async: false });
  const [task] = await bench.run();
  const { result } = task;
  if ('error' in result) throw result.error;
  return 'latency' in result ? result.latency.p50 * 1000 : Number.NaN;
}

async function timeMachine(one, rows) {
  const { run, dispose } = await machineCall(one, rows, options.threads);
  const us = await time(run);
  dispose();
  return us;
}

/** The reference, where a call is not too long by what one row took. */
async function timeReference({ op, dims, attrs }, rows) {
  if (!options.reference) return undefined;
  const one = referenceCall(op, dims, attrs, 1);
  one();
  const start = performance.now();
  one();
  if ((performance.now() - start) * rows > LONGEST) return undefined;
  return time(referenceCall(op, dims, attrs, rows));
}

/** The rows of a shape: { l, op, what, dims?, reference?, wasm } in microseconds, and what a matrix product reaches. */
async function measure(shape) {
  const config = shapes[shape];
  const rows = [];
  const add = row => {
    rows.push({ shape, ...row });
    say(`${shape}, ${row.l} rows: ${row.op} ${row.what}`);
  };
  const wanted = name => options.only === undefined || options.only.includes(name);
  for (const l of options.rows) {
    add({ l, op: 'call', what: '', wasm: await timeMachine(single(ops.add, { m: 1 }, {}, l), l) });
    for (const one of cases(config)) {
      const { op, what, dims, attrs } = one;
      if (!wanted(op.name)) continue;
      const reference = await timeReference(one, l);
      const wasm = await timeMachine(single(op, dims, attrs, l), l);
      const products = dims.o && { billionProductsPerSecond: (l * dims.i * dims.o) / wasm / 1e3 };
      add({ l, op: op.name, what, dims, reference, wasm, ...products });
    }
    for (const one of fusedNodes(config, l)) {
      if (!wanted(one.name)) continue;
      add({ l, op: one.name, what: one.what, wasm: await timeMachine(one, l) });
    }
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

function optionsGiven() {
  const { values, fail, count, counts } = readOptions('ops', HELP, {
    shape: { type: 'string', default: Object.keys(shapes).join(',') },
    only: { type: 'string' },
    rows: { type: 'string', default: '1,64' },
    threads: { type: 'string', default: '1' },
    time: { type: 'string', default: '100' },
    'no-reference': { type: 'boolean', default: false },
  });
  const several = (name, known) => {
    const words = values[name].split(',');
    const unknown = words.find(word => !known.includes(word));
    return unknown ? fail(`--${name} expected of ${known.join(', ')}; got '${unknown}'`) : words;
  };
  const names = [...Object.values(ops).map(op => op.name), ...patterns.map(({ name }) => name)];
  return {
    shapes: several('shape', Object.keys(shapes)),
    only: values.only === undefined ? undefined : several('only', names),
    rows: counts('rows'),
    threads: count('threads'),
    time: count('time'),
    reference: !values['no-reference'],
    json: values.json,
  };
}

const say = text => console.error(`ops: ${text}`);

const options = optionsGiven();
const about = { ...machine(), kernels: variantOf().name, threads: options.threads };
const rows = [];
for (const shape of options.shapes) rows.push(...(await measure(shape)));
if (options.json) console.log(JSON.stringify({ ...about, unit: 'microseconds', rows }));
else {
  console.log(
    `${about.cpu}, Node ${about.node}, ${about.kernels}, threads ${about.threads}; microseconds, medians`,
  );
  for (const shape of options.shapes)
    for (const l of options.rows)
      console.log(
        `\n${shape}, l = ${l}\n${align(
          table(
            rows.filter(row => row.shape === shape && row.l === l),
            COLUMNS,
          ),
        )}`,
      );
}
