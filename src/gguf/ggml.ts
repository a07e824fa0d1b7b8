/**
 * The number formats in which GGUF stores a weight, as llama.cpp reads them. What is in memory is f32.
 *
 *   F32    as it is
 *   F16    the nearest binary16, ties to even
 *   Q8_0   32 values in a row share one scale: f16 d = max |x| / 127, then 32 × i8 q = round(x / d); x ≈ q · d
 *
 * Numerics  Q8_0 divides by the f32 d, not by the f16 that is stored, multiplies by the f32 1 / d, and rounds halves away
 *           from zero: llama.cpp's bits
 * Source    llama.cpp, ggml-quants.c `quantize_row_q8_0_ref`
 */

import { bytesOf } from '../formats/bytes.ts';
import { half, halfBits } from '../ops/half.ts';

export type GgmlType = keyof typeof GGML;

/** `id` is the file's number for it; `block` values take `bytes` bytes. The rows of a tensor must be whole blocks. */
export const GGML = {
  F32: { id: 0, block: 1, bytes: 4 },
  F16: { id: 1, block: 1, bytes: 2 },
  Q8_0: { id: 8, block: 32, bytes: 34 },
} as const;

/** Bytes of so many values, which are whole blocks. */
export const ggmlBytes = (type: GgmlType, values: number): number =>
  (values / GGML[type].block) * GGML[type].bytes;

/** Values encoded at a time: the memory that writing needs besides the tensor. */
const CHUNK = 1 << 16;

/**
 * The bytes of a tensor, piece by piece.
 *
 * @param where begins the sentence of an error: it names the tensor.
 * @throws RangeError for a value, or in Q8_0 a scale, that f16 does not reach.
 */
export function* encode(type: GgmlType, data: Float32Array, where: string): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += CHUNK) {
    const values = data.subarray(at, at + CHUNK);
    const tooLarge = (i: number) =>
      new RangeError(`${where}: ${type} does not reach the value ${values[i]} (index ${at + i})`);
    if (type === 'F16') yield encodeF16(values, tooLarge);
    else if (type === 'Q8_0') yield encodeQ8(values, tooLarge);
    else yield bytesOf(values);
  }
}

function encodeF16(values: Float32Array, tooLarge: (i: number) => Error): Uint8Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    halves[i] = toF16(values[i]);
    if (isInfinite(halves[i])) throw tooLarge(i);
  }
  return bytesOf(halves);
}

function encodeQ8(values: Float32Array, tooLarge: (i: number) => Error): Uint8Array {
  const { block, bytes: width } = GGML.Q8_0;
  const bytes = new Uint8Array(ggmlBytes('Q8_0', values.length));
  for (let from = 0, to = 0; from < values.length; from += block, to += width) {
    let largest = from;
    for (let i = from; i < from + block; i++)
      if (Math.abs(values[i]) > Math.abs(values[largest])) largest = i;
    const d = Math.fround(Math.abs(values[largest]) / 127);
    const scale = toF16(d);
    if (isInfinite(scale)) throw tooLarge(largest);
    bytes[to] = scale;
    bytes[to + 1] = scale >> 8;
    const inverse = Math.fround(1 / d);
    if (inverse === Number.POSITIVE_INFINITY) continue; // all are 0, or so small that they are to be
    for (let i = 0; i < block; i++)
      bytes[to + 2 + i] = roundHalfAway(Math.fround(values[from + i] * inverse));
  }
  return bytes;
}

/** C's roundf. `Math.round` takes −0.5 to −0 and −1.5 to −1. */
function roundHalfAway(x: number): number {
  const whole = Math.trunc(x);
  return Math.abs(x - whole) < 0.5 ? whole : whole + Math.sign(x);
}

/** The bits of the f16 nearest to an f32, ties to even; infinite from 65520 on, and for NaN. */
export const toF16 = (x: number): number =>
  Math.abs(x) < 65520 ? halfBits(half(x)) : x < 0 ? 0xfc00 : 0x7c00;

const isInfinite = (half: number): boolean => (half & 0x7fff) === 0x7c00;
