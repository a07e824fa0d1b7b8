/**
 * From a float program to an integer plan, in two steps, by three rules and no special cases.
 *
 *   1. site    x becomes T x, and then, in `quantize`, integers
 *   2. absorb  a linear that reads the site gets W T⁻¹, offline, and then, in `quantize`, becomes linear-i8
 *   3. undo    any other reader gets the plain tensor back (dequantize, then T⁻¹), through nodes emitted once
 *
 * `transform` keeps the function: the program that it returns computes the same logits in float. All rounding is in `quantize`.
 */
import { number, object } from '../formats/json.ts';
import {
  addOnceTo,
  flatten,
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
import { nameOf as nameOfNode } from '../plan/types.ts';
import type { StateType } from '../state.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Curvature, curvatureOf } from './gptq.ts';
import { weightSchemes } from './layers.ts';
import { nameOf } from './names.ts';
import { foldNormWeights } from './norm-weight.ts';
import { rotateResidual } from './residual.ts';
import { unrotatable } from './rotations.ts';
import {
  checkWords,
  type Recipe,
  sameRecipe,
  siteAction,
  stateScheme,
  type WeightScheme,
  wordOf,
} from './scheme.ts';
import type { Stats } from './stats.ts';
import { type Transform, transformOf } from './transforms.ts';
import { integerWeights } from './weights.ts';

const isLinear = (node: Node): node is OpNode => node.kind === 'op' && node.op.name === ops.linear.name;

/** A program as it was traced: what `calibrate` and `transform` take. */
export type Traced = Program & { readonly recipe?: never };
/** A program whose residual stream and sites are in the bases of its recipe: what `quantize` takes. */
export interface Transformed extends Program {
  readonly recipe: Recipe;
}

/**
 * @throws Error for a program that a stage has changed already: it would be changed, or measured, a second time. TypeError for no
 * recipe, such as its name. RangeError where the recipe speaks of what the program does not have.
 */
export function checkTraced(where: string, { graph, recipe: done }: Traced, recipe: Recipe): void {
  object(recipe, `${where}: recipe`);
  const stage = done ? 'transform' : graph.nodes.some(node => node.kind === 'fused') ? 'fuse' : undefined;
  if (stage) throw new Error(`${where}: expected a program as it was traced; got one that ${stage} returned`);
  const sites = [...new Set(graph.nodes.flatMap(node => (node.kind === 'site' ? node.site : [])))];
  const roles = [...new Set(flatten(graph.nodes).flatMap(({ role }) => role || []))];
  const states = [...new Set([...graph.states.keys()].map(wordOf))];
  checkWords(recipe, { name: 'the program', sites, roles, states });
  if (recipe.acts && !sites.some(word => siteAction({ acts: recipe.acts }, word).quantize))
    throw new RangeError(
      `recipe.acts: the program has no site of a block; it has ${sites.join(', ') || 'none'}`,
    );
  for (const [ref, { shape }] of graph.states) {
    const { bits, when } = stateScheme(recipe, ref) ?? {};
    if (bits === 8 && when !== 'dynamic' && shape.includes('t'))
      throw new RangeError(
        `recipe.states.${wordOf(ref)}.when expected dynamic (it grows with the text, and has no steps that are known before); got static`,
      );
  }
  const found = unrotatable(graph, recipe);
  if (found)
    throw new RangeError(
      `${where}: the recipe rotates ${found.what}, and ${found.size} has no Hadamard matrix (${ops.fwht.constraints.C1[0]})`,
    );
}

/** The program with its residual stream in the recipe's basis. */
export const withResidual = (program: Program, { residual }: Recipe): Program =>
  residual ? rotateResidual(program) : program;

/**
 * Puts the residual stream and every site into its basis. Sites stay in the graph; the function stays the same.
 *
 * @param channels what `calibrate` saw with this recipe: `stats.channels`.
 * @throws Error for a program that was transformed or fused already, or where the recipe needs statistics of channels. RangeError
 * where the recipe speaks of what the program does not have, or rotates a size without a Hadamard matrix.
 */
export function transform(given: Traced, recipe: Recipe, channels: Stats['channels'] = {}): Transformed {
  checkTraced('transform', given, recipe);
  const program = foldNormWeights(withResidual(given, recipe), recipe);
  const made = new Map<Ref, LazyTensor>();
  const nodes: Node[] = [];
  const addOnce = addOnceTo(nodes);
  const inBasis = new Map<Ref, { readonly basis: Transform; readonly factors: Ref }>(); // by site
  const f32 = (ref: Ref) => (made.get(ref)?.read() ?? program.weights.read(ref)) as Tensor<'f32'>;
  /** A linear that can take the inverse of the basis into its weight, because that is a constant. */
  const absorbs = (node: OpNode): boolean =>
    isLinear(node) && inBasis.has(node.in.x) && program.graph.weights.has(node.in.w);
  const foldedAt = new Map<Ref, Ref>(); // a weight in a basis → the site whose basis it is
  /** Its name. A weight that is read at several sites is folded once for each: their factors differ. */
  const foldedName = (w: Ref, word: string, site: Ref): Ref => {
    const name = nameOf.inBasis(w, word);
    const at = foldedAt.get(name) ?? site;
    foldedAt.set(name, at);
    return at === site ? name : nameOf.inBasis(name, site);
  };
  /** From the largest |x| of the channels of a site, and the weights of the linears that read it. */
  const factorsOf = (site: Ref, make: NonNullable<Transform['factors']>): LazyTensor => {
    const largest = seen('channel statistics', channels, site);
    const readers = program.graph.nodes
      .filter(isLinear)
      .filter(node => node.in.x === site && program.graph.weights.has(node.in.w));
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
      nodes.push(basis.apply(plain(node.in), x, factors), { ...node, in: x });
      inBasis.set(node.out, { basis, factors });
    } else if (node.kind === 'site') nodes.push({ ...node, in: plain(node.in) });
    else if (node.kind === 'op' && absorbs(node)) {
      const site = inBasis.get(node.in.x)!;
      const w = foldedName(node.in.w, site.basis.word, node.in.x);
      const read = () => site.basis.fold(f32(node.in.w), site.basis.factors && f32(site.factors));
      made.set(w, { ...program.graph.weights.get(node.in.w)!, read });
      nodes.push({ ...node, in: { ...node.in, w } });
    } else nodes.push(node.kind === 'op' ? renamed(node, plain) : node);
  }
  const result = plain(program.graph.result);
  return { ...withNodes({ ...program, graph: { ...program.graph, result } }, nodes, made), recipe };
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

/**
 * Rounds: sites and weights to integers by the schemes of the program's recipe. Returns the plan: no site is left.
 *
 * @throws Error for a program that `transform` did not return, or where the recipe needs statistics that are not there.
 */
export function quantize(
  program: Transformed,
  { channels = {}, ranges = {}, hessians = {}, recipe: calibrated }: Partial<Stats> = {},
): Program {
  const { recipe } = program;
  if (!recipe) throw new Error('quantize: expected the program that transform returned; got another one');
  if (calibrated && !sameRecipe(calibrated, recipe))
    throw new Error('quantize: the statistics are of another recipe; calibrate with this recipe first');
  const weights = integerWeights(program);
  const schemeOf = weightSchemes(program.graph, recipe);
  const scales = new Map<Ref, LazyTensor>(); // the scales of static sites and of states
  const nodes: Node[] = [];
  const alias = new Map<Ref, Ref>(); // a site that stays float → its input
  const scaleOfSite = new Map<Ref, Ref>(); // a quantized site → its scale
  const addOnce = addOnceTo(nodes);
  const real = (ref: Ref): Ref => {
    const scale = scaleOfSite.get(ref);
    return scale ? addOnce(opNode(ops.dequantize, { q: ref, scale }, nameOf.real(ref))) : ref;
  };

  const rangeOf = (ref: Ref): number =>
    number(
      seen('range', ranges, ref),
      `quantize: range of ${ref}`,
      'a finite number >= 0',
      range => range >= 0 && range < Infinity,
    );

  const site = (node: SiteNode): void => {
    const x = real(alias.get(node.in) ?? node.in);
    const { quantize: scheme } = siteAction(recipe, node.site);
    if (!scheme) {
      alias.set(node.out, x);
      return;
    }
    const scale = nameOf.scale(node.out);
    if (scheme.when === 'dynamic') nodes.push(opNode(ops.absmaxScale, { x }, scale));
    else scales.set(scale, scalesOf([rangeOf(node.out)]));
    nodes.push(opNode(ops.quantize, { x, scale }, node.out));
    scaleOfSite.set(node.out, scale);
  };

  /** A state as the recipe keeps it. */
  const kept = (ref: Ref, type: StateType): StateType => {
    const scheme = stateScheme(recipe, ref);
    if (!scheme) return type;
    if (scheme.bits === 16) return { dtype: 'f16', shape: type.shape };
    if (scheme.when === 'dynamic') return { dtype: 'i8-dynamic', shape: type.shape };
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
    const scheme = schemeOf(node);
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

  const sites = new Set(program.graph.nodes.flatMap(node => (node.kind === 'site' ? node.out : [])));
  for (const node of program.graph.nodes) {
    if (node.kind === 'fused') throw new Error(`quantize: ${node.name} is fused already`);
    if (node.kind === 'site') site(node);
    else {
      if (isLinear(node) && schemeOf(node)?.rounding === 'gptq' && !sites.has(node.in.x))
        throw new Error(
          `quantize: GPTQ cannot round ${node.in.w}, because what ${nameOfNode(node)} reads is no site`,
        );
      const hessian = hessians[node.in.x];
      const reader = renamed(node, ref => alias.get(ref) ?? ref);
      nodes.push(lowered(reader, hessian && once(() => curvatureOf(hessian))));
    }
  }
  const result = real(alias.get(program.graph.result) ?? program.graph.result);
  const made = new Map([...scales, ...weights.made]);
  return withNodes({ ...program, graph: { ...program.graph, states, result } }, nodes, made);
}
