/**
 * States: what an op carries from token to token, and how it is kept in between.
 *
 * An op declares its states as it declares its inputs: `states: { h: 'f32[d, n]' }`. A graph gives each state a `StateType`,
 * and from the type alone follow its bytes, its start, what a file holds of it, and where a backend puts it. An op computes
 * in f32 and does not ask how its state is kept.
 */
import { half } from './ops/half.ts';
import { quantizeValue } from './ops/numerics.ts';
import { sizeOf } from './tensor.ts';

const f = Math.fround;

/** An axis: a size, or `'t'`, the tokens fed so far. That is the first axis of a state that grows, such as the keys of attention. */
export type StateExtent = number | 't';

/** How the values of a state are kept between two tokens. */
export interface StateType {
  /**
   * f16 is IEEE binary16; i8 is an integer times the step of its row, which is known before; of i8-dynamic, the step is measured
   * whenever the row is written. A row is a run of the last axis.
   */
  readonly dtype: 'f32' | 'f16' | 'i8' | 'i8-dynamic';
  readonly shape: readonly StateExtent[];
  /** Of i8: the constant f32[rows] that holds the step of each row. */
  readonly scale?: string;
}

/** The same for one call: without the shape, and with the steps themselves in place of their name. */
export interface Kept {
  readonly dtype: StateType['dtype'];
  readonly scale?: Float32Array;
}
export const AS_F32: Kept = { dtype: 'f32' };

/** How many rows a state of this shape has. */
export const stateRows = (shape: readonly number[]): number => sizeOf(shape.slice(0, -1));

/** What a state that grows can be kept as: of rows that are still to come no step is known before. */
export const OF_GROWING = 'f32, f16 or i8-dynamic for a state that grows';

/**
 * @throws TypeError for a dtype in which nothing is kept, or a state that grows is not; RangeError where i8 does not have a step for
 * each row.
 */
export function checkKept(
  where: string,
  { dtype, scale }: Kept,
  shape: readonly number[],
  grows: boolean,
): void {
  if (!Object.hasOwn(BYTES, dtype))
    throw new TypeError(`${where} can be kept as ${Object.keys(BYTES).join(', ')}; got ${dtype}`);
  if (dtype === 'i8' && grows) throw new TypeError(`${where} expected ${OF_GROWING}; got i8`);
  const steps = scale?.length ?? 0;
  const rows = stateRows(shape);
  if (dtype === 'i8' && steps !== rows)
    throw new RangeError(`${where} as i8 needs a scale of ${rows} values, one for each row; got ${steps}`);
}

/** A state in the hands of a kernel. */
export interface StateView extends Kept {
  /** A state that grows has room for the tokens of this call already: its first axis is t + l. */
  readonly shape: readonly number[];
  /** The values as they read back: rounded to what is kept. A kernel reads them and does not write them. */
  readonly data: Float32Array;
  /** Keeps a run of values, from the flat index `at` on, each rounded as the type says. Of i8-dynamic it is one row or more. */
  put(at: number, values: ArrayLike<number>): void;
}

/** The int8 that is kept of a value; NaN, which int8 does not have, and −0 become 0. */
export const stepsOf = (value: number, scale: number): number => quantizeValue(value, scale) || 0;

/**
 * The step of a row that is measured when it is written: absmax / 127, at least 1e-5 / 127, rounded up to 16 binary digits. So the
 * product of a step and its integer is exact, and a row that is read back and written again has the same step.
 */
export function measuredStep(row: ArrayLike<number>): number {
  let most = f(1e-5);
  for (let i = 0; i < row.length; i++) if (Math.abs(row[i]) > most) most = Math.abs(row[i]); // passes NaN over
  const bits = new Int32Array(Float32Array.of(Math.min(most, GREATEST) / 127).buffer);
  bits[0] = (bits[0] + 0xff) & ~0xff;
  return new Float32Array(bits.buffer)[0];
}
/** What is larger stays here: 127 steps must not overflow. */
const GREATEST = f(3.4e38);

/** What is left of a run of values that are kept as `kept`, from the flat index `at` on, in rows of so many values. */
function rounded({ dtype, scale }: Kept, row: number, values: ArrayLike<number>, at: number): Float32Array {
  const kept = Float32Array.from(values);
  if (dtype === 'f32') return kept;
  if (dtype === 'f16') return kept.map(half);
  if (dtype === 'i8')
    return kept.map((value, i) => {
      const step = scale![Math.floor((at + i) / row)];
      return f(step * stepsOf(value, step));
    });
  for (let begin = 0; begin < kept.length; begin += row) {
    const values = kept.subarray(begin, begin + row);
    const step = measuredStep(values);
    values.set(values.map(value => f(step * stepsOf(value, step))));
  }
  return kept;
}

/** A view of `data`, which holds values as they read back; zeros by default. */
export function stateView(
  kept: Kept,
  shape: readonly number[],
  data: Float32Array = new Float32Array(sizeOf(shape)),
): StateView {
  return {
    ...kept,
    shape,
    data,
    put(at, values) {
      if (kept.dtype === 'f32') data.set(values, at);
      else data.set(rounded(kept, shape.at(-1)!, values, at), at);
    },
  };
}

export const isGrowing = ({ shape }: StateType): boolean => shape.includes('t');

/** The shape of a state after `tokens` tokens. */
export const shapeAt = ({ shape }: StateType, tokens: number): readonly number[] =>
  shape.map(extent => (extent === 't' ? tokens : extent));

const BYTES = { f32: 4, f16: 2, i8: 1, 'i8-dynamic': 1 } as const;

/** The bytes of a state after `tokens` tokens: its values, and the steps that are not known before. */
function bytesOf(type: StateType, tokens: number): number {
  const shape = shapeAt(type, tokens);
  const steps = type.dtype === 'i8-dynamic' ? 4 * sizeOf(shape.slice(0, -1)) : 0;
  return BYTES[type.dtype] * sizeOf(shape) + steps;
}

/** What all states of a program take after `tokens` tokens. */
export const statesBytes = (states: ReadonlyMap<string, StateType>, tokens: number): number =>
  [...states.values()].reduce((sum, type) => sum + bytesOf(type, tokens), 0);

/** A state that lives from call to call. */
export interface StateStore {
  /** The state with room for `more` tokens, if it is one that grows. Views of before are void. */
  view(more: number): StateView;
  /** The values after the tokens that were fed, copied. */
  values(): Float32Array;
  /** In place of what is there: the values after `tokens` tokens. */
  load(tokens: number, values: Float32Array): void;
  /** In place of what is there: what another store of the same state holds. */
  copy(from: StateStore): void;
  readonly tokens: number;
}

/** A state at the start of a text, in JavaScript's own memory. */
export function stateStore(type: StateType, kept: Kept): StateStore {
  let tokens = 0;
  let buffer = new Float32Array(sizeOf(shapeAt(type, 0)));
  const reserve = (size: number): void => {
    if (size <= buffer.length) return;
    const larger = new Float32Array(Math.max(size, 2 * buffer.length));
    larger.set(buffer);
    buffer = larger;
  };
  const store: StateStore = {
    get tokens() {
      return tokens;
    },
    view(more) {
      tokens += more;
      const shape = shapeAt(type, tokens);
      reserve(sizeOf(shape));
      return stateView(kept, shape, buffer.subarray(0, sizeOf(shape)));
    },
    values: () => buffer.slice(0, sizeOf(shapeAt(type, tokens))),
    load(after, values) {
      tokens = after;
      reserve(values.length);
      stateView(kept, shapeAt(type, tokens), buffer).put(0, values);
    },
    copy: from => store.load(from.tokens, from.values()),
  };
  return store;
}
