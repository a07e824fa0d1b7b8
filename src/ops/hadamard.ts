/**
 * The base matrices M_K of the Hadamard transform, made from algebra: K = 1, 12, 20, 28, 36, 44, 52, 60, 68 … 1020.
 *
 * With χ the quadratic character of the field of q elements (0 at 0, +1 at squares, −1 elsewhere) and Q[i][j] = χ(i − j):
 *
 *   Paley I   (q ≡ 3 mod 4, order q + 1)     M_20, q = 19:  first row + − − …, first column +, rest Q + I
 *   Paley II  (q ≡ 1 mod 4, order 2(q + 1))  M_12, q = 5 and M_28, q = 13:  C = [[0, 1…], [1…, Q]] with each 0 replaced
 *                                            by [[+, −], [−, −]] and each ±1 by ±[[+, +], [+, −]]
 *
 * q is a prime, or for Paley II the square of one, whose elements are numbered a·p + b for a + b√r with r no square mod p. Higher
 * powers are left out, so there is no M_344, of q = 7³.
 * Paley II comes first where both exist, but for M_20. Paley I is not symmetric: its transpose is its inverse (times K), it
 * itself is not. Paley II is symmetric. Kronecker products of these give no size that M_K ⊗ H_2^k with K ≤ 1024 does not.
 * Source: R.E.A.C. Paley, On Orthogonal Matrices, 1933.
 */

export type Base = readonly (readonly (1 | -1)[])[];
type Sign = 1 | -1;

/** M_K is applied as it stands, at K sums for each value; more than this is no transform but a weight. */
const MOST_ORDER = 1024;

const indices = (size: number): number[] => Array.from({ length: size }, (_, i) => i);

const isPrime = (q: number): boolean =>
  Number.isInteger(q) && q > 1 && !indices(Math.floor(Math.sqrt(q)) + 1).some(d => d > 1 && q % d === 0);

/** χ of the difference of the elements i and j of the field of q, a prime or the square of one. */
function character(q: number): (i: number, j: number) => 0 | Sign {
  const p = isPrime(q) ? q : Math.sqrt(q);
  const squares = new Set(indices(p).map(x => (x * x) % p));
  const modP = (a: number): 0 | Sign => {
    const residue = ((a % p) + p) % p;
    if (residue === 0) return 0;
    return squares.has(residue) ? 1 : -1;
  };
  if (p === q) return (i, j) => modP(i - j);
  // a + b√r is a square where its norm a² − r b² is one mod p
  const r = indices(p).find(x => !squares.has(x))!;
  return (i, j) => {
    const [a, b] = [Math.floor(i / p) - Math.floor(j / p), (i % p) - (j % p)];
    return modP(a * a - r * b * b);
  };
}

function paley1(q: number): Base {
  const chi = character(q);
  return indices(q + 1).map(i =>
    indices(q + 1).map(j => {
      if (i === 0) return j === 0 ? 1 : -1;
      return j === 0 || i === j ? 1 : (chi(i - 1, j - 1) as Sign);
    }),
  );
}

function paley2(q: number): Base {
  const chi = character(q);
  const conference = (i: number, j: number) => (i === 0 || j === 0 ? (i === j ? 0 : 1) : chi(i - 1, j - 1));
  const zero = [[1, -1], [-1, -1]]; // biome-ignore format: a 2×2 block
  const one = [[1, 1], [1, -1]]; // biome-ignore format: a 2×2 block
  return indices(2 * (q + 1)).map(i =>
    indices(2 * (q + 1)).map(j => {
      const c = conference(i >> 1, j >> 1);
      return (c === 0 ? zero[i & 1][j & 1] : c * one[i & 1][j & 1]) as Sign;
    }),
  );
}

/** M_K for K = 1 or a multiple of 4; undefined where Paley has none by a prime or the square of one. */
function paley(K: number): Base | undefined {
  if (K === 1) return [[1]];
  const q = K / 2 - 1;
  if (K !== 20 && q % 4 === 1 && (isPrime(q) || isPrime(Math.sqrt(q)))) return paley2(q);
  return isPrime(K - 1) ? paley1(K - 1) : undefined;
}

/** n as outer · K · 2^k: the factors of Q = (H_outer ⊗ M_K ⊗ H_2^k) / √n; undefined where n has no such form. */
export interface Factors {
  /** 2 for the sizes 40·2^k, whose M_40 = [[M_20, M_20], [M_20, −M_20]] is one butterfly around M_20; else 1. */
  readonly outer: 1 | 2;
  readonly base: Base;
  /** 2^k, the contiguous run inside which the plain Walsh–Hadamard butterflies work. */
  readonly run: number;
}

/** What `paley` gave, by K. */
const made = new Map<number, Base | undefined>();

/** With the smallest K that n has. */
export function factor(n: number): Factors | undefined {
  const odd = n / (n & -n);
  for (let K = odd === 1 ? 1 : 4 * odd; K <= MOST_ORDER && n % K === 0; K *= 2) {
    if (!made.has(K)) made.set(K, paley(K));
    const base = made.get(K);
    const run = n / K;
    if (base) return K === 20 && run > 1 ? { outer: 2, base, run: run / 2 } : { outer: 1, base, run };
  }
  return undefined;
}
