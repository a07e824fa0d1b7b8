/**
 * A stream of random numbers that is the same on every machine: sfc32 of PractRand (C. Doty-Humphrey, public domain),
 * 128 bits of state, only 32-bit additions, shifts and xors.
 *
 *   out = a + b + counter,  counter += 1,  a = b ^ (b >> 9),  b = c + (c << 3),  c = rotl(c, 21) + out
 */

const TWO_32 = 4294967296;

/** Rounds to throw away after seeding, as PractRand does, so that near seeds give unrelated streams. */
const WARM_UP = 12;

/**
 * @param seed any whole number between ±(2⁵³ − 1): its two 32-bit halves are b and c
 * @returns a function that gives the next number of [0, 1), a multiple of 2⁻³²
 */
export function random(seed: number): () => number {
  let a = 0;
  let b = seed | 0;
  let c = Math.floor(seed / TWO_32) | 0;
  let counter = 1;
  const next = () => {
    const out = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + out) | 0;
    return (out >>> 0) / TWO_32;
  };
  for (let i = 0; i < WARM_UP; i++) next();
  return next;
}
