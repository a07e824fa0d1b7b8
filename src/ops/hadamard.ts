/**
 * The base matrices M_K of the Hadamard transform, K in {1, 12, 20, 28}, made from algebra.
 *
 * With χ the quadratic character mod a prime q (0 at 0, +1 at squares, −1 elsewhere) and Q[i][j] = χ(i − j):
 *
 *   Paley I   (q ≡ 3 mod 4, order q + 1)     M_20, q = 19:  first row + − − …, first column +, rest Q + I
 *   Paley II  (q ≡ 1 mod 4, order 2(q + 1))  M_12, q = 5 and M_28, q = 13:  C = [[0, 1…], [1…, Q]] with each 0 replaced
 *                                            by [[+, −], [−, −]] and each ±1 by ±[[+, +], [+, −]]
 *
 * M_20 is not symmetric: its transpose is its inverse (times 20), it itself is not. M_12 and M_28 are symmetric.
 * Source: R.E.A.C. Paley, On Orthogonal Matrices, 1933.
 */

export type Base = readonly (readonly (1 | -1)[])[];
type Sign = 1 | -1;

/** χ(a) mod the prime q. */
function character(a: number, q: number): 0 | Sign {
  const residue = ((a % q) + q) % q;
  if (residue === 0) return 0;
  for (let x = 1; x < q; x++) if ((x * x) % q === residue) return 1;
  return -1;
}

const indices = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

function paley1(q: number): Base {
  return indices(q + 1).map(i =>
    indices(q + 1).map(j => {
      if (i === 0) return j === 0 ? 1 : -1;
      return j === 0 || i === j ? 1 : (character(i - j, q) as Sign);
    }),
  );
}

function paley2(q: number): Base {
  const conference = (i: number, j: number) => (i === 0 || j === 0 ? (i === j ? 0 : 1) : character(i - j, q));
  const zero = [[1, -1], [-1, -1]]; // biome-ignore format: a 2×2 block
  const one = [[1, 1], [1, -1]]; // biome-ignore format: a 2×2 block
  return indices(2 * (q + 1)).map(i =>
    indices(2 * (q + 1)).map(j => {
      const c = conference(i >> 1, j >> 1);
      return (c === 0 ? zero[i & 1][j & 1] : c * one[i & 1][j & 1]) as Sign;
    }),
  );
}

const BASES: ReadonlyMap<number, Base> = new Map([
  [1, [[1]]],
  [12, paley2(5)],
  [20, paley1(19)],
  [28, paley2(13)],
]);

const isPowerOfTwo = (n: number): boolean => Number.isInteger(n) && n >= 1 && (n & (n - 1)) === 0;

/** n as outer · K · 2^k: the factors of Q = (H_outer ⊗ M_K ⊗ H_2^k) / √n; undefined where n has no such form. */
export interface Factors {
  /** 2 for the sizes 40·2^k, whose M_40 = [[M_20, M_20], [M_20, −M_20]] is one butterfly around M_20; else 1. */
  readonly outer: 1 | 2;
  readonly base: Base;
  /** 2^k, the contiguous run inside which the plain Walsh–Hadamard butterflies work. */
  readonly run: number;
}

export function factor(n: number): Factors | undefined {
  for (const [K, base] of BASES) {
    const run = n / K;
    if (!isPowerOfTwo(run)) continue;
    return K === 20 && run > 1 ? { outer: 2, base, run: run / 2 } : { outer: 1, base, run };
  }
  return undefined;
}
