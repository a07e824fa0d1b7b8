/**
 * One entry for each fused node of quant/fuse.ts: its body as fewer instructions that hand integers on without writing the
 * floats between them. Where a body does not fit (scales of each token, say), it is run node by node: the same bits.
 */
import type { OpNode, Ref } from '../../graph.ts';
import {
  bits,
  type Call,
  convWindow,
  hadamardColumns,
  hadamardOperands,
  type Instruction,
  instructions,
  linearI4,
  linearI8,
  type Operand,
  quantizeFrom,
} from './instructions.ts';
import { padded } from './memory.ts';
import * as code from './opcodes.ts';
import { channelLanes, decays, pastInputs, siluTable, softplusTable, taps, vector } from './pack.ts';

/** What an instruction has room for. */
const MOST_SEGMENTS = 6;

/**
 * The quantize nodes that take all columns of a product, in their order: end, scale and q of each. Undefined where
 * something else reads the product too, or where the kernel's conditions do not hold.
 */
function segmentsOf(linear: OpNode, body: Body): readonly Operand[] | undefined {
  const { dims } = body.callOf(linear);
  const slices = new Map(body.nodes.flatMap(node => (node.op.name === 'slice' ? [[node.out.y, node]] : [])));
  const segments: Operand[] = [];
  let begin = 0;
  for (const node of body.nodes) {
    if (node === linear || slices.has(node.out.y)) continue;
    if (node.op.name !== 'quantize' || !isStatic(node, body)) return undefined;
    const slice = slices.get(node.in.x);
    const { start, size } = slice ? body.callOf(slice).attrs : { start: 0, size: dims.o };
    if ((slice ?? node).in.x !== linear.out.y || start !== begin || begin % 4) return undefined;
    begin += size as number;
    const { scale, value } = body.callOf(node);
    segments.push(begin, scale('scale')[0], value('q'));
  }
  const values = [linear.out.y, ...slices.keys()];
  const isWhole = begin === dims.o && segments.length <= 3 * MOST_SEGMENTS;
  return isWhole && !values.some(ref => body.isOutput(ref)) ? segments : undefined;
}

/** A fused node's body. */
export interface Body {
  readonly nodes: readonly OpNode[];
  callOf(node: OpNode): Call;
  /** Whether anybody outside of the body needs a value that it makes. */
  isOutput(ref: Ref): boolean;
}

type Rule = (body: Body) => readonly Instruction[] | undefined;

export const fused: Readonly<Record<string, Rule>> = {
  'add-norm-quantize'(body) {
    const [norm, add, quantize] = ['rms-norm', 'add', 'quantize'].map(name => the(name, body));
    if (!norm || !quantize || !isStatic(quantize, body) || body.isOutput(norm.out.y)) return undefined;
    if (body.nodes.length !== (add ? 3 : 2) || (add && add.out.sum !== norm.in.x)) return undefined;
    const { value, weight, dims, attrs } = body.callOf(norm);
    const sum = add && body.callOf(add);
    const { scale, value: out } = body.callOf(quantize);
    return [
      {
        code: code.ADD_NORM_QUANTIZE,
        operands: [
          ...(sum ? [sum.value('x'), sum.value('y'), sum.value('sum')] : [value('x'), 0, 0]),
          weight('w', vector),
          scale('scale')[0],
          out('q'),
          dims.m,
          bits(attrs.eps as number),
        ],
        own: () => 128 + padded(dims.m) * 4,
        quantized: dims.m,
      },
    ];
  },

  'gemm-i8-quantize': body => product(body, 'linear-i8', linearI8, code.LINEAR_I8_QUANTIZE),
  'gemm-i4-quantize': body => product(body, 'linear-i4', linearI4, code.LINEAR_I4_QUANTIZE),

  'causal-conv1d-i8'(body) {
    const [conv, input, quantize] = ['causal-conv1d', 'dequantize', 'quantize'].map(name => the(name, body));
    if (!conv || !input || !quantize || body.nodes.length !== 3) return undefined;
    if (input.out.x !== conv.in.x || !isStatic(input, body) || !isStatic(quantize, body)) return undefined;
    if (body.isOutput(input.out.x) || body.isOutput(conv.out.y)) return undefined;
    const { weight, state, dims, attrs } = body.callOf(conv);
    const from = body.callOf(input);
    const to = body.callOf(quantize);
    return [
      {
        code: code.CAUSAL_CONV1D_I8,
        operands: [
          from.value('q'),
          from.scale('scale')[0],
          weight('w', taps),
          weight('b', vector),
          state(pastInputs(dims.d, dims.k - 1)),
          to.scale('scale')[0],
          to.value('q'),
          dims.d,
          dims.k,
          attrs.activation === 'silu' ? 1 : 0,
        ],
        own: convWindow(dims.k),
        quantized: dims.d,
      },
    ];
  },

  'selective-scan-i8'(body) {
    const scan = the('selective-scan', body)!;
    const softplus = the('softplus', body);
    if (!softplus || softplus.out.y !== scan.in.dt) return undefined;
    const real = new Map(body.nodes.map(node => [Object.values(node.out)[0], node]));
    const inputs = { u: scan.in.u, dt: softplus.in.x, B: scan.in.B, C: scan.in.C, z: scan.in.z };
    const found = Object.entries(inputs).filter(([, ref]) => ref !== undefined);
    const sources = found.map(([key, ref]) => [key, real.get(ref)] as const);
    const isReal = (node: OpNode | undefined): node is OpNode =>
      node?.op.name === 'dequantize' && isStatic(node, body) && !body.isOutput(node.out.x);
    if (!sources.every(([, node]) => isReal(node)) || body.isOutput(softplus.out.y)) return undefined;
    if (new Set(sources.map(([, node]) => node)).size + 2 !== body.nodes.length) return undefined;
    const calls = Object.fromEntries(sources.map(([key, node]) => [key, body.callOf(node!)]));
    const scaled = (key: string) => [calls[key].value('q'), calls[key].scale('scale')[0]];
    const { weight, state, value, dims } = body.callOf(scan);
    return [
      {
        code: code.SELECTIVE_SCAN_I8,
        operands: [
          ...scaled('u'),
          calls.dt.value('q'),
          calls.dt.weight('scale', softplusTable),
          weight('A', decays),
          ...scaled('B'),
          ...scaled('C'),
          weight('D', vector),
          ...(calls.z ? [calls.z.value('q'), calls.z.weight('scale', siluTable)] : [0, 0]),
          state(channelLanes(dims.d, dims.n)),
          value('y'),
          dims.d,
          dims.n,
        ],
        own: rows => dims.n * 16 + 2 * rows * padded(dims.n) * 4,
      },
    ];
  },

  'fwht-quantize'(body) {
    const [fwht, quantize] = ['fwht', 'quantize'].map(name => the(name, body));
    if (!fwht || !quantize || body.nodes.length !== 2) return undefined;
    if (!isStatic(quantize, body) || body.isOutput(fwht.out.y)) return undefined;
    const call = body.callOf(fwht);
    const { scale, value } = body.callOf(quantize);
    return [
      {
        code: code.FWHT_QUANTIZE,
        operands: [call.value('x'), scale('scale')[0], value('q'), ...hadamardOperands(call)],
        own: () => padded(call.dims.n) * 4 + hadamardColumns(call.dims.n),
        quantized: call.dims.n,
      },
    ];
  },
};

/** A product and what quantizes it, as one instruction where that can be, else with slices that are not copied. */
function product(body: Body, name: string, whole: typeof linearI8, opcode: number): readonly Instruction[] {
  const linear = the(name, body)!;
  const segments = segmentsOf(linear, body);
  if (segments) return whole(body.callOf(linear), opcode, segments);
  /** A slice that only quantize nodes read is not copied: they read its columns where they are. */
  const seenThrough = (node: OpNode) =>
    node.op.name === 'slice' &&
    node.in.x === linear.out.y &&
    !body.isOutput(node.out.y) &&
    body.nodes.every(({ op, in: { x } }) => x !== node.out.y || op.name === 'quantize');
  const slices = new Map(body.nodes.filter(seenThrough).map(node => [node.out.y, node]));
  return body.nodes.flatMap(node => {
    if (slices.has(node.out.y)) return [];
    const slice = slices.get(node.in.x);
    if (!slice) return instructions[node.op.name](body.callOf(node));
    const { value, attrs, dims } = body.callOf(slice);
    return [quantizeFrom(value('x'), attrs.start as number, dims.n, body.callOf(node))];
  });
}

/** The body's only node of an op. */
function the(name: string, { nodes }: Body): OpNode | undefined {
  const found = nodes.filter(node => node.op.name === name);
  return found.length === 1 ? found[0] : undefined;
}

/** Whether a quantize or dequantize node has one scale for all rows. */
const isStatic = (node: OpNode, body: Body): boolean => body.callOf(node).scale('scale')[1] === 0;
