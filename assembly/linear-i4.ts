// The reference's bits: those of linear-i8, whose sums these are: int32 exactly, then f32 for each group in ascending order.
//
// linear-i8.ts with weights of four bits: one row of x is multiplied by them as they are, for more the group of a tile is made
// int8 once and used for all of them.
import { rowBytes } from './numerics';
import { fourGroup, multiply, quantizeTile, store16, tileOf } from './linear-i8';
import { first, last, own } from './threads';
import { packRow4, rowGroup4, tile4, tileBytes4, unpackTile } from './tiles-i4';
import { addedToX } from './tiles-i8';

@inline function packedRow(): usize { return own() + 128; }

/** As linearI8. */
export function linearI4(
  rows: i32, x: usize, packed: usize, xscale: usize, each: i32, w: usize, wscale: usize, b: usize,
  i: i32, groups: i32, o: i32, y: usize,
): void {
  linear(0, rows, x, packed, xscale, each, w, wscale, b, y, i, groups, o, 0);
}

/** As linearI8Quantize. */
export function linearI4Quantize(
  at: usize, rows: i32, x: usize, packed: usize, xscale: usize, each: i32, w: usize, wscale: usize, b: usize,
  i: i32, groups: i32, o: i32, segments: usize,
): void {
  linear(at, rows, x, packed, xscale, each, w, wscale, b, 0, i, groups, o, segments);
}

function linear(
  at: usize, rows: i32, x: usize, packed: usize, xscale: usize, each: i32, w: usize, wscale: usize, b: usize, y: usize,
  i: i32, groups: i32, o: i32, segments: usize,
): void {
  const tiles = (o + 15) >> 4, from = first(tiles), to = last(tiles), run = i / groups, out = rowBytes(o);
  const fours = (rows + 3) >> 2, half = <usize>fours << 7, values = tileOf(fours, rows);
  const wide = values + (<usize>rows << 6), step: usize = segments ? 64 : out;
  w += tileBytes4(run) * groups * from;
  if (rows == 1 && from < to)
    for (let g = 0; g < groups; g++) packRow4(x + run * g, packedRow() + rowGroup4(run) * g, run);
  for (let tile = from; tile < to; tile++) {
    const n = <usize>tile << 6, columns = min(16, o - (tile << 4)), bytes = rowBytes(columns);
    const tileOfY = segments ? values : y + n;
    const scales = wscale + (<usize>(tile * groups) << 6), bias = b ? b + n : 0;
    if (rows == 1) tile4(w, packedRow(), run, groups, xscale, scales, bias, tileOfY, bytes);
    else
      for (let g = 0; g < groups; g++) {
        unpackTile(w + tileBytes4(run) * g, wide, run, addedToX());
        multiply(wide, packed + fourGroup(run) * g, fourGroup(run) * groups, fours, run);
        for (let t = 0; t < rows; t++)
          store16(
            own() + (<usize>t << 5), half - 32, xscale + each * t, scales + (<usize>g << 6), g + 1 == groups ? bias : 0,
            tileOfY + step * t, bytes, g > 0,
          );
      }
    w += tileBytes4(run) * groups;
    if (segments) for (let t = 0; t < rows; t++) quantizeTile(at, segments, values + step * t, tile << 4, columns, t, rows, o);
  }
}
