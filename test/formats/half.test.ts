import { Float16Array, f16round } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitsF16, narrowBF16, narrowF16, widenBF16, widenF16 } from '../../src/formats/half.ts';

const all = Uint16Array.from({ length: 0x10000 }, (_, half) => half);
const widened = (widen: typeof widenF16) => {
  const bits = new Uint32Array(all.length);
  widen(all, bits);
  return bits;
};

describe('half', () => {
  it('F16: every one of the 65,536 widens to the value that an independent implementation gives', () => {
    const values = new Float32Array(widened(widenF16).buffer);
    const peer = Float32Array.from(new Float16Array(all.buffer));
    expect(all.filter(half => !Object.is(values[half], peer[half]))).toEqual(new Uint16Array(0));
  });

  it('BF16: every one is the upper half of its f32', () => {
    const bits = widened(widenBF16);
    expect(all.filter(half => bits[half] !== half * 65536)).toEqual(new Uint16Array(0));
  });

  it.each([
    ['F16', widenF16, narrowF16],
    ['BF16', widenBF16, narrowBF16],
  ] as const)('%s: narrowing gives back every one of the 65,536 bit patterns', (_, widen, narrow) => {
    const halves = new Uint16Array(all.length);
    expect(narrow(widened(widen), halves)).toBe(-1);
    expect(all.filter((half, i) => halves[i] !== half)).toEqual(new Uint16Array(0));
  });

  it('fitsF16 says whether rounding to F16 changes anything; narrowing stops where it would', () => {
    const nearHalf = fc
      .tuple(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: -2, max: 2 }))
      .map(([half, off]) => new Float32Array(Uint32Array.of(widened1(half) + off).buffer)[0]);
    fc.assert(
      fc.property(fc.oneof(fc.float({ noNaN: true }), nearHalf), x => {
        fc.pre(!Number.isNaN(x));
        const fits = Object.is(f16round(x), x);
        const bits = new Uint32Array(Float32Array.of(1, x).buffer);
        expect(fitsF16(Float32Array.of(1, x))).toBe(fits);
        expect(narrowF16(bits, new Uint16Array(2))).toBe(fits ? -1 : 1);
      }),
      { numRuns: 5000 },
    );
  });
});

function widened1(half: number): number {
  const bits = new Uint32Array(1);
  widenF16(Uint16Array.of(half), bits);
  return bits[0];
}
