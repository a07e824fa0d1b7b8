/**
 * How constants lie in linear memory: in the order in which their kernel reads them, with padding that changes no sum.
 */
import type { Base } from '../../ops/hadamard.ts';
import { nibble } from '../../ops/nibbles.ts';
import { silu, softplus } from '../../ops/numerics.ts';
import type { DType, Tensor } from '../../tensor.ts';
import { padded } from './memory.ts';
import type { TileFormat } from './variants.ts';

/** A way to lay out a constant of a known shape. Where two instructions want the same constant under the same key, they share one copy. */
export interface Packing {
  readonly key: string;
  /** Of the constant as it is read. */
  readonly dtype: DType;
  readonly bytes: number;
  /** Writes it at the byte `at` of a memory that holds zeros there. */
  write(memory: ArrayBufferLike, at: number, data: Tensor['data']): void;
}

const f32 = (memory: ArrayBufferLike, at: number, size: number) => new Float32Array(memory, at, size);
const f = Math.fround;

/** f32[n] with zeros behind it. */
export const vector = ([n]: readonly number[]): Packing => ({
  key: 'vector',
  dtype: 'f32',
  bytes: padded(n) * 4,
  write: (memory, at, data) => f32(memory, at, n).set(data),
});

/** f32[o, i] as [o/4][i/4][4 rows][4 columns]. */
export function tiles([rows, columns]: readonly number[]): Packing {
  const size = padded(rows) * padded(columns);
  return {
    key: 'tiles',
    dtype: 'f32',
    bytes: size * 4,
    write(memory, at, data) {
      const to = f32(memory, at, size);
      for (let row = 0, from = 0; row < rows; row++) {
        const base = (row >> 2) * 4 * padded(columns) + (row & 3) * 4;
        for (let k = 0; k < columns; k++) to[base + (k >> 2) * 16 + (k & 3)] = data[from++];
      }
    },
  };
}

/** i8[o, i] in groups of columns, in the tiles of assembly/tiles-i8.ts: each group of 16 rows behind one i32 for each row. */
export const tilesI8 =
  (format: TileFormat, groups = 1) =>
  ([rows, columns]: readonly number[]): Packing => {
    const run = columns / groups;
    const tiles = Math.ceil(rows / 16);
    const head = 64;
    const size = head + Math.ceil(run / 4) * 64;
    const bias = format.bias ? 0x80 : 0;
    /** What a row's i32 makes good: see assembly/tiles-i8.ts. */
    const correction = format.bias
      ? (_even: number, odd: number) => 128 * odd
      : (even: number, odd: number) => -format.offset * (even + odd);
    return {
      key: `tiles-i8-${groups}`,
      dtype: 'i8',
      bytes: tiles * groups * size,
      write(memory, at, data) {
        const to = new Int8Array(memory, at, tiles * groups * size);
        const heads = new Int32Array(memory, at, (tiles * groups * size) / 4);
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
      },
    };
  };

/** Columns of a group of 4-bit weights with their padding. */
export const wideI4 = (run: number) => Math.ceil(run / 32) * 32;

/** Packed i8[o, ⌈i/2⌉] of 4-bit weights in groups of columns, in the tiles of assembly/tiles-i4.ts. */
export const tilesI4 =
  (format: TileFormat, groups: number, columns: number) =>
  ([rows, width]: readonly number[]): Packing => {
    const run = columns / groups;
    const size = wideI4(run) * 8;
    const bytes = Math.ceil(rows / 16) * groups * size;
    return {
      key: `tiles-i4-${groups}`,
      dtype: 'i8',
      bytes,
      write(memory, at, data) {
        const to = new Uint8Array(memory, at, bytes);
        // Weights of zero: 8, but 0 in the upper half of an odd byte where that has a sign.
        for (let i = 0; i < bytes; i++) to[i] = format.bias && i & 1 ? 0x08 : 0x88;
        for (let row = 0; row < rows; row++)
          for (let group = 0; group < groups; group++) {
            const begin = ((row >> 4) * groups + group) * size + (row & 15) * 4;
            for (let k = 0; k < run; k++) {
              const w = nibble(data, row * width, group * run + k);
              to[begin + (k >> 3) * 64 + (k & 3)] ^= (w & 15) << (k & 4);
            }
          }
      },
    };
  };

/** The scales f32[p, g] of `outputs` rows as [o/16][g][16 rows], as they are met with the tiles; one for all is repeated. */
export const scales =
  (outputs: number) =>
  ([p, groups]: readonly number[]): Packing => {
    const size = Math.ceil(outputs / 16) * 16 * groups;
    return {
      key: `scales-${outputs}`,
      dtype: 'f32',
      bytes: size * 4,
      write(memory, at, data) {
        const to = f32(memory, at, size);
        for (let row = 0; row < outputs; row++)
          for (let group = 0; group < groups; group++)
            to[((row >> 4) * groups + group) * 16 + (row & 15)] = data[(p === 1 ? 0 : row) * groups + group];
      },
    };
  };

/** The taps f32[d, k] of a convolution as [k][d]. */
export const taps = ([d, k]: readonly number[]): Packing => ({
  key: 'taps',
  dtype: 'f32',
  bytes: k * padded(d) * 4,
  write(memory, at, data) {
    const to = f32(memory, at, k * padded(d));
    for (let c = 0; c < d; c++) for (let j = 0; j < k; j++) to[j * padded(d) + c] = data[c * k + j];
  },
});

const LOG2E = f(Math.LOG2E);

/**
 * A f32[d, n] of the scan times log2 e (exp(dt·A) is computed as exp2), as [d/4][1 + n][4 channels]: before the n values
 * of each channel the largest |value|, NaN if one is.
 */
export const decays = ([d, n]: readonly number[]): Packing => ({
  key: 'decays',
  dtype: 'f32',
  bytes: padded(d) * (1 + n) * 4,
  write(memory, at, data) {
    const to = f32(memory, at, padded(d) * (1 + n));
    for (let c = 0; c < d; c++) {
      const base = (c >> 2) * (1 + n) * 4 + (c & 3);
      for (let s = 0; s < n; s++) {
        const a = f(data[c * n + s] * LOG2E);
        to[base + (1 + s) * 4] = a;
        to[base] = Math.max(to[base], Math.abs(a));
      }
    }
  },
});

/** A function of all 256 values that an int8 of one scale can be, from −128 on: f32[256]. */
const table =
  (key: string, of: (x: number) => number) =>
  (_: readonly number[]): Packing => ({
    key,
    dtype: 'f32',
    bytes: 1024,
    write(memory, at, [scale]) {
      const to = f32(memory, at, 256);
      for (let q = -128; q < 128; q++) to[q + 128] = of(f(scale * q));
    },
  });
export const softplusTable = table('softplus-table', softplus);
export const siluTable = table('silu-table', silu);

/** The sign bits of M_K, or of its transpose. */
export const signs = (base: Base, transpose: boolean): Packing => ({
  key: `signs-${base.length}-${transpose}`,
  dtype: 'i32',
  bytes: base.length * base.length * 4,
  write(memory, at) {
    const to = new Int32Array(memory, at, base.length * base.length);
    for (const [i, row] of base.entries())
      for (const [j, sign] of row.entries())
        if (sign < 0) to[transpose ? j * base.length + i : i * base.length + j] = 1 << 31;
  },
});
