/** Random programs: residual streams with readers and writers of all kinds, sites anywhere, weights that are read twice. */
import fc from 'fast-check';
import {
  type Builder,
  type Given,
  type Input,
  type Program,
  type Ref,
  trace,
  weightsOf,
} from '../../src/graph.ts';
import { roles, sites } from '../../src/model/index.ts';
import type { AnyOp } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import {
  a8,
  a8dynamic,
  type Basis,
  type Recipe,
  type SiteScheme,
  w4nearest,
  w8,
  w8rows,
} from '../../src/quant/scheme.ts';
import { sizeOf, type Tensor, tensor } from '../../src/tensor.ts';
import { noise, random } from '../toy.ts';

const V = 7;
/** Of a frame. */
const WIDTH = 3;
/** Both have a Hadamard matrix, and that of 20 is not symmetric. */
const WIDTHS = [20, 8] as const;
const KINDS = [
  ...['layer', 'layer', 'linear', 'linear', 'add', 'norm', 'site', 'site', 'silu', 'conv', 'scale'],
  ...['made', 'embedding', 'head'],
] as const;

/** A node, by numbers that say which of the values so far it reads, and whether its weights are new. */
const step = fc.record({
  kind: fc.constantFrom(...KINDS),
  x: fc.nat(20),
  y: fc.nat(20),
  to: fc.nat(1),
  /** 0: a weight of before, where one has the shape. */
  fresh: fc.nat(2),
  more: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
const graphs = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 12 }),
  result: fc.nat(30),
  seed: fc.nat(1000),
  readsFrames: fc.boolean(),
});
type Numbers = typeof graphs extends fc.Arbitrary<infer S> ? S : never;

const tensorFor = (name: string, next: () => number, shape: readonly number[]): Tensor => {
  const [spread, mean] = name.startsWith('norm') ? [0.3, 1] : name.startsWith('b') ? [0.3, 0] : [1, 0];
  const scale = shape.length === 2 && !name.startsWith('table') ? 1 / Math.sqrt(shape[1]) : 1;
  return tensor(
    noise(sizeOf(shape), next, spread * scale).map(x => x + mean),
    shape,
  );
};

/** Values are taken from the latest on. */
const pick = <T>(from: readonly T[], at: number): T => from[from.length - 1 - (at % from.length)];

function programOf({ steps, result, seed, readsFrames }: Numbers): Program {
  const shapes = new Map<string, readonly number[]>();
  const model = (g: Builder, tokens: Ref): Ref => {
    const values = new Map<number, Ref[]>([
      [WIDTHS[0], []],
      [WIDTHS[1], []],
      [V, []],
    ]);
    const all: [Ref, number][] = [];
    const keep = (ref: Ref, width: number): Ref => {
      values.get(width)!.push(ref);
      all.push([ref, width]);
      return ref;
    };
    const weight = (kind: string, shape: readonly number[], { fresh }: Step, role = ''): Ref => {
      const known = [...shapes].find(([name, has]) => name.startsWith(kind) && `${has}` === `${shape}`);
      const name = known && fresh === 0 ? known[0] : `${kind}.${shapes.size}`;
      shapes.set(name, shape);
      return g.weight(name, shape, role);
    };
    const first = { kind: 'embedding', x: 0, y: 0, to: 0, fresh: 1, more: false } as const;
    for (const [i, each] of [first, ...steps].entries()) {
      const { kind, x: at, y: other, to, more } = each;
      const inner = all.filter(([, width]) => width !== V);
      const [x, width] = inner.length ? pick(inner, at) : ['', WIDTHS[0]];
      const w = (rows: number, columns: number) => weight('w', [rows, columns], each, 'inProj');
      const bias = (size: number) => (more ? weight('b', [size], each) : undefined);
      const name = `v${i}`;
      const op = (what: AnyOp, inputs: Given) => g.op(name, what, inputs);
      const norm = (of: Ref) => ({ x: of, w: more ? weight('norm', [width], each) : undefined });
      const out = WIDTHS[to];
      if (kind === 'embedding' && readsFrames)
        keep(op(ops.linear, { x: tokens, w: w(out, WIDTH), b: bias(out) }), out);
      else if (kind === 'embedding')
        keep(op(ops.embedding, { tokens, w: weight('table', [V, out], each, 'embedding') }), out);
      else if (kind === 'layer') {
        const normed = g.op(`${name}.normed`, ops.rmsNorm, norm(x));
        const read = other % 2 ? g.scope(name).site('blockIn', normed) : normed;
        const inside = g.op(`${name}.in`, ops.linear, { x: read, w: w(out, width), b: bias(out) });
        const y = g.op(`${name}.out`, ops.linear, { x: inside, w: w(width, out), b: bias(width) });
        keep(inside, out);
        if (other % 3 === 0) keep(y, width);
        keep(op(ops.add, { x, y }), width);
      } else if (kind === 'linear') keep(op(ops.linear, { x, w: w(out, width), b: bias(out) }), out);
      else if (kind === 'made') {
        const made = g.op(`${name}.w`, ops.negExp, { x: w(out, width) });
        keep(op(ops.linear, { x, w: made }), out);
      } else if (kind === 'add') keep(op(ops.add, { x, y: pick(values.get(width)!, other) }), width);
      else if (kind === 'norm') keep(op(ops.rmsNorm, norm(x)), width);
      else if (kind === 'site') keep(g.scope(name).site(sites[other % sites.length], x), width);
      else if (kind === 'silu') keep(op(more ? ops.silu : ops.softplus, { x }), width);
      else if (kind === 'conv')
        keep(
          op(ops.causalConv1d, { x, w: w(width, 3), past: g.state(`${name}.convState`, [width, 2]) }),
          width,
        );
      else if (kind === 'scale') keep(op(ops.scaleChannels, { x, c: weight('norm', [width], each) }), width);
      else keep(op(ops.linear, { x, w: weight('table', [V, width], each, 'head') }), V);
    }
    return pick(all, result)[0];
  };
  const graph = trace(model, readsFrames ? WIDTH : undefined);
  const next = random(seed + 1);
  const tensors = new Map([...shapes].map(([name, shape]) => [name, tensorFor(name, next, shape)]));
  const weights = new Map([...graph.weights.keys()].map(ref => [ref, tensors.get(ref)!]));
  return { graph, weights: weightsOf(weights) };
}
export const programs: fc.Arbitrary<Program> = graphs.map(programOf);

const basis = fc.constantFrom<Basis>('none', 'hadamard', 'hadamard', 'channels', { smooth: 0.5 });

const each = <T>(of: fc.Arbitrary<T>) => fc.array(of, { minLength: sites.length, maxLength: sites.length });

/** A basis for each site, and perhaps for the residual stream; one of the schemes for each. */
export const recipesWith = (...schemes: readonly Partial<SiteScheme>[]): fc.Arbitrary<Recipe> =>
  fc.tuple(each(basis), each(fc.constantFrom(...schemes)), fc.boolean()).map(([bases, found, isRotated]) => ({
    at: Object.fromEntries(sites.map((site, i) => [site, { ...found[i], basis: bases[i] }])) as Recipe['at'],
    optional: [...sites, ...roles] as const,
    ...(isRotated && { residual: 'hadamard' as const }),
  }));

/** The same with schemes of weights. */
export const quantizing: fc.Arbitrary<Recipe> = fc
  .tuple(recipesWith({}, a8, a8dynamic), fc.constantFrom(undefined, w8, w8rows, w4nearest), fc.boolean())
  .map(([recipe, weights, isRows]) => ({
    ...recipe,
    ...(weights && { weights }),
    ...(isRows && { weightsAt: { embedding: w8rows, head: w8rows } }),
  }));

const text = Int32Array.of(3, 1, 4, 1, 5, 6, 2, 6, 5);
const frames = noise(WIDTH * text.length, random(1));
/** What a program is calibrated on and run on, so that nothing is clipped. */
export const inputFor = ({ graph }: Program): Input => (graph.width === undefined ? text : frames);
