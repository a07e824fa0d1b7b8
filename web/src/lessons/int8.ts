/** int8 with one scale for a whole tensor, by the real ops. */
import { ops, type Tensor } from 'quamba';

type F32 = Tensor<'f32'>;

/** The scale that makes all of a tensor fit. */
export const scaleOf = (x: F32): F32 => ops.absmaxScale({ x: { ...x, shape: [1, x.data.length] } }).scale;

/** What is left of x after it was int8. */
export const throughInt8 = (x: F32, scale: F32 = scaleOf(x)): F32 =>
  ops.dequantize({ q: ops.quantize({ x, scale }).q, scale }).x;

/** x Wᵀ in integers: both are rounded with one scale each. */
export function linearInt8(x: F32, w: F32, xscale: F32 = scaleOf(x)): F32 {
  const wscale = scaleOf(w);
  const q = ops.quantize({ x: w, scale: wscale }).q;
  const inputs = { x: ops.quantize({ x, scale: xscale }).q, xscale, w: q };
  return ops.linearI8({ ...inputs, wscale: { ...wscale, shape: [1, 1] } }).y;
}
