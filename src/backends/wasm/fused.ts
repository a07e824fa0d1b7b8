/**
 * One entry for each fused node of plan/fuse.ts: its body as fewer instructions that hand integers on without writing the
 * floats between them. Where a body does not fit (scales of each token, say), it is run node by node: the same bits.
 */
import type { OpNode } from '../../graph.ts';
import {
  type Body,
  isMeasured,
  type Segment,
  segmentsOf,
  sourceOf,
  sourcesOf,
  targetOf,
  the,
} from './bodies.ts';
import { type Call, type Scale, scaleOperands } from './call.ts';
import * as format from './instruction-formats.ts';
import {
  convOperands,
  convWindow,
  gatedRmsNorm,
  hadamardColumns,
  hadamardOperands,
  instructions,
  linearI4,
  linearI8,
  type Product,
  quantizeFrom,
  scanOperands,
  ssdScan,
} from './instructions.ts';
import { padded } from './memory.ts';
import { type Address, float, type Instruction, instruction, type Operand, roomFor } from './operands.ts';
import { type PackingOf, siluTable, softplusTable, vector } from './pack.ts';

/** Whether a kernel can quantize its columns itself: each vector of four lies in one segment, and no scale is measured. */
const isAtOnce = (segments: readonly Segment[], room: number): boolean =>
  segments.length <= room &&
  !segments.some(isMeasured) &&
  segments.slice(0, -1).every(({ end }) => end % 4 === 0);

/** The words of segments that a kernel quantizes itself. */
const wordsOf = (segments: readonly Segment[]): readonly Operand[] =>
  segments.flatMap(({ end, scale, q, channels }) => [end, scale, q, channels]);

/** Quantizes the segments of the rows of x, and measures scales where that is wanted. */
const quantizeSegments = (x: Address, width: number, segments: readonly Segment[]): Instruction =>
  instruction(
    format.QuantizeSegments,
    { x, width, segments: segments.length },
    {
      segments: segments.flatMap(({ end, scale, scaleStride, q, channels }) => [
        end,
        scale,
        scaleStride,
        q,
        channels,
      ]),
      quantized: width,
    },
  );

const NO_ROTATION = { outer: 0, K: 0, run: 0, signs: 0, norm: float(0) } as const;

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
    const conv = the('causal-conv1d', body)!;
    const call = body.callOf(conv);
    const { d } = call.dims;
    const source = sourceOf(conv, 'x', body);
    const segments = source?.nodes.length ? segmentsOf(conv, d, body, source.nodes) : undefined;
    if (!source || !segments || segments.length > roomFor(format.QuantizeSegments, 5)) return undefined;
    const atOnce = isAtOnce(segments, roomFor(format.CausalConv1dI8, 4));
    const y = atOnce ? 0 : call.value('y');
    const { input } = source;
    return [
      instruction(
        format.CausalConv1dI8,
        {
          x: input.x,
          ...scaleOperands('x', input.scale),
          xChannels: input.channels,
          ...convOperands(call),
          y,
        },
        { own: convWindow(call), ...(atOnce && { segments: wordsOf(segments), quantized: d }) },
      ),
      ...(atOnce ? [] : [quantizeSegments(y, d, segments)]),
    ];
  },

  'ssd-scan-i8'(body) {
    const scan = the('ssd-scan', body)!;
    const sources = sourcesOf(scan, ['dt', 'x', 'B', 'C'], body);
    if (!sources || sources.nodes.length + 1 !== body.nodes.length) return undefined;
    return ssdScan(body.callOf(scan), sources.inputs);
  },

  'gated-norm-i8'(body) {
    const norm = the('gated-rms-norm', body)!;
    const sources = sourcesOf(norm, ['z'], body);
    if (!sources) return undefined;
    const call = body.callOf(norm);
    const { z } = sources.inputs;
    if (sources.nodes.length + 1 === body.nodes.length)
      return [gatedRmsNorm(call, z, { y: call.value('y'), q: 0, scale: 0, scaleStride: 0 })];
    const segments = segmentsOf(norm, call.dims.d, body, sources.nodes);
    if (segments?.length !== 1 || segments[0].channels !== 0) return undefined;
    const { q, scale, scaleStride } = segments[0];
    return [gatedRmsNorm(call, z, { y: 0, q, scale, scaleStride })];
  },

  'selective-scan-i8': scanI8,

  'swiglu-quantize'(body) {
    const [swiglu, fwht, quantize] = ['swiglu', 'fwht', 'quantize'].map(name => the(name, body));
    const target = quantize && targetOf(quantize, body);
    if (!swiglu || !target || quantize.in.x !== (fwht ?? swiglu).out.y) return undefined;
    if (fwht && fwht.in.x !== swiglu.out.y) return undefined;
    const slices = body.nodes.filter(({ op }) => op.name === 'slice');
    const made = [swiglu, ...(fwht ? [fwht] : []), ...slices];
    if (made.length + (isMeasured(target) ? 2 : 1) !== body.nodes.length) return undefined;
    if (made.some(({ out }) => body.isOutput(out.y))) return undefined;
    const { n } = body.callOf(swiglu).dims;
    /** Slices are not copied: their columns are read where they are. */
    const columns = (key: string) => {
      const slice = slices.find(({ out }) => out.y === swiglu.in[key]);
      if (!slice) return { x: body.callOf(swiglu).value(key), start: 0, stride: padded(n) * 4 };
      const { value, attrs, dims } = body.callOf(slice);
      return { x: value('x'), start: 4 * (attrs.start as number), stride: padded(dims.n) * 4 };
    };
    const [gate, up] = [columns('gate'), columns('up')];
    const rotation = fwht ? hadamardOperands(body.callOf(fwht)) : NO_ROTATION;
    const places = { x: gate.x, start: gate.start, xStride: gate.stride };
    return [
      instruction(
        format.SwigluQuantize,
        { ...rotation, n, ...places, up: up.x, upStart: up.start, upStride: up.stride, ...target },
        { own: () => padded(n) * 4 + (fwht ? hadamardColumns(n) : 0), quantized: n },
      ),
    ];
  },

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
  if (!softplus || softplus.out.y !== scan.in.dt || body.isOutput(softplus.out.y)) return undefined;
  const sources = {
    u: sourceOf(scan, 'u', body),
    dt: sourceOf(softplus, 'x', body),
    B: sourceOf(scan, 'B', body),
    C: sourceOf(scan, 'C', body),
    ...(scan.in.z !== undefined && { z: sourceOf(scan, 'z', body) }),
  };
  /** All are dequantized in the body, and only u may have channels. */
  const fits = ([key, source]: readonly [string, ReturnType<typeof sourceOf>]) =>
    source?.nodes.length === 1 || (key === 'u' && source?.nodes.length === 2);
  if (!Object.entries(sources).every(fits)) return undefined;
  const made = new Set(Object.values(sources).flatMap(source => source!.nodes));
  if (made.size + 2 !== body.nodes.length) return undefined;
  const calls = Object.fromEntries(
    Object.entries(sources).map(([key, source]) => [key, body.callOf(source!.nodes[0])]),
  );
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
        channels: sources.u!.input.channels,
      },
      { own: rows => 2 * n * 16 + 2 * rows * padded(n) * 4 + tables * rows * 1024 },
    ),
  ];
}

/** A product and what quantizes it: as one instruction where that can be, else with slices that are not copied. */
function product(body: Body, name: string, linearOf: Product): readonly Instruction[] {
  const linear = the(name, body)!;
  const call = body.callOf(linear);
  const segments = segmentsOf(linear, call.dims.o, body);
  if (segments && isAtOnce(segments, roomFor(format.LinearI8, 4)))
    return linearOf(call, 0, wordsOf(segments));
  if (segments && segments.length <= roomFor(format.QuantizeSegments, 5)) {
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
