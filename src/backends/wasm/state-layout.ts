/**
 * How a state lies in linear memory. One rule for all: [r, c] is kept as [r/4][c][4 rows], since the kernels of states take four
 * rows at once; its values as f32, binary16 or int8 in steps of its row. Rows are padded to a multiple of four.
 */
import { half, halfBits, halfOf } from '../../ops/half.ts';
import { stepsOf } from '../../ops/selective-scan-i8state.ts';
import { type Data, type Tensor, zeros } from '../../tensor.ts';
import { STATE_F16, STATE_F32, STATE_I8 } from './instruction-formats.ts';
import { padded } from './memory.ts';

export interface StateLayout {
  /** The number of its dtype in instructions. */
  readonly type: number;
  readonly bytes: number;
  write(memory: ArrayBufferLike, at: number, state: Tensor): void;
  read(memory: ArrayBufferLike, at: number): Tensor<'f32'>;
}

/** A dtype: what is stored for a value of a row whose step is `scale`, and its way back. */
interface Kept {
  readonly type: number;
  readonly array: new (memory: ArrayBufferLike, at: number, size: number) => Data | Uint16Array;
  store(value: number, scale: number): number;
  load(stored: number, scale: number): number;
}
const KEPT: Readonly<Record<'f32' | 'f16' | 'i8', Kept>> = {
  f32: { type: STATE_F32, array: Float32Array, store: x => x, load: x => x },
  f16: { type: STATE_F16, array: Uint16Array, store: x => halfBits(half(x)), load: halfOf },
  i8: { type: STATE_I8, array: Int8Array, store: stepsOf, load: (q, scale) => Math.fround(scale * q) },
};

/** `scale`: of i8, the steps of the rows, read when they are needed. */
export function stateLayout(
  dtype: keyof typeof KEPT,
  [rows, columns]: readonly number[],
  scale: () => ArrayLike<number> = () => [],
): StateLayout {
  const { type, array, store, load } = KEPT[dtype];
  const size = padded(rows) * columns;
  const placeOf = (row: number, column: number) => ((row >> 2) * columns + column) * 4 + (row & 3);
  return {
    type,
    bytes: size * (array as unknown as Float32ArrayConstructor).BYTES_PER_ELEMENT,
    write(memory, at, { data }) {
      const to = new array(memory, at, size);
      const scales = scale();
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) to[placeOf(r, c)] = store(data[r * columns + c], scales[r]);
    },
    read(memory, at) {
      const from = new array(memory, at, size);
      const scales = scale();
      const state = zeros('f32', [rows, columns]);
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) state.data[r * columns + c] = load(from[placeOf(r, c)], scales[r]);
      return state;
    },
  };
}
