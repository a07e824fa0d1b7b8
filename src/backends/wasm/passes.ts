/** The turns of a feed, cut into passes of rows; and how rows come into linear memory and out of it. */
import { BYTES, type Data, type Tensor } from '../../tensor.ts';
import { padded } from './memory.ts';

/** What a pass has of a turn: its rows `from` … `from + count − 1`, which are the rows from `row` on of the pass. */
export interface Span {
  readonly turn: number;
  readonly from: number;
  readonly count: number;
  readonly row: number;
  /** Whether the turn ends with them. */
  readonly isLast: boolean;
}

/** Turns of so many rows each, in passes of at most `most` rows. A turn that does not fit goes on in the next pass. */
export function passesOf(turns: readonly number[], most: number): readonly (readonly Span[])[] {
  const passes: Span[][] = [];
  let row = most;
  for (const [turn, rows] of turns.entries())
    for (let from = 0; from < rows; ) {
      if (row === most) {
        passes.push([]);
        row = 0;
      }
      const count = Math.min(rows - from, most - row);
      passes.at(-1)!.push({ turn, from, count, row, isLast: from + count === rows });
      from += count;
      row += count;
    }
  return passes;
}

/** Which row of its turn a row of a pass is. */
export function rowInTurn(pass: readonly Span[], at: number): number {
  const { from, row } = pass.findLast(span => span.row <= at)!;
  return from + at - row;
}

/** Writes `count` rows of a tensor, from its row `from` on, to rows `row` and on of the values at the address `at`. */
export function writeRows(
  memory: ArrayBufferLike,
  at: number,
  row: number,
  tensor: Tensor,
  from: number,
  count: number,
): void {
  const [n, stride] = strides(tensor);
  copyRows(tensor.data.subarray(from * n), n, view(memory, at, row, tensor, count), stride, n, count);
}

/** Reads `count` rows of a tensor, to its row `to` and on, from rows `row` and on of the values at the address `at`. */
export function readRows(
  memory: ArrayBufferLike,
  at: number,
  row: number,
  tensor: Tensor,
  to: number,
  count: number,
): void {
  const [n, stride] = strides(tensor);
  copyRows(view(memory, at, row, tensor, count), stride, tensor.data.subarray(to * n), n, n, count);
}

/** Values from one row to the next, of a tensor and in linear memory. */
const strides = ({ shape }: Tensor): readonly [number, number] =>
  shape.length === 1 ? [1, 1] : [shape[1], padded(shape[1])];

function view(memory: ArrayBufferLike, at: number, row: number, tensor: Tensor, count: number): Data {
  const [, stride] = strides(tensor);
  const begin = at + row * stride * BYTES[tensor.dtype];
  return new (tensor.data.constructor as Float32ArrayConstructor)(memory, begin, count * stride);
}

function copyRows(from: Data, fromStride: number, to: Data, toStride: number, n: number, rows: number): void {
  if (fromStride === n && toStride === n) to.set(from.subarray(0, rows * n));
  else
    for (let row = 0; row < rows; row++)
      to.set(from.subarray(row * fromStride, row * fromStride + n), row * toStride);
}
