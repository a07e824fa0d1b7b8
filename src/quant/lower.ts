/**
 * From a float program to an integer plan, in two steps, by three rules and no special cases.
 *
 *   1. site    x becomes T x, and then, in `quantize`, integers
 *   2. absorb  a linear that reads the site gets W T⁻¹, offline, and then, in `quantize`, becomes linear-i8
 *   3. undo    any other reader gets the plain tensor back (dequantize, then T⁻¹), through nodes emitted once
 *
 * `transform` keeps the function: what it returns computes the same logits in float. All rounding is in `quantize`.
 */
import {
  type LazyTensor,
  type Node,
  type OpNode,
  opNode,
  overlay,
  type Program,
  type Ref,
  type SiteNode,
  withNodes,
} from '../graph.ts';
import { absmax, absmaxScale, scaleOf } from '../ops/absmax-scale.ts';
import { dequantize } from '../ops/dequantize.ts';
import { embedding } from '../ops/embedding.ts';
import { embeddingI8 } from '../ops/embedding-i8.ts';
import { linear } from '../ops/linear.ts';
import { linearI8 } from '../ops/linear-i8.ts';
import { quantize as quantizeOp } from '../ops/quantize.ts';
import { once } from '../run.ts';
import { type Tensor, tensor } from '../tensor.ts';
import { type Recipe, siteAction, type WeightScheme, weightScheme } from './scheme.ts';
import { smoothingFactors, type Transform, transformOf } from './transforms.ts';

/** What calibration saw. */
export interface Stats {
  /** The largest |x| of each channel, at the sites that smooth. */
  readonly channels: Readonly<Record<Ref, Float32Array>>;
  /** The range of each static site, after its transform. */
  readonly ranges: Readonly<Record<Ref, number>>;
}

const isLinear = (node: Node): node is OpNode => node.kind === 'op' && node.op.name === linear.name;
const renamed = (node: OpNode, from: Ref, to: Ref): OpNode => ({
  ...node,
  in: Object.fromEntries(Object.entries(node.in).map(([key, ref]) => [key, ref === from ? to : ref])),
});

/** Puts every site into its basis. Sites stay in the graph; the function stays the same. */
export function transform(program: Program, recipe: Recipe, channels: Stats['channels'] = {}): Program {
  const made: Record<Ref, LazyTensor> = {};
  const nodes: Node[] = [];
  const undone = new Set<Ref>();
  const turnedSites = new Map<Ref, { readonly t: Transform; readonly factors: Ref }>();
  const f32 = (ref: Ref) => (made[ref] ? made[ref].read() : program.weights.read(ref)) as Tensor<'f32'>;

  for (const node of program.graph.nodes) {
    if (node.kind === 'site') {
      const { basis } = siteAction(recipe, node.site);
      const t = transformOf(basis);
      if (!t) {
        nodes.push(node);
        continue;
      }
      const factors = `${node.out}.factors`;
      if (typeof basis === 'object')
        made[factors] = factorsOf(program, node, basis.smooth, channels[node.out]);
      const turned = `${node.out}.${t.word}`;
      nodes.push(t.apply(node.in, turned, factors), { ...node, in: turned });
      turnedSites.set(node.out, { t, factors });
    } else if (isLinear(node) && turnedSites.has(node.in.x)) {
      const { t, factors } = turnedSites.get(node.in.x)!;
      const w = `${node.in.w}.${t.word}`;
      const needed = t.needsFactors ? factors : undefined;
      made[w] = {
        shape: program.weights.shape(node.in.w),
        read: () => t.fold(f32(node.in.w), needed === undefined ? undefined : f32(needed)),
      };
      nodes.push({ ...node, in: { ...node.in, w } });
    } else if (node.kind === 'op') {
      let reader = node;
      for (const ref of new Set(Object.values(node.in))) {
        const turned = turnedSites.get(ref);
        if (!turned) continue;
        const back = `${ref}.plain`;
        if (!undone.has(ref)) nodes.push(turned.t.undo(ref, back, turned.factors));
        undone.add(ref);
        reader = renamed(reader, ref, back);
      }
      nodes.push(reader);
    } else nodes.push(node);
  }
  const constants = [...program.graph.weights, ...Object.keys(made)];
  return { graph: withNodes(program.graph, nodes, constants), weights: overlay(program.weights, made) };
}

/** SmoothQuant's factors of a site, from the weights of the linears that read it. */
function factorsOf(
  { graph, weights }: Program,
  site: SiteNode,
  alpha: number,
  channels: Float32Array | undefined,
): LazyTensor {
  if (!channels)
    throw new Error(`quantize: no channel statistics for ${site.out}; calibrate with this recipe first`);
  const readers = graph.nodes.filter(isLinear).filter(node => node.in.x === site.out);
  const read = once(() =>
    smoothingFactors(
      channels,
      readers.map(node => weights.read(node.in.w) as Tensor<'f32'>),
      alpha,
    ),
  );
  return { shape: [channels.length], read };
}

/** Rounds: sites and weights to int8 by the recipe's schemes, linears to linear-i8. Returns the plan: no site is left. */
export function quantize(program: Program, recipe: Recipe, ranges: Stats['ranges'] = {}): Program {
  const made: Record<Ref, LazyTensor> = {};
  const nodes: Node[] = [];
  const alias = new Map<Ref, Ref>(); // a site that stays float is its input
  const integers = new Map<Ref, Ref>(); // a quantized site → its scale
  const pairs: Record<Ref, () => ReturnType<typeof quantizeWeight>> = {};

  const emitted = new Set<Ref>();
  const emitOnce = (node: OpNode, name: Ref): Ref => {
    if (!emitted.has(name)) nodes.push(node);
    emitted.add(name);
    return name;
  };
  /** The names of a quantized weight: its integers, and its scales in the shape that the reader wants. */
  const integerWeight = (ref: Ref, scheme: WeightScheme, key: string, shapeOf: (s: number[]) => number[]) => {
    const q = `${ref}.${suffix(scheme)}`;
    const scale = `${q}.${key}`;
    const [rows, columns] = program.weights.shape(ref);
    const shape = shapeOf(scaleShape(scheme, rows, columns));
    const pair = (pairs[q] ??= once(() =>
      quantizeWeight(program.weights.read(ref) as Tensor<'f32'>, scheme),
    ));
    made[q] = { shape: [rows, columns], read: () => pair().q };
    made[scale] = { shape, read: () => tensor(pair().scale.data, shape) };
    return { q, scale };
  };
  const real = (ref: Ref): Ref => {
    const scale = integers.get(ref);
    return scale ? emitOnce(opNode(dequantize, { q: ref, scale }, `${ref}.real`), `${ref}.real`) : ref;
  };

  for (const node of program.graph.nodes) {
    if (node.kind === 'fused') throw new Error(`quantize: ${node.name} is fused already`);
    if (node.kind === 'site') {
      const x = alias.get(node.in) ?? node.in;
      const { quantize: scheme } = siteAction(recipe, node.site);
      if (!scheme) {
        alias.set(node.out, x);
        continue;
      }
      const scale = `${node.out}.scale`;
      if (scheme.when === 'dynamic') nodes.push(opNode(absmaxScale, { x }, scale));
      else made[scale] = staticScale(node.out, ranges);
      nodes.push(opNode(quantizeOp, { x, scale }, node.out));
      integers.set(node.out, scale);
      continue;
    }
    let reader = node;
    for (const [from, to] of alias) reader = renamed(reader, from, to);
    const scheme = weightScheme(recipe, node.role);
    const xscale = integers.get(reader.in.x);
    if (scheme && xscale && isLinear(node)) {
      const w = integerWeight(node.in.w, scheme, 'wscale', s => s);
      const { b } = reader.in;
      const inputs = { x: reader.in.x, xscale, w: w.q, wscale: w.scale, ...(b ? { b } : {}) };
      nodes.push(opNode(linearI8, inputs, node.out.y, {}, node.role));
      continue;
    }
    if (scheme && scheme.per === 'row' && node.op.name === embedding.name) {
      const w = integerWeight(node.in.w, scheme, 'scale', ([rows]) => [rows]);
      nodes.push(
        opNode(embeddingI8, { tokens: node.in.tokens, w: w.q, scale: w.scale }, node.out.y, {}, node.role),
      );
      continue;
    }
    if (scheme) {
      if (typeof scheme.per === 'object')
        throw new Error(`quantize: ${node.in.w} is read by ${node.op.name}, which has no per-group form`);
      const w = integerWeight(node.in.w, scheme, 'scale', ([rows]) => [rows]);
      reader = renamed(
        reader,
        node.in.w,
        emitOnce(opNode(dequantize, w, `${node.in.w}.real`), `${node.in.w}.real`),
      );
    }
    for (const ref of new Set(Object.values(reader.in))) reader = renamed(reader, ref, real(ref));
    nodes.push(reader);
  }
  const result = alias.get(program.graph.result) ?? program.graph.result;
  const constants = [...program.graph.weights, ...Object.keys(made)];
  const graph = { ...withNodes(program.graph, nodes, constants), result };
  return { graph, weights: overlay(program.weights, made) };
}

function staticScale(site: Ref, ranges: Stats['ranges']): LazyTensor {
  const range = ranges[site];
  if (range === undefined)
    throw new Error(`quantize: no range for ${site}; calibrate with this recipe first`);
  return { shape: [1], read: () => tensor(Float32Array.of(scaleOf(range))) };
}

/** `i8`, `i8-rows`, `i8-groups-of-128`: one weight may be read under two schemes. */
const suffix = ({ per }: WeightScheme): string =>
  per === 'tensor' ? 'i8' : per === 'row' ? 'i8-rows' : `i8-groups-of-${per.group}`;

/** Scales [p, g]: one for the tensor, one for each row, or one for each row and group of columns. */
function scaleShape({ per }: WeightScheme, rows: number, columns: number): [number, number] {
  if (per === 'tensor') return [1, 1];
  if (per === 'row') return [rows, 1];
  if (columns % per.group !== 0)
    throw new RangeError(`quantize: groups of ${per.group} do not divide ${columns} columns`);
  return [rows, columns / per.group];
}

/**
 * A weight f32[o, i] as integers and scales f32[p, g]: absmax of each part / 127, no clipping.
 *
 * Source: Quamba §3.
 */
export function quantizeWeight(
  w: Tensor<'f32'>,
  scheme: WeightScheme,
): { q: Tensor<'i8'>; scale: Tensor<'f32'> } {
  const [rows, columns] = w.shape;
  const [p, g] = scaleShape(scheme, rows, columns);
  const part = w.data.length / (p * g); // parts are contiguous: the tensor, a row, a group of a row
  const parts = Array.from({ length: p * g }, (_, i) => w.data.subarray(i * part, (i + 1) * part));
  const scale = Float32Array.from(parts, values => scaleOf(absmax(values)));
  const x = tensor(w.data, [p * g, part]);
  const { q } = quantizeOp({ x, scale });
  return { q: { ...q, shape: w.shape }, scale: tensor(scale, [p, g]) };
}
