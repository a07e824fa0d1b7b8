/**
 * How constants lie in linear memory: in the order in which their kernel reads them, with padding that changes no sum.
 */
import type { Base } from '../../ops/hadamard.ts';
import type { DType, Tensor } from '../../tensor.ts';
import { padded } from './memory.ts';

/** A way to lay out a constant of a known shape. Equal keys of one constant are one copy. */
export interface Packing {
  readonly key: string;
  /** Of the constant as it is read. */
  readonly dtype: DType;
  readonly bytes: number;
  /** Writes it at the byte `at` of a memory that holds zeros there. */
  write(memory: ArrayBuffer, at: number, data: Tensor['data']): void;
}

const f32 = (memory: ArrayBuffer, at: number, size: number) => new Float32Array(memory, at, size);
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

/** i8[o, i] in groups of columns as [o/4][groups][run/8][4 rows][8 columns]. */
export const tilesI8 =
  (groups = 1) =>
  ([rows, columns]: readonly number[]): Packing => {
    const run = columns / groups;
    const wide = Math.ceil(run / 8) * 8;
    const size = padded(rows) * groups * wide;
    return {
      key: `tiles-i8-${groups}`,
      dtype: 'i8',
      bytes: size,
      write(memory, at, data) {
        const to = new Int8Array(memory, at, size);
        for (let row = 0, from = 0; row < rows; row++)
          for (let group = 0; group < groups; group++) {
            const base = ((row >> 2) * groups + group) * 4 * wide + (row & 3) * 8;
            for (let k = 0; k < run; k++) to[base + (k >> 3) * 32 + (k & 7)] = data[from++];
          }
      },
    };
  };

/** The scales f32[p, g] of `outputs` rows as [g][outputs]; one for all is repeated. */
export const scales =
  (outputs: number) =>
  ([p, groups]: readonly number[]): Packing => ({
    key: `scales-${outputs}`,
    dtype: 'f32',
    bytes: groups * padded(outputs) * 4,
    write(memory, at, data) {
      const to = f32(memory, at, groups * padded(outputs));
      for (let group = 0; group < groups; group++)
        for (let row = 0; row < outputs; row++)
          to[group * padded(outputs) + row] = data[(p === 1 ? 0 : row) * groups + group];
    },
  });

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

/** A f32[d, n] of the scan as [d][n], times log2 e: exp(dt·A) is computed as exp2. */
export const decays = ([d, n]: readonly number[]): Packing => ({
  key: 'decays',
  dtype: 'f32',
  bytes: padded(d) * padded(n) * 4,
  write(memory, at, data) {
    const to = f32(memory, at, padded(d) * padded(n));
    for (let c = 0; c < d; c++)
      for (let s = 0; s < n; s++) to[c * padded(n) + s] = f(data[c * n + s] * LOG2E);
  },
});

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
