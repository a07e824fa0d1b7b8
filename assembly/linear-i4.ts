// The reference's bits: those of linear-i8, whose sums these are: int32 exactly, then f32 for each group in ascending order.
//
// As linear-i8.ts, with weights of four bits. One row of x is multiplied by them as they are. For more rows, each group of a tile
// is made int8 once and used for all of them.
import { LinearI4 } from '../src/backends/wasm/instruction-formats';
import { blockGroup, halfOf, multiply, quantizeTile, store16, tileOf } from './linear-i8';
import { rowBytes } from './numerics';
import { endOf, firstOf, own } from './share';
import { packRow4, rowGroup4, tile4, tileBytes4, unpackTile } from './tiles-i4';
import { addedToX } from './tiles-i8';

@inline function packedRow(): usize { return own() + 128; }

export function linearI4(at: usize, rows: i32): void {
  const op = changetype<LinearI4>(at), xScale = op.xScale, xScaleStride = op.xScaleStride, groups = op.groups;
  const o = op.o, isQuantized = !op.y;
  const tiles = (o + 15) >> 4, from = firstOf(tiles), to = endOf(tiles), run = op.i / groups;
  const half = halfOf(rows), values = tileOf(rows);
  const widened = values + (<usize>rows << 6), yStride = isQuantized ? <usize>64 : rowBytes(o);
  let w = op.w + tileBytes4(run) * groups * from;
  if (rows == 1 && from < to)
    for (let g = 0; g < groups; g++) packRow4(op.x + run * g, packedRow() + rowGroup4(run) * g, run);
  for (let tile = from; tile < to; tile++) {
    const n = <usize>tile << 6, columns = min(16, o - (tile << 4)), bytes = rowBytes(columns);
    const y = isQuantized ? values : op.y + n, scales = op.wScale + (<usize>(tile * groups) << 6), bias = op.b ? op.b + n : 0;
    if (rows == 1) tile4(w, packedRow(), run, groups, xScale, scales, bias, y, bytes);
    else
      for (let g = 0; g < groups; g++) {
        unpackTile(w + tileBytes4(run) * g, widened, run, addedToX());
        multiply(widened, op.packed + blockGroup(run) * g, blockGroup(run) * groups, rows, run);
        for (let t = 0; t < rows; t++)
          store16(
            own() + (<usize>t << 5), half - 32, xScale + xScaleStride * t, scales + (<usize>g << 6),
            g + 1 == groups ? bias : 0, y + yStride * t, bytes, g > 0,
          );
      }
    w += tileBytes4(run) * groups;
    if (isQuantized) for (let t = 0; t < rows; t++) quantizeTile(at, values + yStride * t, tile << 4, columns, t, rows, o);
  }
}
