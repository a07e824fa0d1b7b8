/** Each op as instructions. The operands of an instruction are those of its format, by name. */
import type { AnyOp, Dims } from '../../op.ts';
import { factor } from '../../ops/hadamard.ts';
import { type Call, type Input, real, type Scale, scaleOperands } from './call.ts';
import * as format from './instruction-formats.ts';
import { padded } from './memory.ts';
import { type Address, float, type Instruction, instruction, type Operand, scratch } from './operands.ts';
import {
  decays,
  headDecays,
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
import { PAGE_TOKENS } from './sync.ts';

/** Whether there are instructions for an op. Its states may be kept in any way. */
export const hasKernel = (op: AnyOp): boolean => Object.hasOwn(instructions, op.name);

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
      x: value('x'), w: weight('w', vector), y: value('y'), n: m, eps: float(attrs.eps as number),
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
  'squared-relu': elementwise(format.SquaredRelu),
  swiglu: ({ value, dims: { n } }) => [
    instruction(format.Swiglu, { x: value('gate'), up: value('up'), y: value('y'), n }),
  ],
  'rope-table': ({ value, weight, state, dims: { r }, attrs }) => {
    const { h: fed, hType: fedType, hScale: fedScale } = state('fed');
    return [
      instruction(format.RopeTable, {
        freq: weight('freq', vector), y: value('y'), r, sine: attrs.sine ? 1 : 0, fed, fedType, fedScale,
      }),
    ];
  },
  rope: ({ value, dims: { h, p, r } }) => [
    instruction(format.Rope, {
      x: value('x'), y: value('y'), n: h * p, cos: value('cos'), sin: value('sin'), p, r,
    }),
  ],
  'selective-scan': call => [selectiveScan(call)],
  'ssd-scan': call => ssdScan(call, {
    dt: real(call.value('dt')), x: real(call.value('x')),
    B: real(call.value('B')), C: real(call.value('C')),
  }),
  attention: attend,
  'gated-rms-norm': call => [
    gatedRmsNorm(call, real(call.value('z')), { y: call.value('y'), q: 0, scale: 0, scaleStride: 0 }),
  ],
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
  dequantize: ({ value, scale, dims: { n } }) => [
    instruction(format.Dequantize, { q: value('q'), ...scale('scale'), x: value('x'), n }),
  ],
  'dequantize-i4': ({ value, dims: { n, g } }) => [
    instruction(format.DequantizeI4, { q: value('q'), scale: value('scale'), x: value('x'), n, groups: g }),
  ],
  slice: ({ value, dims: { n }, attrs }) => [
    instruction(format.Slice, {
      x: value('x'), y: value('y'), n, start: attrs.start as number, size: attrs.size as number,
    }),
  ],
};

export function convOperands({ weight, state, dims: { d, k }, attrs }: Call) {
  const { h: past, hType: pastType, hScale: pastScale } = state('past');
  const activated = attrs.activation === 'silu' ? 1 : 0;
  return { w: weight('w', taps), b: weight('b', vector), past, pastType, pastScale, d, k, activated };
}
/** The bytes of a block of 64 channels, of a convolution's window and one row more. */
export const convWindow =
  ({ dims: { k } }: Call) =>
  (rows: number) =>
    (rows + k) * 256;

/** What the scans of both kinds share: the constants, and how the state is kept. */
export function scanOperands({ weight, state, value, dims: { d, n } }: Call) {
  return { A: weight('A', decays), D: weight('D', vector), ...state('h'), y: value('y'), d, n };
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

/** The scan of Mamba-2: the steps of all heads, and then the recurrence. */
export function ssdScan(
  { weight, state, value, attrs, dims: { h, p, n, g } }: Call,
  { dt, x, B, C }: Readonly<Record<'dt' | 'x' | 'B' | 'C', Input>>,
): readonly Instruction[] {
  const steps = scratch(rows => 2 * rows * rowBytes(h));
  const limits = { lo: float(attrs.lo as number), hi: float(attrs.hi as number) };
  const isInteger = (...inputs: readonly Input[]) => inputs.filter(({ scale }) => scale.scale !== 0).length;
  return [
    instruction(format.SsdSteps, {
      dt: dt.x,
      ...scaleOperands('dt', dt.scale),
      dtChannels: dt.channels,
      bias: weight('bias', vector),
      A: weight('A', headDecays),
      steps,
      h,
      ...limits,
    }),
    instruction(
      format.SsdScan,
      {
        steps,
        x: x.x,
        ...scaleOperands('x', x.scale),
        xChannels: x.channels,
        B: B.x,
        ...scaleOperands('B', B.scale),
        BChannels: B.channels,
        C: C.x,
        ...scaleOperands('C', C.scale),
        CChannels: C.channels,
        D: weight('D', vector),
        ...state('S'),
        y: value('y'),
        heads: h,
        p,
        n,
        groups: g,
      },
      { own: rows => n * Math.max(64, rowBytes(p)) + isInteger(B, C) * rows * rowBytes(g * n) },
    ),
  ];
}

/** The keys and values of all rows are kept before any is read. */
function attend({ value, state, attrs, context, dims: { h, p, g } }: Call): readonly Instruction[] {
  const [{ h: K, hType: KType }, { h: V, hType: VType }] = [state('K'), state('V')];
  const keep = (x: Address, state: Address, type: number) =>
    instruction(format.Keep, { x, state, type, groups: g, p }, { own: () => 16 });
  const operands = { q: value('q'), K, KType, V, VType, y: value('y'), heads: h, groups: g, p };
  return [
    keep(value('k'), K, KType),
    keep(value('v'), V, VType),
    instruction(
      format.Attention,
      { ...operands, scale: float(attrs.scale as number) },
      {
        own: () =>
          (PAGE_TOKENS + 2 * format.QUERIES) * rowBytes(p) +
          format.QUERIES * (16 + wholePages(context) * 4 + 64),
      },
    ),
  ];
}
const wholePages = (tokens: number) => Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS;

/** Into y, or without y into the integers q. */
export function gatedRmsNorm(
  { value, weight, dims: { d, g }, attrs }: Call,
  z: Input,
  target: Scale & { readonly y: Address; readonly q: Address },
): Instruction {
  return instruction(
    format.GatedRmsNorm,
    {
      x: value('x'),
      z: z.x,
      ...scaleOperands('z', z.scale),
      zChannels: z.channels,
      w: weight('w', vector),
      ...target,
      n: d,
      groups: g,
      eps: float(attrs.eps as number),
    },
    { own: () => 128 + 2 * rowBytes(d) + 32, ...(target.q !== 0 && { quantized: d }) },
  );
}

/** An int8 product into y, or without y into the segments of its columns: end, scale and q of each. */
export type Product = (call: Call, y: Address, segments?: readonly Operand[]) => readonly Instruction[];

/** `own`: bytes of own scratch, for so many rows. */
const productBy =
  (
    of: typeof format.LinearI8 | typeof format.LinearI4,
    packing: (call: Call) => PackingOf,
    own: (dims: Dims, rows: number) => number,
  ): Product =>
  (call, y, segments) => {
    const { value, weight, scale, dims } = call;
    const { i, o, g: groups } = dims;
    const x = value('x');
    const packed = scratch(rows => groups * fours(rows) * 8 * wide(i / groups));
    const w = weight('w', packing(call));
    const wScale = weight('wscale', scales(o));
    const b = weight('b', vector);
    return [
      instruction(format.PackI8, { x, packed, i, groups }),
      instruction(
        of,
        { x, packed, ...scaleOperands('x', scale('xscale')), w, wScale, b, i, groups, o, y },
        { own: rows => own(dims, rows), ...(segments && { segments, quantized: o }) },
      ),
    ];
  };

/**
 * The sums of all rows, their tiles of y, and 16 rows of w as i16, of as many columns as are widened at once. The relaxed module has
 * no such i16; its sums, of rows by six, have room there.
 */
const sumsOf = (rows: number) => fours(rows) * 256 + rows * 64 + 32 * 1280;

export const linearI8 = productBy(
  format.LinearI8,
  ({ tiles, dims: { g } }) => tilesI8(tiles, g),
  ({ i, g }, rows) => Math.max(128 + g * (16 + 2 * wide(i / g)), sumsOf(rows)),
);
/** The same with 4-bit weights. More than one row of x takes each group of 16 rows of them as int8. */
export const linearI4 = productBy(
  format.LinearI4,
  ({ tiles, dims: { g, i } }) => tilesI4(tiles, g, i),
  ({ i, g }, rows) => Math.max(128 + g * (16 + 2 * wideI4(i / g)), sumsOf(rows) + 64 + 16 * wideI4(i / g)),
);

/** A quantize node that reads columns from `start` on of rows of `width`. */
export function quantizeFrom(x: Address, start: number, width: number, call: Call): Instruction {
  const { n } = call.dims;
  const columns = { x, start: start * 4, xStride: rowBytes(width), n };
  const operands = { ...columns, ...call.scale('scale'), q: call.value('q') };
  return instruction(format.Quantize, operands, { quantized: n });
}
