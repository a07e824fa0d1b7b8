/**
 * One line for each op: its node as an instruction of assembly/execute.ts. The arguments stand in the order in which the
 * kernel takes them.
 */
import type { Ref } from '../../graph.ts';
import type { Attrs, Dims } from '../../op.ts';
import { factor } from '../../ops/hadamard.ts';
import { padded } from './memory.ts';
import * as code from './opcodes.ts';
import { decays, type Packing, scales, signs, taps, tiles, tilesI8, vector } from './pack.ts';

/** An argument: a number, or something whose address is known when everything has its place. */
export type Operand =
  | number
  | { readonly kind: 'value'; readonly ref: Ref }
  | { readonly kind: 'weight'; readonly ref: Ref; readonly packing: Packing }
  | { readonly kind: 'state'; readonly ref: Ref; readonly padding: StatePadding }
  | { readonly kind: 'scratch'; readonly bytes: (rows: number) => number };

/** A state f32[d, n] as its kernel keeps it: `rows` rows, `stride` values apart. */
export interface StatePadding {
  readonly rows: number;
  readonly stride: number;
}

/** What an instruction may ask of its node. An input that is absent is 0. */
export interface Call {
  readonly dims: Dims;
  readonly attrs: Attrs;
  /** An input or output of l rows. */
  value(key: string): Operand;
  /** A constant input. */
  weight(key: string, packing: (shape: readonly number[]) => Packing): Operand;
  /** A constant of the op itself. */
  table(packing: Packing): Operand;
  /** A scale that is one for all rows or has one for each, and the bytes from one row's to the next's. */
  scale(key: string): readonly [Operand, number];
  state(padding: StatePadding): Operand;
}

const scratch = (bytes: (rows: number) => number): Operand => ({ kind: 'scratch', bytes });
const wide = (n: number) => Math.ceil(n / 8) * 8;

const elementwise =
  (opcode: number) =>
  ({ value, dims: { n } }: Call): readonly Operand[] => [opcode, value('x'), value('y'), n];

/* biome-ignore format: a table */
export const instructions: Readonly<Record<string, (call: Call) => readonly Operand[]>> = {
  embedding: ({ value, weight, dims: { m } }) => [
    code.EMBEDDING, value('tokens'), weight('w', tiles), value('y'), m,
  ],
  'embedding-i8': ({ value, weight, dims: { m } }) => [
    code.EMBEDDING_I8, value('tokens'), weight('w', tilesI8()), weight('scale', vector), value('y'), m,
  ],
  add: ({ value, dims: { m } }) => [code.ADD, value('x'), value('y'), value('sum'), m],
  'rms-norm': ({ value, weight, dims: { m }, attrs }) => [
    code.RMS_NORM, value('x'), weight('w', vector), value('y'), m, bits(attrs.eps as number),
  ],
  linear: ({ value, weight, dims: { i, o } }) => [
    code.LINEAR, value('x'), weight('w', tiles), weight('b', vector), value('y'),
    scratch(rows => rows * padded(i) * 4), i, o,
  ],
  'linear-i8': ({ value, weight, scale, dims: { i, o, g } }) => [
    code.LINEAR_I8, value('x'), ...scale('xscale'), weight('w', tilesI8(g)), weight('wscale', scales(o)),
    weight('b', vector), value('y'), scratch(rows => (rows + 4) * g * wide(i / g) * 2), i, g, o,
  ],
  'causal-conv1d': ({ value, weight, state, dims: { d, k }, attrs }) => [
    code.CAUSAL_CONV1D, value('x'), weight('w', taps), weight('b', vector), state({ rows: d, stride: k - 1 }),
    value('y'), scratch(rows => (rows + k - 1) * padded(d) * 4), d, k, attrs.activation === 'silu' ? 1 : 0,
  ],
  softplus: elementwise(code.SOFTPLUS),
  silu: elementwise(code.SILU),
  'neg-exp': elementwise(code.NEG_EXP),
  'selective-scan': ({ value, weight, state, dims: { d, n } }) => [
    code.SELECTIVE_SCAN, value('u'), value('dt'), weight('A', decays), value('B'), value('C'), weight('D', vector),
    value('z'), state({ rows: padded(d), stride: padded(n) }), value('y'), d, n,
  ],
  fwht: ({ value, table, dims: { n }, attrs }) => {
    const { outer, base, run } = factor(n)!;
    return [
      code.FWHT, value('x'), value('y'), n, outer, base.length, run, table(signs(base, attrs.inverse === true)),
      scratch(() => base.length * 16), bits(1 / Math.sqrt(n)),
    ];
  },
  'scale-channels': ({ value, weight, dims: { n }, attrs }) => [
    code.SCALE_CHANNELS, value('x'), weight('c', vector), value('y'), n, attrs.inverse ? 1 : 0,
  ],
  'absmax-scale': ({ value, dims: { n } }) => [code.ABSMAX_SCALE, value('x'), value('scale'), n],
  quantize: ({ value, scale, dims: { n } }) => [code.QUANTIZE, value('x'), ...scale('scale'), value('q'), n],
  dequantize: ({ value, scale, dims: { n } }) => [code.DEQUANTIZE, value('q'), ...scale('scale'), value('x'), n],
  slice: ({ value, dims: { n }, attrs }) => [
    code.SLICE, value('x'), value('y'), n, attrs.start as number, attrs.size as number,
  ],
};

/** The bits of an f32, as an i32. */
const bits = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0];
