// The reference's bits: one f32 product for each element. The table lies in tiles-i8.ts's tiles, as a tied head reads it.
import { EmbeddingI8 } from '../src/backends/wasm/instruction-formats';
import { integers, mul, rowBytes } from './numerics';
import { endOf, firstOf } from './share';
import { HEAD, tileBytes, unbiased } from './tiles-i8';

export function embeddingI8(at: usize, rows: i32): void {
  const op = changetype<EmbeddingI8>(at), tokens = op.tokens, scale = op.scale, row = rowBytes(op.m), tile = tileBytes(op.m);
  let y = op.y + row * firstOf(rows);
  for (let t = firstOf(rows), endRow = endOf(rows); t < endRow; t++) {
    const token = load<u32>(tokens + (<usize>t << 2)), s = v128.load32_splat(scale + (token << 2));
    let from = op.w + tile * (token >> 4) + HEAD + ((token & 15) << 2);
    for (const end = y + row; y < end; y += 16, from += 64)
      v128.store(y, mul(s, integers(unbiased(v128.load32_zero(from)))));
  }
}
