/**
 * A new op with states of a new kind costs one file. This is that file: attention with one head, whose keys and values grow
 * with the text. Nothing else knows of it, and yet a graph that has it runs, saves, loads and forks.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Program, trace, weightsOf } from '../src/graph.ts';
import { defineOp } from '../src/op.ts';
import { ops } from '../src/ops/index.ts';
import { exp } from '../src/ops/numerics.ts';
import { interpret } from '../src/run.ts';
import { createSession } from '../src/session.ts';
import { statesBytes } from '../src/state.ts';
import { type Tensor, tensor } from '../src/tensor.ts';
import { noise, random, sameBits } from './toy.ts';

const f = Math.fround;

const toyAttention = defineOp({
  name: 'toy-attention',
  formula: 'y[t] = Σ_{s ≤ t} softmax_s(q[t] · k[s]) v[s]',
  inputs: { q: 'f32[l, p]', key: 'f32[l, p]', value: 'f32[l, p]' },
  outputs: { y: 'f32[l, p]' },
  states: { k: 'f32[t, p]', v: 'f32[t, p]' },
  reference: ({ q, key, value }, _, { y }, { l, p, t: past }, { k, v }) => {
    k.put(past * p, key.data);
    v.put(past * p, value.data);
    for (let t = 0; t < l; t++) {
      const scores = Array.from({ length: past + t + 1 }, (_, s) => {
        let score = 0;
        for (let i = 0; i < p; i++) score = f(score + f(q.data[t * p + i] * k.data[s * p + i]));
        return score;
      });
      const most = scores.reduce((a, b) => Math.max(a, b));
      const weights = scores.map(score => exp(f(score - most)));
      const total = weights.reduce((sum, w) => f(sum + w));
      for (let i = 0; i < p; i++) {
        let sum = 0;
        for (const [s, w] of weights.entries()) sum = f(sum + f(w * v.data[s * p + i]));
        y.data[t * p + i] = f(sum / total);
      }
    }
  },
  sweep: { l: [1, 3], p: [1, 4] },
});

const [VOCAB, P] = [11, 6];
const next = random(5);
const matrix = (rows: number, columns: number) => tensor(noise(rows * columns, next), [rows, columns]);
const weights = new Map<string, Tensor>([
  ['table', matrix(VOCAB, P)],
  ...['q', 'k', 'v', 'head'].map((name): [string, Tensor] => [
    `${name}.weight`,
    matrix(name === 'head' ? VOCAB : P, P),
  ]),
]);

/** A model whose keys and values are kept as `dtype`. */
function modelOf(dtype: 'f32' | 'f16'): Program {
  const graph = trace((g, tokens) => {
    const of = (name: string) => g.weight(name, weights.get(name)!.shape);
    const x = g.op('x', ops.embedding, { tokens, w: of('table') });
    const [q, key, value] = ['q', 'k', 'v'].map(name =>
      g.op(name, ops.linear, { x, w: of(`${name}.weight`) }),
    );
    const states = { k: g.state('keys', ['t', P]), v: g.state('values', ['t', P]) };
    const y = g.op('y', toyAttention, { q, key, value, ...states });
    return g.op('logits', ops.linear, { x: y, w: of('head.weight') });
  });
  const states = new Map([...graph.states].map(([ref, type]) => [ref, { ...type, dtype }]));
  return { graph: { ...graph, states }, weights: weightsOf(weights) };
}

describe.each(['f32', 'f16'] as const)('a state that grows, kept in %s', dtype => {
  const program = modelOf(dtype);
  const executable = interpret(program);
  const text = Int32Array.from({ length: 13 }, (_, i) => (i * 7 + 2) % VOCAB);
  const whole = executable.open().feed(text);

  it('gives the same in any cut, and beside others', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, sizes, (ours, theirs) => {
        const [a, b] = [executable.open(), executable.open()];
        let at = 0;
        for (const [i, size] of ours.entries()) {
          const tokens = text.slice(at, at + size);
          if (tokens.length === 0) break;
          const other = text.slice(0, theirs[i % theirs.length]);
          const [rows] = executable.feed([
            { sequence: a, tokens },
            { sequence: b, tokens: other },
          ]);
          expect(sameBits(rows.data, whole.data.slice(at * VOCAB, (at + tokens.length) * VOCAB))).toBe(true);
          at += tokens.length;
        }
      }),
      { numRuns: 40 },
    );
  });

  it('is saved with as many rows as tokens, and goes on from there, forked or loaded', () => {
    const sequence = executable.open();
    sequence.feed(text.subarray(0, 8));
    const saved = sequence.save();
    expect(saved.values.get('keys')!.shape).toEqual([8, P]);
    const ends = [sequence, sequence.fork(), executable.open(saved)].map(s => s.feed(text.subarray(8)));
    for (const { data } of ends) expect(sameBits(data, whole.data.slice(8 * VOCAB))).toBe(true);
  });

  it('goes into a file and comes back', () => {
    const runnable = { program, executable, vocabSize: VOCAB, name: 'toy', identity: () => 'toy' };
    const session = createSession(runnable);
    session.feed(text.subarray(0, 8));
    const bytes = session.snapshot();
    const other = createSession(runnable);
    other.restore(bytes);
    expect(other.position).toBe(8);
    expect(sameBits(other.feed(text.subarray(8)).data, whole.data.slice(8 * VOCAB))).toBe(true);
  });

  it('takes bytes for every token', () => {
    const each = 2 * P * (dtype === 'f32' ? 4 : 2);
    expect([0, 1, 8].map(tokens => statesBytes(program.graph.states, tokens))).toEqual([0, each, 8 * each]);
  });

  it('is as it was after a feed that fails', () => {
    const sequence = executable.open();
    sequence.feed(text.subarray(0, 8));
    expect(() => sequence.feed(Int32Array.of(1, VOCAB))).toThrow('embedding C1');
    expect(sequence.position).toBe(8);
    expect(sameBits(sequence.feed(text.subarray(8)).data, whole.data.slice(8 * VOCAB))).toBe(true);
  });
});
