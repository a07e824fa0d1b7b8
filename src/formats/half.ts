/**
 * The two 16-bit floats that checkpoints use, as bits. Both widen to f32 exactly; narrowing is done only where it is
 * exact, so that a weight that came as F16 can go back as F16.
 *
 *   f32   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm
 *   F16   s eeeee mmmmmmmmmm                    IEEE 754 binary16, subnormals included
 *   BF16  s eeeeeeee mmmmmmm                    the upper half of an f32
 */

/** F16 bits → f32 bits. A table is one load for each value; the arithmetic way costs a multiplication and two branches. */
const f16Table = /* @__PURE__ */ makeTable();

function makeTable(): Uint32Array {
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  return Uint32Array.from({ length: 0x10000 }, (_, half) => {
    const sign = (half & 0x8000) << 16;
    const rest = (half & 0x7fff) << 13;
    if (rest >= 0x0f800000) return sign | 0x70000000 | rest; // infinity and NaN: the exponent becomes all ones
    bits[0] = rest;
    value[0] *= 2 ** 112; // the biases differ by 127 − 15; exact for subnormals too
    return sign | bits[0];
  });
}

/** F16 bits → f32 bits, as many as `halves` has. */
export function widenF16(halves: Uint16Array, bits: Uint32Array): void {
  for (let i = 0; i < halves.length; i++) bits[i] = f16Table[halves[i]];
}

/** BF16 bits → f32 bits, as many as `halves` has. */
export function widenBF16(halves: Uint16Array, bits: Uint32Array): void {
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i] << 16;
}

/** The F16 nearest to zero's side of an f32, as bits: right where the f32 is one of F16's values, else to be refused. */
function truncateToF16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = (bits >>> 23) & 0xff;
  const mantissa = bits & 0x7fffff;
  if (exponent === 0xff) return sign | 0x7c00 | (mantissa >>> 13);
  if (exponent > 142) return sign | 0x7c00;
  if (exponent > 112) return sign | ((exponent - 112) << 10) | (mantissa >>> 13);
  if (exponent > 102) return sign | ((0x800000 | mantissa) >>> (126 - exponent));
  return sign;
}

/** f32 bits → F16 bits. @returns the index of the first value that F16 does not have, or −1. */
export function narrowF16(bits: Uint32Array, halves: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) {
    halves[i] = truncateToF16(bits[i]);
    if (f16Table[halves[i]] !== bits[i]) return i;
  }
  return -1;
}

/** f32 bits → BF16 bits. @returns the index of the first value that BF16 does not have, or −1. */
export function narrowBF16(bits: Uint32Array, halves: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) {
    if (bits[i] & 0xffff) return i;
    halves[i] = bits[i] >>> 16;
  }
  return -1;
}

/** Whether every value is one that F16 has, so that storing it as F16 loses nothing. */
export function fitsF16(data: Float32Array): boolean {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (let i = 0; i < bits.length; i++) if (f16Table[truncateToF16(bits[i])] !== bits[i]) return false;
  return true;
}
