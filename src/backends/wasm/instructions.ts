/**
 * One line for each op: its node as instructions of assembly/execute.ts. The arguments stand in the order in which the
 * kernel takes them.
 */
import type { Ref } from '../../graph.ts';
import type { Attrs, Dims } from '../../op.ts';
import { factor } from '../../ops/hadamard.ts';
import type { Data } from '../../tensor.ts';
import { padded } from './memory.ts';
import * as code from './opcodes.ts';
import {
  channelBytes,
  channelHalves,
  channelLanes,
  decays,
  type Packing,
  pastInputs,
  type StatePacking,
  scales,
  signs,
  taps,
  tiles,
  tilesI4,
  tilesI8,
  vector,
  wideI4,
} from './pack.ts';
import type { TileFormat } from './variants.ts';

/** An argument: a number, or something whose address is known when everything has its place. */
export type Operand =
  | number
  | { readonly kind: 'value'; readonly ref: Ref }
  | { readonly kind: 'weight'; readonly ref: Ref; readonly packing: Packing }
  | { readonly kind: 'state'; readonly ref: Ref; readonly packing: StatePacking }
  | { readonly kind: 'scratch'; readonly bytes: (rows: number) => number };

export interface Instruction {
  readonly code: number;
  readonly operands: readonly Operand[];
  /** Bytes of own scratch that each thread needs. */
  readonly own?: (rows: number) => number;
  /** Columns of what it quantizes, where it may meet a NaN. */
  readonly quantized?: number;
}

/** What an instruction may ask of its node. An input that is absent is 0. */
export interface Call {
  readonly dims: Dims;
  readonly attrs: Attrs;
  readonly tiles: TileFormat;
  /** An input or output of l rows. */
  value(key: string): Operand;
  /** A constant input. */
  weight(key: string, packing: (shape: readonly number[]) => Packing): Operand;
  /** A constant of the op itself. */
  table(packing: Packing): Operand;
  /** A scale that is one for all rows or has one for each, and the bytes from one row's to the next's. */
  scale(key: string): readonly [Operand, number];
  state(packing: StatePacking): Operand;
  /** What a constant input holds. */
  constant(key: string): () => Data;
}

const does = (
  code: number,
  operands: readonly Operand[],
  more: Omit<Instruction, 'code' | 'operands'> = {},
): Instruction => ({ code, operands, ...more });

const scratch = (bytes: (rows: number) => number): Operand => ({ kind: 'scratch', bytes });
const wide = (n: number) => Math.ceil(n / 16) * 16;
const fours = (rows: number) => Math.ceil(rows / 4);
const rowBytes = (n: number) => padded(n) * 4;

const elementwise =
  (opcode: number) =>
  ({ value, dims: { n } }: Call): readonly Instruction[] => [does(opcode, [value('x'), value('y'), n])];

/** The bytes of a block of 64 channels, of a convolution's window and one row more. */
export const convWindow = (k: number) => (rows: number) => (rows + k) * 256;
/** n = outer · K · run, and the signs of M_K. */
export const hadamardOperands = ({ dims: { n }, attrs, table }: Call): readonly Operand[] => {
  const { outer, base, run } = factor(n)!;
  return [n, outer, base.length, run, table(signs(base, attrs.inverse === true)), bits(1 / Math.sqrt(n))];
};
/** The bytes of eight columns of K values. */
export const hadamardColumns = (n: number) => factor(n)!.base.length * 32;

/* biome-ignore format: a table */
export const instructions: Readonly<Record<string, (call: Call) => readonly Instruction[]>> = {
  embedding: ({ value, weight, dims: { m } }) => [
    does(code.EMBEDDING, [value('tokens'), weight('w', tiles), value('y'), m]),
  ],
  'embedding-i8': ({ value, weight, tiles: format, dims: { m } }) => [
    does(code.EMBEDDING_I8, [value('tokens'), weight('w', tilesI8(format)), weight('scale', vector), value('y'), m]),
  ],
  add: ({ value, dims: { m } }) => [does(code.ADD, [value('x'), value('y'), value('sum'), m])],
  'rms-norm': ({ value, weight, dims: { m }, attrs }) => [
    does(code.RMS_NORM, [value('x'), weight('w', vector), value('y'), m, bits(attrs.eps as number)], { own: () => 128 }),
  ],
  linear: ({ value, weight, dims: { i, o } }) => {
    const packed = scratch(rows => rows * rowBytes(i));
    return [
      does(code.PACK, [value('x'), packed, i]),
      does(code.LINEAR, [packed, weight('w', tiles), weight('b', vector), value('y'), i, o]),
    ];
  },
  'linear-i8': call => linearI8(call, code.LINEAR_I8, [call.value('y')]),
  'linear-i4': call => linearI4(call, code.LINEAR_I4, [call.value('y')]),
  'causal-conv1d': ({ value, weight, state, dims: { d, k }, attrs }) => [
    does(code.CAUSAL_CONV1D, [
      value('x'), weight('w', taps), weight('b', vector), state(pastInputs(d, k - 1)), value('y'), d, k,
      attrs.activation === 'silu' ? 1 : 0,
    ], { own: convWindow(k) }),
  ],
  softplus: elementwise(code.SOFTPLUS),
  silu: elementwise(code.SILU),
  'neg-exp': elementwise(code.NEG_EXP),
  'selective-scan': call => [selectiveScan(code.SELECTIVE_SCAN, channelLanes, call)],
  'selective-scan-f16': call => [selectiveScan(code.SELECTIVE_SCAN_F16, channelHalves, call)],
  'selective-scan-i8state': call => [selectiveScan(code.SELECTIVE_SCAN_I8STATE, steppedBytes, call)],
  fwht: call => [
    does(code.FWHT, [call.value('x'), call.value('y'), ...hadamardOperands(call)], { own: () => hadamardColumns(call.dims.n) }),
  ],
  'scale-channels': ({ value, weight, dims: { n }, attrs }) => [
    does(code.SCALE_CHANNELS, [value('x'), weight('c', vector), value('y'), n, attrs.inverse ? 1 : 0]),
  ],
  'absmax-scale': ({ value, dims: { n } }) => [does(code.ABSMAX_SCALE, [value('x'), value('scale'), n])],
  quantize: call => [quantizeFrom(call.value('x'), 0, call.dims.n, call)],
  dequantize: ({ value, scale, dims: { n } }) => [
    does(code.DEQUANTIZE, [value('q'), ...scale('scale'), value('x'), n]),
  ],
  'dequantize-i4': ({ value, dims: { n, g } }) => [
    does(code.DEQUANTIZE_I4, [value('q'), value('scale'), value('x'), n, g]),
  ],
  slice: ({ value, dims: { n }, attrs }) => [
    does(code.SLICE, [value('x'), value('y'), n, attrs.start as number, attrs.size as number]),
  ],
};

/** How the state of a scan lies in memory. */
export type ScanPacking = (d: number, n: number, call: Call) => StatePacking;
export const steppedBytes: ScanPacking = (d, n, { constant }) => channelBytes(d, n, constant('scale'));

function selectiveScan(opcode: number, packing: ScanPacking, call: Call): Instruction {
  const { value, weight, state, dims } = call;
  const { d, n } = dims;
  const inputs = [
    value('u'),
    value('dt'),
    weight('A', decays),
    value('B'),
    value('C'),
    weight('D', vector),
    value('z'),
  ];
  return does(opcode, [...inputs, state(packing(d, n, call)), value('y'), d, n, weight('scale', vector)], {
    own: () => 2 * n * 16,
  });
}

/** The int8 product into y, or into the segments of its columns: end, scale and q of each. */
export function linearI8(
  { value, weight, scale, tiles: format, dims: { i, o, g } }: Call,
  opcode: number,
  to: readonly Operand[],
): readonly Instruction[] {
  const packed = scratch(rows => g * fours(rows) * 8 * wide(i / g));
  const packedRow = g * (16 + 2 * wide(i / g));
  const weights = [weight('w', tilesI8(format, g)), weight('wscale', scales(o)), weight('b', vector)];
  const own = (rows: number) => Math.max(128 + packedRow, fours(rows) * 256 + rows * 64 + PANEL);
  return [
    does(code.PACK_I8, [value('x'), packed, i, g]),
    does(opcode, [value('x'), packed, ...scale('xscale'), ...weights, i, g, o, ...to], { own, quantized: o }),
  ];
}

/** The same of 4-bit weights, of which more than one row of x takes a group of 16 rows as int8. */
export function linearI4(
  { value, weight, scale, tiles: format, dims: { i, o, g } }: Call,
  opcode: number,
  to: readonly Operand[],
): readonly Instruction[] {
  const run = i / g;
  const packed = scratch(rows => g * fours(rows) * 8 * wide(run));
  const weights = [weight('w', tilesI4(format, g, i)), weight('wscale', scales(o)), weight('b', vector)];
  const packedRow = g * (16 + 2 * wideI4(run));
  const own = (rows: number) =>
    Math.max(128 + packedRow, fours(rows) * 256 + rows * 64 + PANEL + 64 + 16 * wideI4(run));
  return [
    does(code.PACK_I8, [value('x'), packed, i, g]),
    does(opcode, [value('x'), packed, ...scale('xscale'), ...weights, i, g, o, ...to], { own, quantized: o }),
  ];
}
/** Bytes of 16 rows of w as i16, of as many columns as are widened at once. */
const PANEL = 32 * 1280;

/** A quantize node that reads columns from `start` on of rows of `width`. */
export const quantizeFrom = (x: Operand, start: number, width: number, call: Call): Instruction =>
  does(code.QUANTIZE, [x, start * 4, rowBytes(width), ...call.scale('scale'), call.value('q'), call.dims.n], {
    quantized: call.dims.n,
  });

/** The bits of an f32, as an i32. */
export const bits = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0];
