/**
 * Tensors: a dtype, a shape and row-major data. Nothing else: no views, no strides, no methods.
 *
 * A signature string such as `'f32[l, n]'` names a dtype and one letter (or number, or `k-1`) per axis. It is the type
 * (`TensorOf<'f32[l, n]'>`), the shape check and the text of the error, all at once.
 */

export type DType = 'f32' | 'i8' | 'i32';

export interface DataOf {
  f32: Float32Array;
  i8: Int8Array;
  i32: Int32Array;
}
export type Data = DataOf[DType];

export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DataOf[D];
}

/** What a tensor is, without its values. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** `'f32[l, n]'`; a trailing `?` marks an input that may be left out. */
export type Signature = `${DType}[${string}]` | `${DType}[${string}]?`;

/** `'f32[l, n]'` → `Tensor<'f32'>`. */
export type TensorOf<S> = S extends `${infer D extends DType}[${string}` ? Tensor<D> : never;

export const ARRAYS = { f32: Float32Array, i8: Int8Array, i32: Int32Array } as const;

export const BYTES: Readonly<Record<DType, number>> = { f32: 4, i8: 1, i32: 4 };

export const sizeOf = (shape: readonly number[]): number => shape.reduce((size, extent) => size * extent, 1);

/** `f32[3, 16]`: how a dtype and a shape are written everywhere, in errors, tables and docs. */
export const describe = ({ dtype, shape }: { dtype: string; shape: readonly (number | string)[] }): string =>
  `${dtype}[${shape.join(', ')}]`;

/** A tensor of zeros. */
export function zeros<D extends DType>(dtype: D, shape: readonly number[]): Tensor<D> {
  return { dtype, shape, data: new ARRAYS[dtype](sizeOf(shape)) as DataOf[D] };
}

/** A tensor over existing data (not copied). Without a shape it has one axis. */
export function tensor<A extends Data>(
  data: A,
  shape: readonly number[] = [data.length],
): Tensor<DTypeOf<A>> {
  const dtype = dtypeOf(data);
  if (sizeOf(shape) !== data.length)
    throw new RangeError(
      `tensor: ${describe({ dtype, shape })} needs ${sizeOf(shape)} values; got ${data.length}`,
    );
  return { dtype, shape, data } as unknown as Tensor<DTypeOf<A>>;
}

/** The last row of some, copied. */
export const lastRow = ({ shape: [l, v], data }: Tensor<'f32'>): Tensor<'f32'> =>
  tensor(data.slice((l - 1) * v), [1, v]);

/** All rows in one tensor, in order. */
export function joined(rows: readonly Tensor<'f32'>[]): Tensor<'f32'> {
  const data = new Float32Array(rows.reduce((size, row) => size + row.data.length, 0));
  let at = 0;
  for (const row of rows) {
    data.set(row.data, at);
    at += row.data.length;
  }
  const length = rows.reduce((sum, { shape }) => sum + shape[0], 0);
  return tensor(data, [length, ...rows[0].shape.slice(1)]);
}

export type DTypeOf<A> = { [D in DType]: A extends DataOf[D] ? D : never }[DType];

export function dtypeOf(data: Data): DType {
  for (const dtype of Object.keys(ARRAYS) as DType[]) if (data instanceof ARRAYS[dtype]) return dtype;
  throw new TypeError(
    `tensor: expected a Float32Array, Int8Array or Int32Array; got ${Object.prototype.toString.call(data).slice(8, -1)}`,
  );
}

/** Whether a value is a typed array, or another thing of the language, of this name, be it of another realm. */
export const isArray = (name: string, value: unknown): boolean =>
  Object.prototype.toString.call(value) === `[object ${name}]`;
