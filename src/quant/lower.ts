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
  type LazyTensor,
  type Node,
  type OpNode,
  opNode,
  type Program,
  type Ref,
  type SiteNode,
  withNodes,
} from '../graph.ts';
import { once } from '../once.ts';
import { absmaxScale, scaleOf } from '../ops/absmax-scale.ts';
import { dequantize } from '../ops/dequantize.ts';
import { dequantizeI4 } from '../ops/dequantize-i4.ts';
import { embedding } from '../ops/embedding.ts';
import { embeddingI8 } from '../ops/embedding-i8.ts';
import { linear } from '../ops/linear.ts';
import { linearI4 } from '../ops/linear-i4.ts';
import { linearI8 } from '../ops/linear-i8.ts';
import { quantize as quantizeOp } from '../ops/quantize.ts';
import type { StateType } from '../state.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Curvature, curvatureOf } from './gptq.ts';
import { nameOf } from './names.ts';
import { renamed, rotateResidual } from './residual.ts';
import { type Recipe, siteAction, stateScheme, weightScheme } from './scheme.ts';
import type { Stats } from './stats.ts';
import { type Transform, transformOf } from './transforms.ts';
import { integerWeights } from './weights.ts';

const isLinear = (node: Node): node is OpNode => node.kind === 'op' && node.op.name === linear.name;

/** The program with its residual stream in the recipe's basis. */
export const withResidual = (program: Program, { residual }: Recipe): Program =>
  residual ? rotateResidual(program) : program;

/** Puts the residual stream and every site into its basis. Sites stay in the graph; the function stays the same. */
export function transform(given: Program, recipe: Recipe, channels: Stats['channels'] = {}): Program {
  const program = withResidual(given, recipe);
  const made = new Map<Ref, LazyTensor>();
  const nodes: Node[] = [];
  const undone = new Set<Ref>();
  const turnedSites = new Map<Ref, { readonly t: Transform; readonly factors: Ref }>();
  const f32 = (ref: Ref) =>
    (made.get(ref) ?? { read: () => program.weights.read(ref) }).read() as Tensor<'f32'>;

  for (const node of program.graph.nodes) {
    if (node.kind === 'site') {
      const { basis } = siteAction(recipe, node.site);
      const t = transformOf(basis);
      if (!t) {
        nodes.push(node);
        continue;
      }
      const factors = nameOf.factors(node.out);
      if (t.factors) made.set(factors, factorsOf(program, node, t.factors, channels[node.out]));
      const turned = nameOf.inBasis(node.out, t.word);
      nodes.push(t.apply(node.in, turned, factors), { ...node, in: turned });
      turnedSites.set(node.out, { t, factors });
    } else if (isLinear(node) && turnedSites.has(node.in.x)) {
      const { t, factors } = turnedSites.get(node.in.x)!;
      const w = nameOf.inBasis(node.in.w, t.word);
      const needed = t.factors ? factors : undefined;
      const read = () => t.fold(f32(node.in.w), needed === undefined ? undefined : f32(needed));
      made.set(w, { ...program.graph.weights.get(node.in.w)!, read });
      nodes.push({ ...node, in: { ...node.in, w } });
    } else if (node.kind === 'op') {
      let reader = node;
      for (const ref of new Set(Object.values(node.in))) {
        const turned = turnedSites.get(ref);
        if (!turned) continue;
        const back = nameOf.plain(ref);
        if (!undone.has(ref)) nodes.push(turned.t.undo(ref, back, turned.factors));
        undone.add(ref);
        reader = renamed(reader, ref, back);
      }
      nodes.push(reader);
    } else nodes.push(node);
  }
  return withNodes(program, nodes, made);
}

/** The factors of a site, from the largest |x| of its channels and the weights of the linears that read it. */
function factorsOf(
  { graph, weights }: Program,
  site: SiteNode,
  make: NonNullable<Transform['factors']>,
  channels: Float32Array | undefined,
): LazyTensor {
  if (!channels)
    throw new Error(`quantize: no channel statistics for ${site.out}; calibrate with this recipe first`);
  const readers = graph.nodes.filter(isLinear).filter(node => node.in.x === site.out);
  const read = () => readers.map(node => weights.read(node.in.w) as Tensor<'f32'>);
  return { dtype: 'f32', shape: [channels.length], read: once(() => make(channels, read())) };
}

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
  const emitted = new Set<Ref>();

  const emitOnce = (node: OpNode): Ref => {
    const [name] = Object.values(node.out);
    if (!emitted.has(name)) nodes.push(node);
    emitted.add(name);
    return name;
  };
  const real = (ref: Ref): Ref => {
    const scale = scaleOfSite.get(ref);
    return scale ? emitOnce(opNode(dequantize, { q: ref, scale }, nameOf.real(ref))) : ref;
  };

  const site = (node: SiteNode): void => {
    const x = alias.get(node.in) ?? node.in;
    const { quantize: scheme } = siteAction(recipe, node.site);
    if (!scheme) {
      alias.set(node.out, x);
      return;
    }
    const scale = nameOf.scale(node.out);
    if (scheme.when === 'dynamic') nodes.push(opNode(absmaxScale, { x }, scale));
    else scales.set(scale, staticScale(node.out, ranges));
    nodes.push(opNode(quantizeOp, { x, scale }, node.out));
    scaleOfSite.set(node.out, scale);
  };

  /** A state as the recipe keeps it. */
  const kept = (ref: Ref, type: StateType): StateType => {
    const scheme = stateScheme(recipe, ref);
    if (!scheme) return type;
    if (scheme.bits === 16) return { dtype: 'f16', shape: type.shape };
    const scale = nameOf.scale(ref);
    scales.set(scale, stateScales(ref, channels[ref]));
    return { dtype: 'i8', shape: type.shape, scale };
  };
  const states = new Map([...program.graph.states].map(([ref, type]) => [ref, kept(ref, type)]));

  /** The node on integers where its op has such a form. Any other node gets real inputs. */
  const lowered = (node: OpNode, curvature?: () => Curvature): OpNode => {
    const scheme = weightScheme(recipe, node.role);
    const { x, w, b, tokens } = node.in;
    const xscale = scaleOfSite.get(x);
    if (scheme && xscale && isLinear(node)) {
      const { q, scale } = weights.of(w, scheme, 'matrix', curvature);
      const inputs = { x, xscale, w: q, wscale: scale, ...(b ? { b } : {}) };
      return opNode(scheme.bits === 4 ? linearI4 : linearI8, inputs, node.out.y, {}, node.role);
    }
    if (scheme?.per === 'row' && node.op.name === embedding.name) {
      const { q, scale } = weights.of(w, scheme, 'rows');
      return opNode(embeddingI8, { tokens, w: q, scale }, node.out.y, {}, node.role);
    }
    let reader = node;
    if (scheme) {
      const [, n] = program.graph.weights.get(w)!.shape;
      const integers = weights.of(w, scheme, scheme.bits === 4 ? 'matrix' : 'rows', curvature);
      const name = nameOf.real(integers.q);
      const made =
        scheme.bits === 4 ? opNode(dequantizeI4, integers, name, { n }) : opNode(dequantize, integers, name);
      reader = renamed(reader, w, emitOnce(made));
    }
    for (const ref of new Set(Object.values(node.in))) reader = renamed(reader, ref, real(ref));
    return reader;
  };

  for (const node of program.graph.nodes) {
    if (node.kind === 'fused') throw new Error(`quantize: ${node.name} is fused already`);
    if (node.kind === 'site') site(node);
    else {
      const hessian = hessians[node.in.x];
      const reader = [...alias].reduce((each, [from, to]) => renamed(each, from, to), node);
      nodes.push(lowered(reader, hessian && once(() => curvatureOf(hessian))));
    }
  }
  const made = new Map([...scales, ...weights.made]);
  const plan = withNodes({ ...program, graph: { ...program.graph, states } }, nodes, made);
  const { result } = plan.graph;
  return { ...plan, graph: { ...plan.graph, result: alias.get(result) ?? result } };
}

function stateScales(state: Ref, channels: Float32Array | undefined): LazyTensor {
  if (!channels)
    throw new Error(`quantize: no channel statistics for ${state}; calibrate with this recipe first`);
  return { dtype: 'f32', shape: [channels.length], read: () => tensor(channels.map(scaleOf)) };
}

function staticScale(site: Ref, ranges: Stats['ranges']): LazyTensor {
  const range = ranges[site];
  if (range === undefined)
    throw new Error(`quantize: no range for ${site}; calibrate with this recipe first`);
  return { dtype: 'f32', shape: [1], read: () => tensor(Float32Array.of(scaleOf(range))) };
}
