/**
 * How a state lies in linear memory. One rule for all: [r, …] is kept as [r/4][…][4 rows], since the kernels of states take four
 * rows at once; its values as f32, binary16 or int8 in steps of its row. Rows are padded to a multiple of four.
 */
import { half, halfBits, halfOf } from '../../ops/half.ts';
import { type StateType, shapeAt, stepsOf } from '../../state.ts';
import { type Data, sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { STATE_F16, STATE_F32, STATE_I8 } from './instruction-formats.ts';
import { padded } from './memory.ts';

const f = Math.fround;

export interface StateLayout {
  /** The number of its dtype in instructions. */
  readonly type: number;
  readonly bytes: number;
  write(memory: ArrayBufferLike, at: number, state: Tensor): void;
  read(memory: ArrayBufferLike, at: number): Tensor<'f32'>;
}

/** A dtype: what is stored for a value of a row whose step is `scale`, and its way back. */
interface Stored {
  readonly type: number;
  readonly array: new (memory: ArrayBufferLike, at: number, size: number) => Data | Uint16Array;
  readonly bytes: number;
  store(value: number, scale: number): number;
  load(stored: number, scale: number): number;
}
const STORED: Readonly<Record<StateType['dtype'], Stored>> = {
  f32: { type: STATE_F32, array: Float32Array, bytes: 4, store: x => x, load: x => x },
  f16: { type: STATE_F16, array: Uint16Array, bytes: 2, store: x => halfBits(half(x)), load: halfOf },
  i8: { type: STATE_I8, array: Int8Array, bytes: 1, store: stepsOf, load: (q, step) => f(step * q) },
};

/** `scale`: of i8, the steps of the rows, read when they are needed. */
export function stateLayout(type: StateType, scale: () => ArrayLike<number> = () => NO_STEPS): StateLayout {
  const stored = STORED[type.dtype];
  const shape = shapeAt(type, 0);
  const [rows, ...rest] = shape;
  const columns = sizeOf(rest);
  const size = padded(rows) * columns;
  const placeOf = (row: number, column: number) => ((row >> 2) * columns + column) * 4 + (row & 3);
  return {
    type: stored.type,
    bytes: size * stored.bytes,
    write(memory, at, { data }) {
      const to = new stored.array(memory, at, size);
      const steps = scale();
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) to[placeOf(r, c)] = stored.store(data[r * columns + c], steps[r]);
    },
    read(memory, at) {
      const from = new stored.array(memory, at, size);
      const steps = scale();
      const values = new Float32Array(rows * columns);
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++)
          values[r * columns + c] = stored.load(from[placeOf(r, c)], steps[r]);
      return tensor(values, shape);
    },
  };
}
const NO_STEPS: readonly number[] = [];
