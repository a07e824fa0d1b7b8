/** The turns of a feed, cut into passes of rows; and how rows come into linear memory and out of it. */
import { BYTES, type Data, type Tensor } from '../../tensor.ts';
import { arrayAt, padded } from './memory.ts';

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

/** `count` rows of a tensor, from its row `from` on, and rows `row` and on of the values at the address `at`. */
export function rowsOf(
  memory: ArrayBufferLike,
  at: number,
  row: number,
  { dtype, shape, data }: Tensor,
  from: number,
  count: number,
) {
  const n = shape[1] ?? 1;
  const stride = shape.length === 1 ? 1 : padded(n);
  const values = arrayAt(dtype, memory, at + row * stride * BYTES[dtype], count * stride);
  const rows = data.subarray(from * n);
  return {
    /** Brings the rows of the tensor into linear memory. */
    write: () => copyRows(rows, n, values, stride, n, count),
    /** Brings them out of linear memory into the tensor. */
    read: () => copyRows(values, stride, rows, n, n, count),
  };
}

function copyRows(from: Data, fromStride: number, to: Data, toStride: number, n: number, rows: number): void {
  if (fromStride === n && toStride === n) to.set(from.subarray(0, rows * n));
  else
    for (let row = 0; row < rows; row++)
      to.set(from.subarray(row * fromStride, row * fromStride + n), row * toStride);
}
