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
  type ScanPacking,
  steppedBytes,
} from './instructions.ts';
import { padded } from './memory.ts';
import * as code from './opcodes.ts';
import {
  channelHalves,
  channelLanes,
  decays,
  pastInputs,
  siluTable,
  softplusTable,
  taps,
  vector,
} from './pack.ts';

/** What an instruction has room for. */
const MOST_SEGMENTS = { static: 6, measured: 5 };

/** Columns of a product up to `end`, and where they go. */
interface Segment extends Target {
  readonly end: number;
  readonly q: Operand;
}

/**
 * The quantize nodes that take all columns of a product, in their order. Undefined where something else reads the product too, or
 * where the kernel's conditions do not hold.
 */
function segmentsOf(linear: OpNode, body: Body): readonly Segment[] | undefined {
  const { dims } = body.callOf(linear);
  const slices = new Map(body.nodes.flatMap(node => (node.op.name === 'slice' ? [[node.out.y, node]] : [])));
  const segments: Segment[] = [];
  const measures = new Set(body.nodes.filter(node => node.op.name === 'absmax-scale'));
  let begin = 0;
  for (const node of body.nodes) {
    if (node === linear || slices.has(node.out.y) || measures.has(node)) continue;
    const target = node.op.name === 'quantize' ? targetOf(node, body) : undefined;
    if (!target) return undefined;
    const slice = slices.get(node.in.x);
    const { start, size } = slice ? body.callOf(slice).attrs : { start: 0, size: dims.o };
    if ((slice ?? node).in.x !== linear.out.y || start !== begin) return undefined;
    begin += size as number;
    segments.push({ ...target, end: begin, q: body.callOf(node).value('q') });
  }
  const values = [linear.out.y, ...slices.keys()];
  const isWhole = begin === dims.o && segments.filter(isMeasured).length === measures.size;
  return isWhole && !values.some(ref => body.isOutput(ref)) ? segments : undefined;
}

/** Where a quantize node's scale is. `each`: 4 where the kernel is to measure one for each row, 0 where all rows share one. */
interface Target {
  readonly scale: Operand;
  readonly each: number;
}
const isMeasured = ({ each }: Target): boolean => each > 0;

/** Undefined where the scales are of each row, but not made in this body, from what is quantized. */
function targetOf(quantize: OpNode, body: Body): Target | undefined {
  const [scale, each] = body.callOf(quantize).scale('scale');
  const isMade = body.nodes.some(
    ({ op, in: { x }, out }) =>
      op.name === 'absmax-scale' && x === quantize.in.x && out.scale === quantize.in.scale,
  );
  return each === 0 || isMade ? { scale, each } : undefined;
}

/** Whether a product can quantize its tiles itself: vectors of one segment, and scales that are there. */
const isForTiles = (segments: readonly Segment[]): boolean =>
  segments.length <= MOST_SEGMENTS.static &&
  !segments.some(isMeasured) &&
  segments.slice(0, -1).every(({ end }) => end % 4 === 0);

/** Quantizes the segments of the rows of x, and measures scales where that is wanted. */
const quantizeSegments = (x: Operand, width: number, segments: readonly Segment[]): Instruction => ({
  code: code.QUANTIZE_SEGMENTS,
  operands: [
    x,
    width,
    segments.length,
    ...segments.flatMap(({ end, scale, each, q }) => [end, scale, each, q]),
  ],
  quantized: width,
});

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
    const target = quantize && targetOf(quantize, body);
    if (!norm || !target || body.isOutput(norm.out.y)) return undefined;
    if (body.nodes.length !== (add ? 3 : 2) + (isMeasured(target) ? 1 : 0)) return undefined;
    if (add && add.out.sum !== norm.in.x) return undefined;
    const { value, weight, dims, attrs } = body.callOf(norm);
    const sum = add && body.callOf(add);
    return [
      {
        code: code.ADD_NORM_QUANTIZE,
        operands: [
          ...(sum ? [sum.value('x'), sum.value('y'), sum.value('sum')] : [value('x'), 0, 0]),
          weight('w', vector),
          target.scale,
          target.each,
          body.callOf(quantize).value('q'),
          dims.m,
          bits(attrs.eps as number),
        ],
        own: () => 128 + padded(dims.m) * 4,
        quantized: dims.m,
      },
    ];
  },

  'gemm-i8-quantize': body => product(body, 'linear-i8', linearI8, [code.LINEAR_I8, code.LINEAR_I8_QUANTIZE]),
  'gemm-i4-quantize': body => product(body, 'linear-i4', linearI4, [code.LINEAR_I4, code.LINEAR_I4_QUANTIZE]),

  'causal-conv1d-i8'(body) {
    const [conv, input, quantize] = ['causal-conv1d', 'dequantize', 'quantize'].map(name => the(name, body));
    const scaled = the('scale-channels', body);
    const target = quantize && targetOf(quantize, body);
    if (!conv || !input || !target) return undefined;
    if (body.nodes.length !== 3 + (isMeasured(target) ? 1 : 0) + (scaled ? 1 : 0)) return undefined;
    if (input.out.x !== conv.in.x || body.isOutput(input.out.x) || body.isOutput(conv.out.y))
      return undefined;
    if (scaled && (!body.callOf(scaled).attrs.inverse || body.isOutput(scaled.out.y))) return undefined;
    if (quantize.in.x !== (scaled ?? conv).out.y || (scaled && scaled.in.x !== conv.out.y)) return undefined;
    const { value, weight, state, dims, attrs } = body.callOf(conv);
    const from = body.callOf(input);
    const q = body.callOf(quantize).value('q');
    const segment = { ...target, end: dims.d, q };
    return [
      {
        code: code.CAUSAL_CONV1D_I8,
        operands: [
          from.value('q'),
          ...from.scale('scale'),
          weight('w', taps),
          weight('b', vector),
          state(pastInputs(dims.d, dims.k - 1)),
          ...(isMeasured(target) ? [0, value('y')] : [target.scale, q]),
          dims.d,
          dims.k,
          attrs.activation === 'silu' ? 1 : 0,
          scaled ? body.callOf(scaled).weight('c', vector) : 0,
        ],
        own: convWindow(dims.k),
        quantized: dims.d,
      },
      ...(isMeasured(target) ? [quantizeSegments(value('y'), dims.d, [segment])] : []),
    ];
  },

  'selective-scan-i8': body => scanI8(body, 'selective-scan', code.SELECTIVE_SCAN_I8, channelLanes),
  'selective-scan-f16-i8': body =>
    scanI8(body, 'selective-scan-f16', code.SELECTIVE_SCAN_F16_I8, channelHalves),
  'selective-scan-i8state-i8': body =>
    scanI8(body, 'selective-scan-i8state', code.SELECTIVE_SCAN_I8STATE_I8, steppedBytes),

  'fwht-quantize'(body) {
    const [fwht, quantize] = ['fwht', 'quantize'].map(name => the(name, body));
    const target = quantize && targetOf(quantize, body);
    if (!fwht || !target || body.nodes.length !== (isMeasured(target) ? 3 : 2)) return undefined;
    if (body.isOutput(fwht.out.y)) return undefined;
    const call = body.callOf(fwht);
    return [
      {
        code: code.FWHT_QUANTIZE,
        operands: [
          call.value('x'),
          target.scale,
          target.each,
          body.callOf(quantize).value('q'),
          ...hadamardOperands(call),
        ],
        own: () => padded(call.dims.n) * 4 + hadamardColumns(call.dims.n),
        quantized: call.dims.n,
      },
    ];
  },
};

/** dequantize and softplus before a scan. */
function scanI8(body: Body, op: string, opcode: number, packing: ScanPacking): ReturnType<Rule> {
  const scan = the(op, body)!;
  const softplus = the('softplus', body);
  if (!softplus || softplus.out.y !== scan.in.dt) return undefined;
  const real = new Map(body.nodes.map(node => [Object.values(node.out)[0], node]));
  const channels = the('scale-channels', body);
  if (channels && (channels.out.y !== scan.in.u || channels.attrs.inverse || body.isOutput(channels.out.y)))
    return undefined;
  const u = channels?.in.x ?? scan.in.u;
  const inputs = { u, dt: softplus.in.x, B: scan.in.B, C: scan.in.C, z: scan.in.z };
  const found = Object.entries(inputs).filter(([, ref]) => ref !== undefined);
  const sources = found.map(([key, ref]) => [key, real.get(ref)] as const);
  const isReal = (node: OpNode | undefined): node is OpNode =>
    node?.op.name === 'dequantize' && !body.isOutput(node.out.x);
  if (!sources.every(([, node]) => isReal(node)) || body.isOutput(softplus.out.y)) return undefined;
  const others = channels ? 3 : 2;
  if (new Set(sources.map(([, node]) => node)).size + others !== body.nodes.length) return undefined;
  const calls = Object.fromEntries(sources.map(([key, node]) => [key, body.callOf(node!)]));
  const scaled = (key: string) => [calls[key].value('q'), ...calls[key].scale('scale')];
  /** The values of a function: a table of one scale, or the scales of which the kernel makes them. */
  const looked = (key: string, table: typeof softplusTable) => {
    const [q, scale, each] = scaled(key);
    return [q, each === 0 ? calls[key].weight('scale', table) : scale, each];
  };
  const tables = [calls.dt, calls.z].filter(call => call && call.scale('scale')[1] > 0).length;
  const call = body.callOf(scan);
  const { weight, state, value, dims } = call;
  return [
    {
      code: opcode,
      operands: [
        ...scaled('u'),
        ...looked('dt', softplusTable),
        weight('A', decays),
        ...scaled('B'),
        ...scaled('C'),
        weight('D', vector),
        ...(calls.z ? looked('z', siluTable) : [0, 0, 0]),
        state(packing(dims.d, dims.n, call)),
        value('y'),
        dims.d,
        dims.n,
        channels ? body.callOf(channels).weight('c', vector) : 0,
        weight('scale', vector),
      ],
      own: rows => 2 * dims.n * 16 + 2 * rows * padded(dims.n) * 4 + tables * rows * 1024,
    },
  ];
}

/** A product and what quantizes it, as one instruction where that can be, else with slices that are not copied. */
function product(
  body: Body,
  name: string,
  whole: typeof linearI8,
  [real, quantizing]: readonly [number, number],
): readonly Instruction[] {
  const linear = the(name, body)!;
  const segments = segmentsOf(linear, body);
  const call = body.callOf(linear);
  if (segments && isForTiles(segments))
    return whole(
      call,
      quantizing,
      segments.flatMap(({ end, scale, q }) => [end, scale, q]),
    );
  if (segments && segments.length <= MOST_SEGMENTS.measured) {
    const y = call.value('y');
    return [...whole(call, real, [y]), quantizeSegments(y, call.dims.o, segments)];
  }
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
