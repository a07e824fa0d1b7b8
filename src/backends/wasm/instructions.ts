/** Each op as instructions. The operands of an instruction are those of its format, by name. */
import type { AnyOp, Attrs, Dims, KeptStates } from '../../op.ts';
import { factor } from '../../ops/hadamard.ts';
import { parse } from '../../signature.ts';
import * as format from './instruction-formats.ts';
import { padded } from './memory.ts';
import { type Address, float, type Instruction, instruction, type Operand, scratch } from './operands.ts';
import {
  decays,
  type Packing,
  type PackingOf,
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

/** What an instruction may ask of its node. An input that is absent is 0. */
export interface Call {
  readonly dims: Dims;
  readonly attrs: Attrs;
  readonly tiles: TileFormat;
  /** An input or output of l rows. */
  value(key: string): Address;
  /** A constant input. */
  weight(key: string, packing: PackingOf): Address;
  /** A constant of the op itself. */
  table(packing: Packing): Address;
  /** A scale that all rows share or that each row has its own of, and its scaleStride. */
  scale(key: string): readonly [Address, number];
  /** A state, which the kernel takes to be of this shape; the number of its dtype, and its scale, or 0. */
  state(key: string, shape: readonly number[]): readonly [h: Address, hType: number, hScale: Address];
}

/** Whether there are instructions for an op whose states are kept so. */
export const hasKernel = (op: AnyOp, kept: KeptStates = {}): boolean =>
  Object.hasOwn(instructions, op.name) &&
  Object.values(op.states as Readonly<Record<string, string>>).every(
    signature => parse(signature).axes[0].letter !== 't',
  ) &&
  (op.name === 'selective-scan' || Object.values(kept).every(state => (state?.dtype ?? 'f32') === 'f32'));

const wide = (n: number) => Math.ceil(n / 16) * 16;
const fours = (rows: number) => Math.ceil(rows / 4);
const rowBytes = (n: number) => padded(n) * 4;

const elementwise =
  (of: typeof format.Silu) =>
  ({ value, dims: { n } }: Call): readonly Instruction[] => [
    instruction(of, { x: value('x'), y: value('y'), n }),
  ];

/** n = outer · K · run, and the signs of M_K. */
export function hadamardOperands({ dims: { n }, attrs, table }: Call) {
  const { outer, base, run } = factor(n)!;
  const norm = float(1 / Math.sqrt(n));
  return { n, outer, K: base.length, run, signs: table(signs(base, attrs.inverse === true)), norm };
}
/** The bytes of eight columns of K values. */
export const hadamardColumns = (n: number) => factor(n)!.base.length * 32;

/* biome-ignore format: a table */
export const instructions: Readonly<Record<string, (call: Call) => readonly Instruction[]>> = {
  embedding: ({ value, weight, dims: { m } }) => [
    instruction(format.Embedding, { tokens: value('tokens'), w: weight('w', tiles), y: value('y'), m }, { isLookup: true }),
  ],
  'embedding-i8': ({ value, weight, tiles, dims: { m } }) => [
    instruction(format.EmbeddingI8, {
      tokens: value('tokens'), w: weight('w', tilesI8(tiles)), scale: weight('scale', vector), y: value('y'), m,
    }, { isLookup: true }),
  ],
  add: ({ value, dims: { m } }) => [
    instruction(format.Add, { x: value('x'), y: value('y'), sum: value('sum'), n: m }),
  ],
  'rms-norm': ({ value, weight, dims: { m }, attrs }) => [
    instruction(format.RmsNorm, {
      x: value('x'), w: weight('w', vector), y: value('y'), m, eps: float(attrs.eps as number),
    }, { own: () => 128 }),
  ],
  linear: ({ value, weight, dims: { i, o } }) => {
    const packed = scratch(rows => rows * rowBytes(i));
    return [
      instruction(format.Pack, { x: value('x'), packed, i }),
      instruction(format.Linear, { packed, w: weight('w', tiles), b: weight('b', vector), y: value('y'), i, o }),
    ];
  },
  'linear-i8': call => linearI8(call, call.value('y')),
  'linear-i4': call => linearI4(call, call.value('y')),
  'causal-conv1d': call => [
    instruction(format.CausalConv1d, {
      x: call.value('x'), ...convOperands(call), y: call.value('y'),
    }, { own: convWindow(call) }),
  ],
  softplus: elementwise(format.Softplus),
  silu: elementwise(format.Silu),
  'neg-exp': elementwise(format.NegExp),
  'selective-scan': call => [selectiveScan(call)],
  fwht: call => [
    instruction(format.Fwht, { x: call.value('x'), y: call.value('y'), ...hadamardOperands(call) }, {
      own: () => hadamardColumns(call.dims.n),
    }),
  ],
  'scale-channels': ({ value, weight, dims: { n }, attrs }) => [
    instruction(format.ScaleChannels, {
      x: value('x'), c: weight('c', vector), y: value('y'), n, inverse: attrs.inverse ? 1 : 0,
    }),
  ],
  'absmax-scale': ({ value, dims: { n } }) => [
    instruction(format.AbsmaxScale, { x: value('x'), scale: value('scale'), n }),
  ],
  quantize: call => [quantizeFrom(call.value('x'), 0, call.dims.n, call)],
  dequantize: ({ value, scale: scaleOf, dims: { n } }) => {
    const [scale, scaleStride] = scaleOf('scale');
    return [instruction(format.Dequantize, { q: value('q'), scale, scaleStride, x: value('x'), n })];
  },
  'dequantize-i4': ({ value, dims: { n, g } }) => [
    instruction(format.DequantizeI4, { q: value('q'), scale: value('scale'), x: value('x'), n, groups: g }),
  ],
  slice: ({ value, dims: { n }, attrs }) => [
    instruction(format.Slice, {
      x: value('x'), y: value('y'), n, start: attrs.start as number, size: attrs.size as number,
    }),
  ],
};

export const convOperands = ({ weight, state, dims: { d, k }, attrs }: Call) => ({
  w: weight('w', taps),
  b: weight('b', vector),
  past: state('past', [d, k - 1])[0],
  d,
  k,
  activated: attrs.activation === 'silu' ? 1 : 0,
});
/** The bytes of a block of 64 channels, of a convolution's window and one row more. */
export const convWindow =
  ({ dims: { k } }: Call) =>
  (rows: number) =>
    (rows + k) * 256;

/** What the scans of both kinds share: the constants, and how the state is kept. */
export function scanOperands({ weight, state, value, dims: { d, n } }: Call) {
  const [h, hType, hScale] = state('h', [d, n]);
  return { A: weight('A', decays), D: weight('D', vector), h, hType, hScale, y: value('y'), d, n };
}

function selectiveScan(call: Call): Instruction {
  const { value, dims } = call;
  const rows = { u: value('u'), dt: value('dt'), B: value('B'), C: value('C'), z: value('z') };
  return instruction(
    format.SelectiveScan,
    { ...rows, ...scanOperands(call) },
    { own: () => 2 * dims.n * 16 },
  );
}

/** An int8 product into y, or without y into the segments of its columns: end, scale and q of each. */
export type Product = (call: Call, y: Address, segments?: readonly Operand[]) => readonly Instruction[];

export const linearI8: Product = (call, y, segments) => {
  const { i, g } = call.dims;
  const packedRow = g * (16 + 2 * wide(i / g));
  const own = (rows: number) => Math.max(128 + packedRow, sumsOf(rows));
  const operands = { ...productOperands(call), w: call.weight('w', tilesI8(call.tiles, g)), y };
  return [
    packI8(call, operands),
    instruction(format.LinearI8, operands, { own, quantized: call.dims.o, segments }),
  ];
};

/** The same with 4-bit weights. More than one row of x takes each group of 16 rows of them as int8. */
export const linearI4: Product = (call, y, segments) => {
  const { i, g } = call.dims;
  const packedRow = g * (16 + 2 * wideI4(i / g));
  const own = (rows: number) => Math.max(128 + packedRow, sumsOf(rows) + 64 + 16 * wideI4(i / g));
  const operands = { ...productOperands(call), w: call.weight('w', tilesI4(call.tiles, g, i)), y };
  return [
    packI8(call, operands),
    instruction(format.LinearI4, operands, { own, quantized: call.dims.o, segments }),
  ];
};

/** The sums of all rows, their tiles of y, and 16 rows of w as i16, of as many columns as are widened at once. */
const sumsOf = (rows: number) => fours(rows) * 256 + rows * 64 + 32 * 1280;

function productOperands({ value, weight, scale, dims: { i, o, g } }: Call) {
  const packed = scratch(rows => g * fours(rows) * 8 * wide(i / g));
  const [xScale, xScaleStride] = scale('xscale');
  const wScale = weight('wscale', scales(o));
  return { x: value('x'), packed, xScale, xScaleStride, wScale, b: weight('b', vector), i, groups: g, o };
}
const packI8 = ({ dims: { i, g } }: Call, { x, packed }: { x: Address; packed: Address }): Instruction =>
  instruction(format.PackI8, { x, packed, i, groups: g });

/** A quantize node that reads columns from `start` on of rows of `width`. */
export function quantizeFrom(x: Address, start: number, width: number, call: Call): Instruction {
  const [scale, scaleStride] = call.scale('scale');
  const { n } = call.dims;
  const operands = {
    x,
    start: start * 4,
    xStride: rowBytes(width),
    scale,
    scaleStride,
    q: call.value('q'),
    n,
  };
  return instruction(format.Quantize, operands, { quantized: n });
}
