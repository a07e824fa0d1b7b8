/**
 * How quantization names the values that it makes: the name of the value that each is made from, a point and a word. A plan
 * file keeps these names, and whoever looks for a value of a plan asks here.
 */
import type { Ref } from '../graph.ts';
import type { WeightScheme } from './scheme.ts';

export const nameOf = {
  /** A value in its basis, and a weight that took the inverse of the basis: `layers.0.scanOut.rotated`. */
  inBasis: (x: Ref, word: string): Ref => `${x}.${word}`,
  /** A value that is turned back from its basis: `layers.0.scanOut.plain`. */
  plain: (x: Ref): Ref => `${x}.plain`,
  /** The factors of a site whose channels are scaled: `layers.0.scanIn.factors`. */
  factors: (site: Ref): Ref => `${site}.factors`,
  /** The size of a step of the integers of a site, of a state, or of the rows of a weight: `layers.0.scanIn.scale`. */
  scale: (x: Ref): Ref => `${x}.scale`,
  /** Integers as real numbers again: `layers.0.scanIn.real`. */
  real: (q: Ref): Ref => `${q}.real`,
  /**
   * The integers of a weight: `….weight.i8`, `….weight.i8-rows`, `….weight.i4-groups-of-64`. The scheme is part of the name
   * because one weight may be read under two schemes.
   */
  integers: (w: Ref, { bits, per }: WeightScheme): Ref =>
    `${w}.i${bits}${per === 'tensor' ? '' : per === 'row' ? '-rows' : `-groups-of-${per.group}`}`,
  /** The scales of the integers of a matrix: `….weight.i8.wscale`. */
  matrixScale: (q: Ref): Ref => `${q}.wscale`,
  /** In the basis of a rotated residual stream: the weight or bias of who writes or reads it, or what is added to it: `….residual`. */
  residual: (w: Ref): Ref => `${w}.residual`,
  /** A weight that took over the weight of the norm before it: `….normed`. */
  normed: (w: Ref): Ref => `${w}.normed`,
} as const;
