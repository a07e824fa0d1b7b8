import type { Tensor } from 'quamba';

export interface Cut {
  /** The first row, how many, and how many further the next one is. */
  readonly first?: number;
  readonly rows?: number;
  readonly step?: number;
  /** The columns, from `begin` up to `end`. */
  readonly begin?: number;
  readonly end?: number;
}

/** A part of a matrix, copied. */
export function cut(
  { shape: [l, n], data }: Tensor<'f32'>,
  { first = 0, step = 1, rows = Math.floor((l - first) / step), begin = 0, end = n }: Cut = {},
): Tensor<'f32'> {
  const width = end - begin;
  const made = new Float32Array(rows * width);
  for (let t = 0; t < rows; t++) {
    const at = (first + t * step) * n;
    made.set(data.subarray(at + begin, at + end), t * width);
  }
  return { dtype: 'f32', shape: [rows, width], data: made };
}
