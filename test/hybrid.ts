/** A small hybrid: two layers of attention and an MLP, with a scan of Mamba-2 between them. */
import { type Builder, type Program, type Ref, trace, weightsOf } from '../src/graph.ts';
import { ops } from '../src/ops/index.ts';
import { ropeFrequencies } from '../src/ops/rope-table.ts';
import type { StateType } from '../src/state.ts';
import { sizeOf, type Tensor, tensor } from '../src/tensor.ts';
import { noise, random } from './toy.ts';

export const VOCAB = 11;
const [M, H, G, P, R, F] = [12, 6, 2, 8, 2, 20];
/** The values that a token adds to all states that grow. */
export const EACH = 2 * 2 * G * P;

/** `dtype`: how keys and values are kept. */
export function hybridOf(dtype: StateType['dtype'] = 'f32'): Program {
  const next = random(5);
  const weights = new Map<string, Tensor>([['freq', tensor(ropeFrequencies(100, R), [R])]]);
  const graph = trace((g, tokens) => {
    const w = (name: string, ...shape: number[]): Ref => {
      if (!weights.has(name)) weights.set(name, tensor(noise(sizeOf(shape), next), shape));
      return g.weight(name, shape);
    };
    const table = (name: string, sine: boolean) =>
      g.op(name, ops.ropeTable, { tokens, freq: w('freq', R), fed: g.state(`${name}.fed`, [1]) }, { sine });
    const [cos, sin] = [table('cos', false), table('sin', true)];
    const attend = (s: Builder, name: string, x: Ref): Ref => {
      const of = (key: string, size: number) =>
        s.op(key, ops.linear, { x, w: w(`${name}.${key}.weight`, size, M) });
      const turned = (key: string, h: number) =>
        s.op(`${key}.turned`, ops.rope, { x: of(key, h * P), cos, sin }, { h });
      const states = { K: s.state('keys', ['t', G, P]), V: s.state('values', ['t', G, P]) };
      const given = { q: turned('q', H), k: turned('k', G), v: of('v', G * P), ...states };
      const y = s.op('y', ops.attention, given, { h: H, g: G, scale: 0.3 });
      const out = s.op('out', ops.linear, { x: y, w: w(`${name}.out.weight`, M, H * P) });
      return s.op('added', ops.add, { x, y: out });
    };
    const mlp = (s: Builder, name: string, x: Ref): Ref => {
      const normed = s.op('normed', ops.rmsNorm, { x });
      const both = s.op('both', ops.linear, { x: normed, w: w(`${name}.both.weight`, 2 * F, M) });
      const half = (key: string, start: number) => s.op(key, ops.slice, { x: both }, { start, size: F });
      const gated = s.op('gated', ops.swiglu, { gate: half('gate', 0), up: half('up', F) });
      const down = s.op('down', ops.linear, { x: gated, w: w(`${name}.down.weight`, M, F) });
      return s.op('fed', ops.add, { x, y: down });
    };
    const scan = (s: Builder, x: Ref): Ref => {
      const of = (key: string, size: number) => s.op(key, ops.linear, { x, w: w(`${key}.weight`, size, M) });
      const A = s.op('A', ops.negExp, { x: w('A_log', 3, 1) });
      const given = { dt: of('dt', 3), x, A, B: of('B', 4), C: of('C', 4), S: s.state('S', [3, 4, M / 3]) };
      return s.op('scanned', ops.ssdScan, given, { g: 1 });
    };
    let x = g.op('x', ops.embedding, { tokens, w: w('table', VOCAB, M) });
    x = mlp(g.scope('0'), '0', attend(g.scope('0'), '0', x));
    x = g.site('mid', scan(g.scope('1'), x));
    x = mlp(g.scope('2'), '2', attend(g.scope('2'), '2', x));
    return g.op('logits', ops.linear, { x, w: w('head.weight', VOCAB, M) });
  });
  const grows = (ref: Ref) => /keys|values/.test(ref);
  const states = new Map(
    [...graph.states].map(([ref, type]) => [ref, grows(ref) ? { ...type, dtype } : type]),
  );
  return { graph: { ...graph, states }, weights: weightsOf(weights) };
}

/** So many tokens of a text. */
export const textOf = (length: number, seed = 3): Int32Array => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * VOCAB));
};
