/**
 * Mamba as an ONNX file for ONNX Runtime, in the form that it runs fastest: the convolution is its CausalConvWithState,
 * the scan its LinearAttention with a head for each channel and one shared query and key,
 *
 *   S ← exp(dt·A) ⊙ S + B · (dt·u),  y = C · S          gated: decay dt·A, key B, value dt·u, query C
 *
 * Matrices are f32 (MatMul), or in `dq8` int8 with a scale for each column, with activations quantized as they come, a
 * scale and zero point for each call (DynamicQuantizeMatMul).
 *
 * Inputs   input_ids i64[1, l] · rows i64[r], the positions whose logits are wanted · past_conv.i f32[1, d, k−1] ·
 *          past_ssm.i f32[1, d, n, 1]
 * Outputs  logits f32[1, r, v] · present_conv.i · present_ssm.i
 *
 * Source   onnx.proto3 (field numbers) · onnxruntime docs/ContribOperators.md
 */
import { writeFileSync } from 'node:fs';
import { ops } from '../../dist/index.js';
import { w8rows } from '../../dist/quant/scheme.js';
import { quantizeWeight } from '../../dist/quant/weights.js';
import { bytes, float, int } from './protobuf.mjs';

const TYPES = { f32: 1, i8: 3, i64: 7 };
const OPSETS = { '': 21, 'com.microsoft': 1 };
/** The ops of ONNX Runtime's own domain. */
const MICROSOFT =
  'CausalConvWithState DynamicQuantizeMatMul LinearAttention QuickGelu SkipSimplifiedLayerNormalization'.split(
    ' ',
  );

/** @param model what `openFloatModel` gives */
export function writeOnnx(file, { config, program }, { dq8 }) {
  if (config.architecture !== 'mamba' || config.useBias)
    throw new Error('onnx: only plain Mamba-1 without biases in in_proj and out_proj is written');
  const { dInner: d, dState: n, dConv: k, dtRank: r, normEps: epsilon, layers, vocabSize } = config;
  const g = graph();
  const weight = name => program.weights.read(name).data;
  const vector = (name, shape = [weight(name).length]) => g.constant('f32', shape, weight(name));

  /** W [rows, columns] as [columns, rows]. */
  const transposed = ({ dtype, shape, data }) => {
    const [rows, columns] = shape;
    const out = data.slice();
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
    return g.constant(dtype, [columns, rows], out);
  };
  /** x · Wᵀ (+ b) for W [rows, columns] of the checkpoint. */
  const linear = (x, name, bias) => {
    const w = program.weights.read(name);
    if (dq8) {
      const { q, scale } = quantizeWeight(w, w8rows);
      const inputs = [x, transposed(q), g.constant('f32', [q.shape[0]], scale.data)];
      return g.op('DynamicQuantizeMatMul', bias ? [...inputs, '', bias] : inputs);
    }
    const y = g.op('MatMul', [x, transposed(w)]);
    return bias ? g.op('Add', [y, bias]) : y;
  };
  const split = (x, sizes) => {
    const parts = g.constant('i64', [sizes.length], BigInt64Array.from(sizes, BigInt));
    return g.op('Split', [x, parts], { axis: -1 }, sizes.length);
  };
  const swap = x => g.op('Transpose', [x], { perm: [0, 2, 1] });

  const ids = g.input('input_ids', 'i64', [1, 'l']);
  const rows = g.input('rows', 'i64', ['r']);
  let h = g.op('Gather', [vector('backbone.embeddings.weight', [vocabSize, config.dModel]), ids]);
  let update; // what the layer before adds to h
  const norm = name => {
    if (!update) return g.op('SimplifiedLayerNormalization', [h, vector(name)], { epsilon, axis: -1 });
    const added = g.op('SkipSimplifiedLayerNormalization', [h, update, vector(name)], { epsilon }, 4);
    h = added[3];
    return added[0];
  };
  for (let i = 0; i < layers; i++) {
    const at = name => `backbone.layers.${i}.${name}`;
    const [x, z] = split(linear(norm(at('norm.weight')), at('mixer.in_proj.weight')), [d, d]);
    const [conv, presentConv] = g.op(
      'CausalConvWithState',
      [
        swap(x),
        vector(at('mixer.conv1d.weight'), [d, 1, k]),
        config.useConvBias ? vector(at('mixer.conv1d.bias')) : '',
        g.input(`past_conv.${i}`, 'f32', [1, d, k - 1]),
      ],
      { activation: 'silu' },
      2,
    );
    const u = swap(conv);
    const [low, B, C] = split(linear(u, at('mixer.x_proj.weight')), [r, n, n]);
    const dt = g.op('Softplus', [linear(low, at('mixer.dt_proj.weight'), vector(at('mixer.dt_proj.bias')))]);
    const A = ops.negExp({ x: program.weights.read(at('mixer.A_log')) }).y;
    const last = g.constant('i64', [1], BigInt64Array.of(-1n));
    const decay = g.op('Mul', [g.op('Unsqueeze', [dt, last]), g.constant('f32', [d, n], A.data)]);
    const [scanned, presentSsm] = g.op(
      'LinearAttention',
      [
        C,
        B,
        g.op('Mul', [dt, u]),
        g.input(`past_ssm.${i}`, 'f32', [1, d, n, 1]),
        g.op('Reshape', [decay, g.constant('i64', [3], BigInt64Array.of(0n, 0n, -1n))]),
      ],
      { q_num_heads: 1, kv_num_heads: d, update_rule: 'gated', scale: { float: 1 } },
      2,
    );
    const y = g.op('Add', [scanned, g.op('Mul', [u, vector(at('mixer.D'))])]);
    const silu = g.op('QuickGelu', [z], { alpha: { float: 1 } });
    update = linear(g.op('Mul', [y, silu]), at('mixer.out_proj.weight'));
    g.output(presentConv, `present_conv.${i}`, 'f32', [1, d, k - 1]);
    g.output(presentSsm, `present_ssm.${i}`, 'f32', [1, d, n, 1]);
  }
  const head = config.tieEmbeddings ? 'backbone.embeddings.weight' : 'lm_head.weight';
  const last = g.op('Gather', [norm('backbone.norm_f.weight'), rows], { axis: 1 });
  g.output(linear(last, head), 'logits', 'f32', [1, 'r', vocabSize]);
  writeFileSync(file, Buffer.concat(g.done()));
}

/** Collects nodes, constants, inputs and outputs; names values by number. */
function graph() {
  /** @type {Record<'nodes' | 'constants' | 'inputs' | 'outputs', Buffer[]>} */
  const { nodes, constants, inputs, outputs } = { nodes: [], constants: [], inputs: [], outputs: [] };
  let count = 0;
  const value = (name, dtype, shape) => {
    const dims = shape.map(size => bytes(1, typeof size === 'string' ? bytes(2, size) : int(1, size)));
    return [...bytes(1, name), ...bytes(2, bytes(1, [...int(1, TYPES[dtype]), ...bytes(2, dims.flat())]))];
  };
  const node = (type, from, to, attributes = {}) =>
    nodes.push(
      ...bytes(1, [
        ...from.flatMap(name => bytes(1, name)),
        ...to.flatMap(name => bytes(2, name)),
        ...bytes(4, type),
        ...Object.entries(attributes).flatMap(([name, content]) => bytes(5, attribute(name, content))),
        ...bytes(7, MICROSOFT.includes(type) ? 'com.microsoft' : ''),
      ]),
    );
  return {
    /** @returns {any} the name of the one output, or of all where `many` says how many */
    op(type, from, attributes, many) {
      const to = Array.from({ length: many ?? 1 }, () => `v${count++}`);
      node(type, from, to, attributes);
      return many ? to : to[0];
    },
    constant(dtype, shape, data) {
      const name = `c${count++}`;
      const raw = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      const dims = shape.flatMap(size => int(1, size));
      constants.push(...bytes(5, [...dims, ...int(2, TYPES[dtype]), ...bytes(8, name), ...bytes(9, [raw])]));
      return name;
    },
    input(name, dtype, shape) {
      inputs.push(...bytes(11, value(name, dtype, shape)));
      return name;
    },
    output(from, name, dtype, shape) {
      node('Identity', [from], [name]);
      outputs.push(...bytes(12, value(name, dtype, shape)));
    },
    done() {
      const opsets = Object.entries(OPSETS).map(([domain, version]) =>
        bytes(8, [...bytes(1, domain), ...int(2, version)]),
      );
      const body = [...nodes, ...bytes(2, 'mamba'), ...constants, ...inputs, ...outputs];
      return [...int(1, 10), ...opsets.flat(), ...bytes(7, body)];
    },
  };
}

function attribute(name, content) {
  const typed = (type, field) => [...bytes(1, name), ...field, ...int(20, type)];
  if (typeof content === 'string') return typed(3, bytes(4, content));
  const items = field => content.flatMap(item => int(field, item));
  if (Array.isArray(content)) return typed(7, items(8));
  if (typeof content === 'object') return typed(1, float(2, content.float));
  return Number.isInteger(content) ? typed(2, int(3, content)) : typed(1, float(2, content));
}
