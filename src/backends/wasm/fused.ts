/**
 * One entry for each fused node of plan/fuse.ts: its body as fewer instructions that hand integers on without writing the
 * floats between them. Where a body does not fit (scales of each token, say), it is run node by node: the same bits.
 */
import type { OpNode, Ref } from '../../graph.ts';
import * as format from './instruction-formats.ts';
import {
  type Call,
  convOperands,
  convWindow,
  hadamardColumns,
  hadamardOperands,
  instructions,
  linearI4,
  linearI8,
  type Product,
  quantizeFrom,
  type Scale,
  scaleOperands,
  scanOperands,
} from './instructions.ts';
import { padded } from './memory.ts';
import { type Address, float, type Instruction, instruction, roomFor } from './operands.ts';
import { type PackingOf, siluTable, softplusTable, vector } from './pack.ts';

/** Where a quantize node's results go. A scaleStride that is not 0: the kernel is to measure the scale of each row. */
interface Target extends Scale {
  readonly q: Address;
}
/** Columns of a product up to `end`, and where they go. */
interface Segment extends Target {
  readonly end: number;
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
    segments.push({ ...target, end: begin });
  }
  const values = [linear.out.y, ...slices.keys()];
  const isWhole = begin === dims.o && segments.filter(isMeasured).length === measures.size;
  return isWhole && !values.some(ref => body.isOutput(ref)) ? segments : undefined;
}

const isMeasured = ({ scaleStride }: Scale): boolean => scaleStride > 0;

/** Undefined where the scales are of each row, but not made in this body, from what is quantized. */
function targetOf(quantize: OpNode, body: Body): Target | undefined {
  const { scale, value } = body.callOf(quantize);
  const target = { ...scale('scale'), q: value('q') };
  const isMade = body.nodes.some(
    ({ op, in: { x }, out }) =>
      op.name === 'absmax-scale' && x === quantize.in.x && out.scale === quantize.in.scale,
  );
  return isMade || !isMeasured(target) ? target : undefined;
}

/** Whether a product can quantize its tiles itself: each vector of four lies in one segment, and no scale is measured. */
const isForTiles = (segments: readonly Segment[]): boolean =>
  segments.length <= roomFor(format.LinearI8, 3) &&
  !segments.some(isMeasured) &&
  segments.slice(0, -1).every(({ end }) => end % 4 === 0);

/** Quantizes the segments of the rows of x, and measures scales where that is wanted. */
const quantizeSegments = (x: Address, width: number, segments: readonly Segment[]): Instruction =>
  instruction(
    format.QuantizeSegments,
    { x, width, segments: segments.length },
    {
      segments: segments.flatMap(({ end, scale, scaleStride, q }) => [end, scale, scaleStride, q]),
      quantized: width,
    },
  );

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
    if (!norm || !target || quantize.in.x !== norm.out.y || body.isOutput(norm.out.y)) return undefined;
    if (body.nodes.length !== (add ? 3 : 2) + (isMeasured(target) ? 1 : 0)) return undefined;
    if (add && add.out.sum !== norm.in.x) return undefined;
    const { value, weight, dims, attrs } = body.callOf(norm);
    const added = add && body.callOf(add);
    return [
      instruction(
        format.AddNormQuantize,
        {
          x: added ? added.value('x') : value('x'),
          y: added ? added.value('y') : 0,
          sum: added ? added.value('sum') : 0,
          w: weight('w', vector),
          ...target,
          n: dims.m,
          eps: float(attrs.eps as number),
        },
        { own: () => 128 + padded(dims.m) * 4, quantized: dims.m },
      ),
    ];
  },

  'gemm-i8-quantize': body => product(body, 'linear-i8', linearI8),
  'gemm-i4-quantize': body => product(body, 'linear-i4', linearI4),

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
    const call = body.callOf(conv);
    const from = body.callOf(input);
    const y = call.value('y');
    const { d } = call.dims;
    return [
      instruction(
        format.CausalConv1dI8,
        {
          x: from.value('q'),
          ...scaleOperands('x', from.scale('scale')),
          ...convOperands(call),
          scale: isMeasured(target) ? 0 : target.scale,
          q: isMeasured(target) ? y : target.q,
          channels: scaled ? body.callOf(scaled).weight('c', vector) : 0,
        },
        { own: convWindow(call), quantized: d },
      ),
      ...(isMeasured(target) ? [quantizeSegments(y, d, [{ ...target, end: d }])] : []),
    ];
  },

  'selective-scan-i8': scanI8,

  'fwht-quantize'(body) {
    const [fwht, quantize] = ['fwht', 'quantize'].map(name => the(name, body));
    const target = quantize && targetOf(quantize, body);
    if (!fwht || !target || body.nodes.length !== (isMeasured(target) ? 3 : 2)) return undefined;
    if (body.isOutput(fwht.out.y)) return undefined;
    const call = body.callOf(fwht);
    const { n } = call.dims;
    return [
      instruction(
        format.FwhtQuantize,
        { x: call.value('x'), ...target, ...hadamardOperands(call) },
        { own: () => padded(n) * 4 + hadamardColumns(n), quantized: n },
      ),
    ];
  },
};

/** dequantize and softplus before a scan. */
function scanI8(body: Body): ReturnType<Rule> {
  const scan = the('selective-scan', body)!;
  const softplus = the('softplus', body);
  if (!softplus || softplus.out.y !== scan.in.dt) return undefined;
  const producers = new Map(body.nodes.map(node => [Object.values(node.out)[0], node]));
  const channels = the('scale-channels', body);
  if (channels && (channels.out.y !== scan.in.u || channels.attrs.inverse || body.isOutput(channels.out.y)))
    return undefined;
  const inputs = {
    u: channels?.in.x ?? scan.in.u,
    dt: softplus.in.x,
    B: scan.in.B,
    C: scan.in.C,
    z: scan.in.z,
  };
  const given = Object.entries(inputs).filter(([, ref]) => ref !== undefined);
  const sources = given.map(([key, ref]) => [key, producers.get(ref)] as const);
  const isDequantized = (node: OpNode | undefined): node is OpNode =>
    node?.op.name === 'dequantize' && !body.isOutput(node.out.x);
  if (!sources.every(([, node]) => isDequantized(node)) || body.isOutput(softplus.out.y)) return undefined;
  const others = channels ? 3 : 2;
  if (new Set(sources.map(([, node]) => node)).size + others !== body.nodes.length) return undefined;
  const calls = Object.fromEntries(sources.map(([key, node]) => [key, body.callOf(node!)]));
  /** Where all rows share a scale, the values of a function of it are a table in the scale's place. */
  const lookup = ({ scale, weight }: Call, table: PackingOf): Scale => {
    const found = scale('scale');
    return isMeasured(found) ? found : { ...found, scale: weight('scale', table) };
  };
  const dtScale = lookup(calls.dt, softplusTable);
  const zScale = calls.z ? lookup(calls.z, siluTable) : { scale: 0 as const, scaleStride: 0 };
  const call = body.callOf(scan);
  const { n } = call.dims;
  const tables = [dtScale, zScale].filter(isMeasured).length;
  return [
    instruction(
      format.SelectiveScanI8,
      {
        u: calls.u.value('q'),
        ...scaleOperands('u', calls.u.scale('scale')),
        dt: calls.dt.value('q'),
        ...scaleOperands('dt', dtScale),
        B: calls.B.value('q'),
        ...scaleOperands('B', calls.B.scale('scale')),
        C: calls.C.value('q'),
        ...scaleOperands('C', calls.C.scale('scale')),
        z: calls.z ? calls.z.value('q') : 0,
        ...scaleOperands('z', zScale),
        ...scanOperands(call),
        channels: channels ? body.callOf(channels).weight('c', vector) : 0,
      },
      { own: rows => 2 * n * 16 + 2 * rows * padded(n) * 4 + tables * rows * 1024 },
    ),
  ];
}

/** A product and what quantizes it: as one instruction where that can be, else with slices that are not copied. */
function product(body: Body, name: string, linearOf: Product): readonly Instruction[] {
  const linear = the(name, body)!;
  const segments = segmentsOf(linear, body);
  const call = body.callOf(linear);
  if (segments && isForTiles(segments))
    return linearOf(
      call,
      0,
      segments.flatMap(({ end, scale, q }) => [end, scale, q]),
    );
  if (segments && segments.length <= roomFor(format.QuantizeSegments, 4)) {
    const y = call.value('y');
    return [...linearOf(call, y), quantizeSegments(y, call.dims.o, segments)];
  }
  /** A slice that only quantize nodes read is not copied: they read its columns where they are. */
  const isReadInPlace = (node: OpNode) =>
    node.op.name === 'slice' &&
    node.in.x === linear.out.y &&
    !body.isOutput(node.out.y) &&
    body.nodes.every(({ op, in: { x } }) => x !== node.out.y || op.name === 'quantize');
  const slices = new Map(body.nodes.filter(isReadInPlace).map(node => [node.out.y, node]));
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
