/**
 * From a float program to an integer plan, in two steps, by three rules and no special cases.
 *
 *   1. site    x becomes T x, and then, in `quantize`, integers
 *   2. absorb  a linear that reads the site gets W T⁻¹, offline, and then, in `quantize`, becomes linear-i8
 *   3. undo    any other reader gets the plain tensor back (dequantize, then T⁻¹), through nodes emitted once
 *
 * `transform` keeps the function: the program that it returns computes the same logits in float. All rounding is in `quantize`.
 */
import {
  addOnceTo,
  type LazyTensor,
  type Node,
  type OpNode,
  opNode,
  type Program,
  type Ref,
  renamed,
  type SiteNode,
  withNodes,
} from '../graph.ts';
import { once } from '../once.ts';
import { scaleOf } from '../ops/absmax-scale.ts';
import { ops } from '../ops/index.ts';
import type { StateType } from '../state.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Curvature, curvatureOf } from './gptq.ts';
import { nameOf } from './names.ts';
import { rotateResidual } from './residual.ts';
import { type Recipe, siteAction, stateScheme, type WeightScheme, weightScheme } from './scheme.ts';
import type { Stats } from './stats.ts';
import { type Transform, transformOf } from './transforms.ts';
import { integerWeights } from './weights.ts';

const isLinear = (node: Node): node is OpNode => node.kind === 'op' && node.op.name === ops.linear.name;

/** The program with its residual stream in the recipe's basis. */
export const withResidual = (program: Program, { residual }: Recipe): Program =>
  residual ? rotateResidual(program) : program;

/** Puts the residual stream and every site into its basis. Sites stay in the graph; the function stays the same. */
export function transform(given: Program, recipe: Recipe, channels: Stats['channels'] = {}): Program {
  const program = withResidual(given, recipe);
  const made = new Map<Ref, LazyTensor>();
  const nodes: Node[] = [];
  const addOnce = addOnceTo(nodes);
  const inBasis = new Map<Ref, { readonly basis: Transform; readonly factors: Ref }>(); // by site
  const f32 = (ref: Ref) => (made.get(ref)?.read() ?? program.weights.read(ref)) as Tensor<'f32'>;
  /** From the largest |x| of the channels of a site, and the weights of the linears that read it. */
  const factorsOf = (site: Ref, make: NonNullable<Transform['factors']>): LazyTensor => {
    const largest = seen('channel statistics', channels, site);
    const readers = program.graph.nodes.filter(isLinear).filter(node => node.in.x === site);
    const weights = () => readers.map(node => f32(node.in.w));
    return { dtype: 'f32', shape: [largest.length], read: once(() => make(largest, weights())) };
  };
  const plain = (ref: Ref): Ref => {
    const site = inBasis.get(ref);
    return site ? addOnce(site.basis.undo(ref, nameOf.plain(ref), site.factors)) : ref;
  };

  for (const node of program.graph.nodes) {
    const basis = node.kind === 'site' ? transformOf(siteAction(recipe, node.site).basis) : undefined;
    if (node.kind === 'site' && basis) {
      const factors = nameOf.factors(node.out);
      if (basis.factors) made.set(factors, factorsOf(node.out, basis.factors));
      const x = nameOf.inBasis(node.out, basis.word);
      nodes.push(basis.apply(node.in, x, factors), { ...node, in: x });
      inBasis.set(node.out, { basis, factors });
    } else if (isLinear(node) && inBasis.has(node.in.x)) {
      const site = inBasis.get(node.in.x)!;
      const w = nameOf.inBasis(node.in.w, site.basis.word);
      const read = () => site.basis.fold(f32(node.in.w), site.basis.factors && f32(site.factors));
      made.set(w, { ...program.graph.weights.get(node.in.w)!, read });
      nodes.push({ ...node, in: { ...node.in, w } });
    } else nodes.push(node.kind === 'op' ? renamed(node, plain) : node);
  }
  return withNodes(program, nodes, made);
}

/** What calibration saw of a site or a state. */
function seen<T>(what: string, by: Readonly<Record<Ref, T>>, ref: Ref): T {
  const found = by[ref];
  if (found === undefined)
    throw new Error(`quantize: no ${what} for ${ref}; calibrate with this recipe first`);
  return found;
}

/** The size of a step for each range. */
const scalesOf = (ranges: ArrayLike<number>): LazyTensor => ({
  dtype: 'f32',
  shape: [ranges.length],
  read: () => tensor(Float32Array.from(ranges, scaleOf)),
});

/** Rounds: sites and weights to int8 by the recipe's schemes, linears to linear-i8. Returns the plan: no site is left. */
export function quantize(
  program: Program,
  recipe: Recipe,
  { channels = {}, ranges = {}, hessians = {} }: Partial<Stats> = {},
): Program {
  const weights = integerWeights(program);
  const scales = new Map<Ref, LazyTensor>(); // the scales of static sites and of states
  const nodes: Node[] = [];
  const alias = new Map<Ref, Ref>(); // a site that stays float → its input
  const scaleOfSite = new Map<Ref, Ref>(); // a quantized site → its scale
  const addOnce = addOnceTo(nodes);
  const real = (ref: Ref): Ref => {
    const scale = scaleOfSite.get(ref);
    return scale ? addOnce(opNode(ops.dequantize, { q: ref, scale }, nameOf.real(ref))) : ref;
  };

  const site = (node: SiteNode): void => {
    const x = alias.get(node.in) ?? node.in;
    const { quantize: scheme } = siteAction(recipe, node.site);
    if (!scheme) {
      alias.set(node.out, x);
      return;
    }
    const scale = nameOf.scale(node.out);
    if (scheme.when === 'dynamic') nodes.push(opNode(ops.absmaxScale, { x }, scale));
    else scales.set(scale, scalesOf([seen('range', ranges, node.out)]));
    nodes.push(opNode(ops.quantize, { x, scale }, node.out));
    scaleOfSite.set(node.out, scale);
  };

  /** A state as the recipe keeps it. */
  const kept = (ref: Ref, type: StateType): StateType => {
    const scheme = stateScheme(recipe, ref);
    if (!scheme) return type;
    if (scheme.bits === 16) return { dtype: 'f16', shape: type.shape };
    const scale = nameOf.scale(ref);
    scales.set(scale, scalesOf(seen('channel statistics', channels, ref)));
    return { dtype: 'i8', shape: type.shape, scale };
  };
  const states = new Map([...program.graph.states].map(([ref, type]) => [ref, kept(ref, type)]));

  /** The node that makes real numbers of the integers of a weight. */
  const dequantized = (w: Ref, scheme: WeightScheme, curvature?: () => Curvature): OpNode => {
    if (scheme.bits === 8) {
      const integers = weights.of(w, scheme, 'rows');
      return opNode(ops.dequantize, integers, nameOf.real(integers.q));
    }
    const [, n] = program.graph.weights.get(w)!.shape;
    const integers = weights.of(w, scheme, 'matrix', curvature);
    return opNode(ops.dequantizeI4, integers, nameOf.real(integers.q), { n });
  };

  /** The node on integers where its op has such a form. Any other node gets real inputs. */
  const lowered = (node: OpNode, curvature?: () => Curvature): OpNode => {
    const scheme = weightScheme(recipe, node.role);
    const { x, w, b, tokens } = node.in;
    if (scheme?.rounding === 'gptq' && node.op.name !== ops.linear.name)
      throw new RangeError(
        `quantize: ${w} is a weight of ${node.op.name}; rounding gptq is for those of linear`,
      );
    const xscale = scaleOfSite.get(x);
    if (scheme && xscale && isLinear(node)) {
      const { q, scale } = weights.of(w, scheme, 'matrix', curvature);
      const inputs = { x, xscale, w: q, wscale: scale, b };
      return opNode(scheme.bits === 4 ? ops.linearI4 : ops.linearI8, inputs, node.out.y, {}, node.role);
    }
    if (scheme?.per === 'row' && node.op.name === ops.embedding.name) {
      const { q, scale } = weights.of(w, scheme, 'rows');
      return opNode(ops.embeddingI8, { tokens, w: q, scale }, node.out.y, {}, node.role);
    }
    const realWeight = scheme && addOnce(dequantized(w, scheme, curvature));
    return renamed(node, ref => (realWeight && ref === w ? realWeight : real(ref)));
  };

  for (const node of program.graph.nodes) {
    if (node.kind === 'fused') throw new Error(`quantize: ${node.name} is fused already`);
    if (node.kind === 'site') site(node);
    else {
      const hessian = hessians[node.in.x];
      const reader = renamed(node, ref => alias.get(ref) ?? ref);
      nodes.push(lowered(reader, hessian && once(() => curvatureOf(hessian))));
    }
  }
  const made = new Map([...scales, ...weights.made]);
  const plan = withNodes({ ...program, graph: { ...program.graph, states } }, nodes, made);
  const { result } = plan.graph;
  return { ...plan, graph: { ...plan.graph, result: alias.get(result) ?? result } };
}
