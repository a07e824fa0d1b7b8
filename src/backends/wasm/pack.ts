/**
 * How constants lie in linear memory: in the order in which their kernel reads them, with padding that changes no sum.
 */
import type { Base } from '../../ops/hadamard.ts';
import { nibble } from '../../ops/nibbles.ts';
import { silu, softplus } from '../../ops/numerics.ts';
import { BYTES, type Data, type DataOf, type DType } from '../../tensor.ts';
import { arrayAt, padded } from './memory.ts';
import type { TileFormat } from './variants.ts';

const f = Math.fround;

/** A way to lay out a constant of a known shape. Where two instructions want the same constant under the same key, they share one copy. */
export interface Packing {
  readonly key: string;
  /** Of the constant as it is read. */
  readonly dtype: DType;
  readonly bytes: number;
  /** Writes it at the byte `at` of a memory that holds zeros there. */
  write(memory: ArrayBufferLike, at: number, data: Data): void;
}
export type PackingOf = (shape: readonly number[]) => Packing;

/** `size` values of a dtype, which `write` writes to an array that holds zeros. */
const packing = <D extends DType>(
  key: string,
  dtype: D,
  size: number,
  write: (to: DataOf[D], data: Data) => void,
): Packing => ({
  key,
  dtype,
  bytes: size * BYTES[dtype],
  write: (memory, at, data) => write(arrayAt(dtype, memory, at, size), data),
});

/** f32[n] with zeros behind it. */
export const vector: PackingOf = ([n]) => packing('vector', 'f32', padded(n), (to, data) => to.set(data));

/** f32[o, i] as [o/4][i/4][4 rows][4 columns]. */
export const tiles: PackingOf = ([rows, columns]) =>
  packing('tiles', 'f32', padded(rows) * padded(columns), (to, data) => {
    for (let row = 0, from = 0; row < rows; row++) {
      const base = (row >> 2) * 4 * padded(columns) + (row & 3) * 4;
      for (let k = 0; k < columns; k++) to[base + (k >> 2) * 16 + (k & 3)] = data[from++];
    }
  });

/** i8[o, i] in groups of columns, in the tiles of assembly/tiles-i8.ts: each group of 16 rows behind one i32 for each row. */
export function tilesI8(format: TileFormat, groups = 1): PackingOf {
  const bias = format.bias ? 0x80 : 0;
  /** What a row's i32 makes good: see assembly/tiles-i8.ts. */
  const correction = format.bias
    ? (_even: number, odd: number) => 128 * odd
    : (even: number, odd: number) => -format.offset * (even + odd);
  return ([rows, columns]) => {
    const run = columns / groups;
    const tiles = Math.ceil(rows / 16);
    const head = 64;
    const size = head + Math.ceil(run / 4) * 64;
    return packing(`tiles-i8-${groups}`, 'i8', tiles * groups * size, (to, data) => {
      const heads = new Int32Array(to.buffer, to.byteOffset, to.length / 4);
      for (let tile = 0; tile < tiles; tile++)
        for (let group = 0; group < groups; group++) {
          const begin = (tile * groups + group) * size;
          if (bias) for (let i = begin + head; i < begin + size; i += 2) to[i] = bias; // a weight of zero
          for (let row = 16 * tile; row < Math.min(rows, 16 * tile + 16); row++) {
            const base = begin + head + (row & 15) * 4;
            const from = row * columns + group * run;
            let even = 0;
            let odd = 0;
            for (let k = 0; k < run; k += 2) {
              const w = data[from + k];
              const next = k + 1 < run ? data[from + k + 1] : 0;
              const place = base + (k >> 2) * 64 + (k & 2);
              to[place] = w ^ bias;
              to[place + 1] = next;
              even += w;
              odd += next;
            }
            heads[begin / 4 + (row & 15)] = correction(even, odd);
          }
        }
    });
  };
}

/** Columns of a group of 4-bit weights with their padding. */
export const wideI4 = (run: number) => Math.ceil(run / 32) * 32;

/** Packed i8[o, ⌈i/2⌉] of 4-bit weights in groups of columns, in the tiles of assembly/tiles-i4.ts. */
export const tilesI4 =
  (format: TileFormat, groups: number, columns: number): PackingOf =>
  ([rows, width]) => {
    const run = columns / groups;
    const size = wideI4(run) * 8;
    return packing(`tiles-i4-${groups}`, 'i8', Math.ceil(rows / 16) * groups * size, (to, data) => {
      // Weights of zero: 8, but 0 in the upper half of an odd byte where that has a sign.
      for (let i = 0; i < to.length; i++) to[i] = format.bias && i & 1 ? 0x08 : 0x88;
      for (let row = 0; row < rows; row++)
        for (let group = 0; group < groups; group++) {
          const begin = ((row >> 4) * groups + group) * size + (row & 15) * 4;
          for (let k = 0; k < run; k++) {
            const w = nibble(data, row * width, group * run + k);
            to[begin + (k >> 3) * 64 + (k & 3)] ^= (w & 15) << (k & 4);
          }
        }
    });
  };

/** The scales f32[p, g] of `outputs` rows as [o/16][g][16 rows], as they are met with the tiles; one for all is repeated. */
export const scales =
  (outputs: number): PackingOf =>
  ([p, groups]) =>
    packing(`scales-${outputs}`, 'f32', Math.ceil(outputs / 16) * 16 * groups, (to, data) => {
      for (let row = 0; row < outputs; row++)
        for (let group = 0; group < groups; group++)
          to[((row >> 4) * groups + group) * 16 + (row & 15)] = data[(p === 1 ? 0 : row) * groups + group];
    });

/** The taps f32[d, k] of a convolution as [k][d]. */
export const taps: PackingOf = ([d, k]) =>
  packing('taps', 'f32', k * padded(d), (to, data) => {
    for (let c = 0; c < d; c++) for (let j = 0; j < k; j++) to[j * padded(d) + c] = data[c * k + j];
  });

const LOG2E = f(Math.LOG2E);

/**
 * A f32[d, n] of the scan times log2 e (exp(dt·A) is computed as exp2), as [d/4][1 + n][4 channels]: before the n values
 * of each channel the largest |value|, NaN if one is.
 */
export const decays: PackingOf = ([d, n]) =>
  packing('decays', 'f32', padded(d) * (1 + n), (to, data) => {
    for (let c = 0; c < d; c++) {
      const base = (c >> 2) * (1 + n) * 4 + (c & 3);
      for (let s = 0; s < n; s++) {
        const a = f(data[c * n + s] * LOG2E);
        to[base + (1 + s) * 4] = a;
        to[base] = Math.max(to[base], Math.abs(a));
      }
    }
  });

/** A f32[h, 1] of the SSD scan times log2 e, with zeros behind it. */
export const headDecays: PackingOf = ([h]) =>
  packing('head-decays', 'f32', padded(h), (to, data) => to.set(data.map(value => f(value * LOG2E))));

/** A function of all 256 values that an int8 of one scale can be, from −128 on: f32[256]. */
const table =
  (key: string, of: (x: number) => number): PackingOf =>
  () =>
    packing(key, 'f32', 256, (to, [scale]) => {
      for (let q = -128; q < 128; q++) to[q + 128] = of(f(scale * q));
    });
export const softplusTable = table('softplus-table', softplus);
export const siluTable = table('silu-table', silu);

/** The sign bits of M_K, or of its transpose. */
export const signs = (base: Base, transpose: boolean): Packing =>
  packing(`signs-${base.length}-${transpose}`, 'i32', base.length * base.length, to => {
    for (const [i, row] of base.entries())
      for (const [j, sign] of row.entries())
        if (sign < 0) to[transpose ? j * base.length + i : i * base.length + j] = 1 << 31;
  });
