/** What a range costs: the error of what lies beyond it, and of the rounding of the rest. By the real ops; runs in a worker. */

import { quantileOfAbs } from 'lib/quant/ranges.ts';
import { ops } from 'quamba';

export interface ClipErrors {
  readonly p: number;
  readonly range: number;
  /** Values beyond the range. */
  readonly clipped: number;
  /** Relative L2 errors: of all, and the parts of it (as squares they add up). */
  readonly total: number;
  readonly clipping: number;
  readonly rounding: number;
}

export function clipErrors(u: Float32Array, p: number): ClipErrors {
  const range = quantileOfAbs(u, p);
  const scale = Float32Array.of(range / 127);
  const back = ops.dequantize({ q: ops.quantize({ x: u, scale }).q, scale }).x.data;
  let [clipped, clipping, rounding, size] = [0, 0, 0, 0];
  for (let i = 0; i < u.length; i++) {
    const isBeyond = Math.abs(u[i]) > range;
    const square = (back[i] - u[i]) ** 2;
    clipped += Number(isBeyond);
    if (isBeyond) clipping += square;
    else rounding += square;
    size += u[i] ** 2;
  }
  const relative = (square: number) => Math.sqrt(square / size);
  return {
    ...{ p, range, clipped },
    total: relative(clipping + rounding),
    clipping: relative(clipping),
    rounding: relative(rounding),
  };
}
