export interface Matrix {
  /** The value in a row and a column is values[row · rowStride + column · columnStride]; without strides, row by row. */
  readonly values: ArrayLike<number>;
  readonly rows: number;
  readonly columns: number;
  readonly rowStride?: number;
  readonly columnStride?: number;
}

/** A matrix row by row. */
export interface Pooled extends Matrix {
  readonly values: Float32Array;
}

/** In at most so many columns, row by row. Of columns that share a place the value furthest from 0 is kept: an outlier must not get lost. */
export function pooled(
  { values, rows, columns, rowStride = columns, columnStride = 1 }: Matrix,
  most: number,
): Pooled {
  const width = Math.min(columns, most);
  const made = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const at = row * width + Math.floor((column * width) / columns);
      const value = values[row * rowStride + column * columnStride];
      if (Math.abs(value) > Math.abs(made[at])) made[at] = value;
    }
  return { values: made, rows, columns: width };
}
