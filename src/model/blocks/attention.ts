/**
 * Causal self-attention (arXiv 1706.03762) with grouped queries, between four projections.
 *
 *   m  d_model     h, g  heads of queries, of keys and values     p  channels of a head     t  tokens so far
 */
import type { Builder, Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import { layerOf } from './layer.ts';

export interface Attention {
  /** m, the width of the residual stream. */
  readonly dModel: number;
  /** h, g and p. h · p need not be m. */
  readonly queryHeads: number;
  readonly keyHeads: number;
  readonly attentionDim: number;
  /** What the products of queries and keys are multiplied by. */
  readonly attentionScale: number;
  readonly attentionBias: boolean;
  /** The base of RoPE's frequencies, all p channels of a head being turned. Absent: a token's position is not told. */
  readonly ropeTheta?: number;
}

/** The activation points that a recipe's `acts` speaks of. */
export const attentionSites = [
  'attnIn', //   norm(h)   f32[l, m]     input of q_proj, k_proj, v_proj
  'attnOut', //            f32[l, h·p]   input of o_proj
] as const;

/**
 * Those on which a recipe acts only where it names them: attention computes in f32, so to round what it reads makes nothing
 * smaller or faster. How keys and values are kept is said by the states.
 */
export const attentionFloatSites = [
  'query', //              f32[l, h·p]   after RoPE
  'key', //                f32[l, g·p]   after RoPE
  'value', //              f32[l, g·p]
] as const;

/** The keys, after RoPE, and the values of all tokens so far. */
export const attentionStates = ['keyCache', 'valueCache'] as const;

/** The weights that a recipe may quantize, by role. */
export const attentionRoles = ['qkvProj', 'oProj'] as const;

/** The cosines and sines by which the queries and keys of all layers are turned. */
export interface Turns {
  readonly cos: Ref;
  readonly sin: Ref;
}

/** The frequencies of RoPE: a constant that no checkpoint has. */
export const ROPE_FREQUENCIES = 'rope.freq';

/** Where there is RoPE, its angles for the tokens of a call. */
export function turnsOf(g: Builder, { attentionDim, ropeTheta }: Attention, tokens: Ref): Turns | undefined {
  if (ropeTheta === undefined) return undefined;
  const freq = g.weight(ROPE_FREQUENCIES, [attentionDim / 2]);
  const table = (name: string, sine: boolean) =>
    g.op(name, ops.ropeTable, { tokens, freq, fed: g.state(`${name}Fed`, [1]) }, { sine });
  return { cos: table('cos', false), sin: table('sin', true) };
}

/** norm(h) f32[l, m] → f32[l, m], with the weights below `prefix`. */
export function attention(
  g: Builder,
  prefix: string,
  { dModel: m, queryHeads: h, keyHeads, attentionDim: p, attentionScale: scale, attentionBias }: Attention,
  normed: Ref,
  turns?: Turns,
): Ref {
  const { linear } = layerOf<(typeof attentionRoles)[number]>(g, prefix);
  const x = g.site('attnIn', normed);
  const heads = (name: string, count: number) =>
    linear(name, x, `${name}_proj`, [count * p, m], 'qkvProj', attentionBias);
  const turned = (name: string, x: Ref, count: number) =>
    turns ? g.op(`${name}Turned`, ops.rope, { x, ...turns }, { h: count }) : x;

  const q = g.site('query', turned('q', heads('q', h), h));
  const k = g.site('key', turned('k', heads('k', keyHeads), keyHeads));
  const v = g.site('value', heads('v', keyHeads));
  const K = g.state('keyCache', ['t', keyHeads, p]);
  const V = g.state('valueCache', ['t', keyHeads, p]);
  const y = g.op('attended', ops.attention, { q, k, v, K, V }, { h, g: keyHeads, scale });
  return linear('o', g.site('attnOut', y), 'o_proj', [m, h * p], 'oProj', attentionBias);
}
