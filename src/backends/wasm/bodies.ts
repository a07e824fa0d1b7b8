/** What a rule of fused.ts asks of the body of a fused node: where its inputs come from, and where its results go. */
import type { OpNode, Ref } from '../../graph.ts';
import { type Call, type Input, real, type Scale } from './call.ts';
import type { Address } from './operands.ts';
import { vector } from './pack.ts';

/** A fused node's body. */
export interface Body {
  readonly nodes: readonly OpNode[];
  callOf(node: OpNode): Call;
  /** Whether anybody outside of the body needs a value that it makes. */
  isOutput(ref: Ref): boolean;
}

/** The body's only node of an op. */
export function the(name: string, { nodes }: Body): OpNode | undefined {
  const found = nodes.filter(node => node.op.name === name);
  return found.length === 1 ? found[0] : undefined;
}

/** Where a quantize node's results go. A scaleStride that is not 0: the kernel is to measure the scale of each row. */
interface Target extends Scale {
  readonly q: Address;
}
/** Columns of a result up to `end`, by what they are divided first, and where they go. */
export interface Segment extends Target {
  readonly end: number;
  readonly channels: Address;
}

/**
 * The quantize nodes that take all columns of what the anchor writes, in their order: whole or in slices, each perhaps divided by
 * channel. Undefined where something else reads it too. `before`: the other nodes of the body.
 */
export function segmentsOf(
  anchor: OpNode,
  columns: number,
  body: Body,
  before: readonly OpNode[] = [],
): readonly Segment[] | undefined {
  const y = anchor.out.y;
  const rest = body.nodes.filter(node => node !== anchor && !before.includes(node));
  const named = (name: string) =>
    new Map(rest.flatMap(node => (node.op.name === name ? [[node.out.y, node] as const] : [])));
  const [slices, dividers] = [named('slice'), named('scale-channels')];
  const measures = rest.filter(node => node.op.name === 'absmax-scale');
  const segments: Segment[] = [];
  let begin = 0;
  for (const node of rest) {
    if (slices.has(node.out.y) || dividers.has(node.out.y) || measures.includes(node)) continue;
    const target = node.op.name === 'quantize' ? targetOf(node, body) : undefined;
    if (!target) return undefined;
    const divider = dividers.get(node.in.x);
    if (divider && !body.callOf(divider).attrs.inverse) return undefined;
    const slice = slices.get((divider ?? node).in.x);
    const { start, size } = slice ? body.callOf(slice).attrs : { start: 0, size: columns };
    if ((slice ?? divider ?? node).in.x !== y || start !== begin) return undefined;
    begin += size as number;
    const channels = divider ? body.callOf(divider).weight('c', vector) : 0;
    segments.push({ ...target, end: begin, channels });
  }
  const values = [y, ...slices.keys(), ...dividers.keys()];
  const isWhole =
    begin === columns &&
    segments.filter(isMeasured).length === measures.length &&
    segments.filter(({ channels }) => channels !== 0).length === dividers.size;
  return isWhole && !values.some(ref => body.isOutput(ref)) ? segments : undefined;
}

export const isMeasured = ({ scaleStride }: Scale): boolean => scaleStride > 0;

/** Undefined where the scales are of each row, but not made in this body, from what is quantized. */
export function targetOf(quantize: OpNode, body: Body): Target | undefined {
  const { scale, value } = body.callOf(quantize);
  const target = { ...scale('scale'), q: value('q') };
  const isMade = body.nodes.some(
    ({ op, in: { x }, out }) =>
      op.name === 'absmax-scale' && x === quantize.in.x && out.scale === quantize.in.scale,
  );
  return isMade || !isMeasured(target) ? target : undefined;
}

/** An input of the anchor, and the nodes of the body that make it: dequantize, perhaps with channels behind it. */
interface Source {
  readonly input: Input;
  readonly nodes: readonly OpNode[];
}

/** Undefined where the body makes it in another way, or somebody else reads what is between. */
export function sourceOf(anchor: OpNode, key: string, body: Body): Source | undefined {
  const producer = (ref: Ref) => body.nodes.find(node => Object.values(node.out).includes(ref));
  const last = producer(anchor.in[key]);
  if (!last) return { input: real(body.callOf(anchor).value(key)), nodes: [] };
  const isScaled = last.op.name === 'scale-channels';
  const first = isScaled ? producer(last.in.x) : last;
  if (first?.op.name !== 'dequantize' || (isScaled && body.callOf(last).attrs.inverse)) return undefined;
  const nodes = isScaled ? [first, last] : [first];
  if (nodes.some(node => Object.values(node.out).some(ref => body.isOutput(ref)))) return undefined;
  const { value, scale } = body.callOf(first);
  const channels = isScaled ? body.callOf(last).weight('c', vector) : 0;
  return { input: { x: value('q'), scale: scale('scale'), channels }, nodes };
}

/** The inputs of the anchor by these keys, and the nodes of the body that make them; undefined where one has no source. */
export function sourcesOf<K extends string>(anchor: OpNode, keys: readonly K[], body: Body) {
  const found = keys.map(key => [key, sourceOf(anchor, key, body)] as const);
  if (found.some(([, source]) => !source)) return undefined;
  return {
    inputs: Object.fromEntries(found.map(([key, source]) => [key, source!.input])) as Record<K, Input>,
    nodes: [...new Set(found.flatMap(([, source]) => source!.nodes))],
  };
}
