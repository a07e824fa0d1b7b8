/** Tensors to measure with, of any size in no time. */
import { zeros } from '../dist/tensor.js';

/** Values between −1 and 1, or small integers, or tokens below `most`: no op's speed depends on more. */
export function filled(dtype, shape, most = 1) {
  const t = zeros(dtype, shape);
  const { data } = t;
  const begin = Math.min(data.length, 4099);
  for (let i = 0, x = 1; i < begin; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    data[i] = dtype === 'f32' ? x / 2 ** 31 : dtype === 'i8' ? x >> 25 : (x >>> 8) % most;
  }
  for (let size = begin; size < data.length; size *= 2) data.copyWithin(size, 0, size);
  return t;
}
