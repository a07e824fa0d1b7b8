/**
 * Attention whose queries and keys are turned by RoPE, as a program: what a hybrid adds to the states of a text. Tokens index
 * tables of queries, keys and values, so that hardly anything else is in it.
 */
import { type Program, trace, weightsOf } from '../graph.ts';
import { ops } from '../ops/index.ts';
import { ropeFrequencies } from '../ops/rope-table.ts';
import { isGrowing, type StateType } from '../state.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { random } from '../text/random.ts';
import { noise } from './toy.ts';

/** Pairs of query heads share a head of keys; two of the eight channels are not turned. */
const [HEADS, GROUPS, P, TURNED] = [4, 2, 8, 3];

/** The float program over so many words; or its plan, which rounds its values to int8 and keeps keys and values as `dtype`. */
export function rotary(vocabSize: number, dtype?: StateType['dtype']): Program {
  const next = random(11);
  const weights = new Map<string, Tensor>([
    ['freq', tensor(ropeFrequencies(1e4, TURNED))],
    ['v.step', tensor(Float32Array.of(1 / 32))],
  ]);
  const graph = trace((g, tokens) => {
    const rows = (name: string, heads: number) => {
      const shape = [vocabSize, heads * P];
      weights.set(`${name}.table`, tensor(noise(vocabSize * heads * P, next), shape));
      return g.op(name, ops.embedding, { tokens, w: g.weight(`${name}.table`, shape) });
    };
    const coded = (x: string) => {
      const scale = g.weight('v.step', [1]);
      return g.op('v.rounded', ops.dequantize, { q: g.op('v.codes', ops.quantize, { x, scale }), scale });
    };
    const [q, k, float] = [rows('q', HEADS), rows('k', GROUPS), rows('v', GROUPS)];
    const v = dtype ? coded(float) : float;
    const [cos, sin] = [false, true].map(sine => {
      const name = sine ? 'sin' : 'cos';
      const given = { tokens, freq: g.weight('freq', [TURNED]), fed: g.state(`${name}.fed`, [1]) };
      return g.op(name, ops.ropeTable, given, { sine });
    });
    const turned = (name: string, x: string, h: number) => g.op(name, ops.rope, { x, cos, sin }, { h });
    const states = { K: g.state('K', ['t', GROUPS, P]), V: g.state('V', ['t', GROUPS, P]) };
    const given = { q: turned('q.turned', q, HEADS), k: turned('k.turned', k, GROUPS), v, ...states };
    return g.op('y', ops.attention, given, { h: HEADS, g: GROUPS, scale: 0.3 });
  });
  const states = new Map(graph.states);
  for (const [ref, type] of states) if (dtype && isGrowing(type)) states.set(ref, { ...type, dtype });
  return { graph: { ...graph, states }, weights: weightsOf(weights) };
}
