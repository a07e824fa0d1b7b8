/** 4-bit integers, two in a byte: the even column in the low half, two's complement (the order of ONNX's INT4). */
import type { Tensor } from '../tensor.ts';

/** Bytes of a row of so many columns. */
export const packedColumns = (columns: number): number => Math.ceil(columns / 2);

/** Integers in −8 … 7, i8[rows, columns] → i8[rows, ⌈columns/2⌉]. What is left of a last byte is 0. */
export function packed({ shape: [rows, columns], data }: Tensor<'i8'>): Tensor<'i8'> {
  const width = packedColumns(columns);
  const to = new Int8Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < columns; k++)
      to[row * width + (k >> 1)] |= (data[row * columns + k] & 15) << (4 * (k & 1));
  return { dtype: 'i8', shape: [rows, width], data: to };
}

/** Column k of a row that begins at byte `at`. */
export const nibble = (data: ArrayLike<number>, at: number, k: number): number =>
  k & 1 ? data[at + (k >> 1)] >> 4 : (data[at + (k >> 1)] << 28) >> 28;

/** i8[rows, ⌈columns/2⌉] → i8[rows, columns]. */
export function unpacked({ shape: [rows, width], data }: Tensor<'i8'>, columns: number): Tensor<'i8'> {
  const to = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < columns; k++) to[row * columns + k] = nibble(data, row * width, k);
  return { dtype: 'i8', shape: [rows, columns], data: to };
}
