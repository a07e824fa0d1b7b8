/**
 * How a state lies in linear memory, as the kernels of states take four values at once: [d, n] as [d/4][n][4 rows], and [h, n, p] as
 * [h][p/4][n/4][4 of p][4 of n]. d and p are padded to a multiple of four. Of a state that grows, [t, g, p], each page is
 * [g][PAGE_TOKENS][p]. Values are f32, binary16, or int8 in steps of their row.
 */
import { half, halfBits, halfOf } from '../../ops/half.ts';
import { isGrowing, measuredStep, type StateType, shapeAt, stateRows, stepsOf } from '../../state.ts';
import { type Data, sizeOf } from '../../tensor.ts';
import { STATE_F16, STATE_F32, STATE_I8, STATE_I8_DYNAMIC } from './instruction-formats.ts';
import { padded } from './memory.ts';
import { PAGE_TOKENS } from './sync.ts';

const f = Math.fround;

export interface StateLayout {
  /** The number of its dtype in instructions. */
  readonly type: number;
  /** Whether it grows. Then all the rest is of one page. */
  readonly isPaged: boolean;
  /** How many values it has. */
  readonly size: number;
  readonly bytes: number;
  /** Writes the values to the address `at`; of a page, as many as are given. */
  write(memory: ArrayBufferLike, at: number, values: Float32Array): void;
  /** Reads them into `values`; of a page, as many as there is room for. */
  read(memory: ArrayBufferLike, at: number, values: Float32Array): void;
}

/** A dtype: what is stored for a value of a row whose step is `scale`, and its way back. */
interface Stored {
  /** Whether the steps of the rows are part of the state. */
  readonly isDynamic?: boolean;
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
  'i8-dynamic': {
    type: STATE_I8_DYNAMIC,
    array: Int8Array,
    bytes: 1,
    store: stepsOf,
    load: (q, step) => f(step * q),
    isDynamic: true,
  },
};

/** `scale`: of i8, the steps of the rows, read when they are needed. */
export function stateLayout(type: StateType, scale: () => ArrayLike<number> = () => NO_STEPS): StateLayout {
  const stored = STORED[type.dtype];
  const isPaged = isGrowing(type);
  const shape = shapeAt(type, PAGE_TOKENS);
  const rows = stateRows(shape);
  const columns = shape.at(-1)!;
  const { size, placeOf, stepOf } = isPaged
    ? heads(shape)
    : shape.length === 3
      ? squares(shape)
      : fourRows(rows, columns);
  const ownSteps = (memory: ArrayBufferLike, at: number) =>
    new Float32Array(memory, at + size * stored.bytes, rows);
  return {
    type: stored.type,
    isPaged,
    size: sizeOf(shape),
    bytes: size * stored.bytes + (stored.isDynamic ? padded(rows) * 4 : 0),
    write(memory, at, values) {
      const to = new stored.array(memory, at, size);
      const own = stored.isDynamic ? ownSteps(memory, at) : undefined;
      const steps = own ?? scale();
      for (let r = 0; r * columns < values.length; r++) {
        const row = values.subarray(r * columns, (r + 1) * columns);
        if (own) own[stepOf(r)] = measuredStep(row);
        for (let c = 0; c < columns; c++) to[placeOf(r, c)] = stored.store(row[c], steps[stepOf(r)]);
      }
    },
    read(memory, at, values) {
      const from = new stored.array(memory, at, size);
      const steps = stored.isDynamic ? ownSteps(memory, at) : scale();
      for (let r = 0; r * columns < values.length; r++)
        for (let c = 0; c < columns; c++)
          values[r * columns + c] = stored.load(from[placeOf(r, c)], steps[stepOf(r)]);
    },
  };
}
const sameRow = (row: number): number => row;

/** [rows, columns] as [rows/4][columns][4 rows]. */
const fourRows = (rows: number, columns: number) => ({
  size: padded(rows) * columns,
  placeOf: (row: number, column: number) => ((row >> 2) * columns + column) * 4 + (row & 3),
  stepOf: sameRow,
});

/** [t, g, p] as [g][t][p]: attention reads a head's tokens one after the other. A row is that of a token and a head. */
function heads([t, g, p]: readonly number[]) {
  const stepOf = (row: number): number => (row % g) * t + Math.floor(row / g);
  return { size: t * g * p, placeOf: (row: number, column: number) => stepOf(row) * p + column, stepOf };
}

/** [h, n, p] as [h][p/4][n/4][4 of p][4 of n]: a cache line is what a step of the kernel takes. A row is that of a head and a state. */
const squares = ([h, n, p]: readonly number[]) => ({
  size: h * n * padded(p),
  placeOf(row: number, column: number) {
    const [head, state] = [Math.floor(row / n), row % n];
    const square = ((head * padded(p)) / 4 + (column >> 2)) * (n / 4) + (state >> 2);
    return square * 16 + (column & 3) * 4 + (state & 3);
  },
  stepOf: sameRow,
});

const NO_STEPS: readonly number[] = [];
