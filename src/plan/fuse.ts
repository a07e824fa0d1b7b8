/**
 * Groups the nodes of a plan that a backend can run as one. Plan → plan, and the same bits by construction: a fused node
 * *is* the list of base nodes that it replaces.
 *
 * Each pattern grows from an anchor op: backwards over producers that nobody else needs, forwards over readers.
 */
import type { FusedNode, Node, OpNode, Program, Ref } from '../graph.ts';
import { flatten, reads, writes } from '../graph.ts';

interface Pattern {
  readonly name: string;
  readonly anchor: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/* biome-ignore format: a table */
export const patterns: readonly Pattern[] = [
  { name: 'add-norm-quantize', anchor: 'rms-norm',       before: ['add'],                    after: ['absmax-scale', 'quantize'] },
  { name: 'gemm-i8-quantize',  anchor: 'linear-i8',      before: [],                         after: ['slice', 'scale-channels', 'absmax-scale', 'quantize'] },
  { name: 'gemm-i4-quantize',  anchor: 'linear-i4',      before: [],                         after: ['slice', 'scale-channels', 'absmax-scale', 'quantize'] },
  { name: 'causal-conv1d-i8',  anchor: 'causal-conv1d',  before: ['dequantize', 'scale-channels'], after: ['slice', 'scale-channels', 'absmax-scale', 'quantize'] },
  { name: 'selective-scan-i8', anchor: 'selective-scan', before: ['dequantize', 'scale-channels', 'softplus'], after: [] },
  { name: 'ssd-scan-i8',       anchor: 'ssd-scan',       before: ['dequantize', 'scale-channels'], after: [] },
  { name: 'gated-norm-i8',     anchor: 'gated-rms-norm', before: ['dequantize', 'scale-channels'], after: ['absmax-scale', 'quantize'] },
  { name: 'swiglu-quantize',   anchor: 'swiglu',         before: ['slice'],                  after: ['fwht', 'absmax-scale', 'quantize'] },
  { name: 'fwht-quantize',     anchor: 'fwht',           before: [],                         after: ['absmax-scale', 'quantize'] },
];

/** A group that converts nothing has nothing to gain: what a fused kernel saves is f32 values in memory. */
const CONVERSIONS = ['quantize', 'dequantize'];

/** Several times what a model's groups have; a graph that was made to have longer ones gets this much of them. */
export const MOST_IN_GROUP = 64;

/** The plan with the nodes of every pattern grouped. A group stands where its anchor stood. */
export function fuse({ graph, weights }: Program): Program {
  const nodes = flatten(graph.nodes);
  const position = new Map(nodes.map((node, i) => [node, i]));
  const producer = new Map(nodes.flatMap(node => writes(node).map(ref => [ref, node] as const)));
  const readers = new Map<Ref, OpNode[]>();
  for (const node of nodes)
    for (const ref of reads(node)) readers.set(ref, [...(readers.get(ref) ?? []), node]);
  const constants = new Set(graph.weights.keys());
  const grouped = new Set<OpNode>();

  /** The anchor's group: what it may take along without any value being read before it is written. */
  const grow = (anchor: OpNode, { before, after }: Pattern): ReadonlySet<OpNode> => {
    const members = new Set([anchor]);
    const isLater = (node: OpNode) => position.get(node)! > position.get(anchor)!;
    const join = (node: OpNode | undefined, words: readonly string[], fits: (node: OpNode) => boolean) => {
      if (!node || members.has(node) || grouped.has(node) || members.size === MOST_IN_GROUP) return;
      if (!words.includes(node.op.name) || !fits(node)) return;
      members.add(node);
      visit(node);
    };
    /** A producer may sink to the anchor when everyone else who reads it comes later. */
    const mayWait = (node: OpNode) =>
      !reads(node).every(ref => constants.has(ref)) && // a constant: computed once, when the plan is prepared
      writes(node).every(ref => readers.get(ref)!.every(reader => members.has(reader) || isLater(reader)));
    /** A reader may rise to the anchor when it needs nothing else. */
    const mayComeEarly = (node: OpNode) =>
      reads(node).every(ref => constants.has(ref) || members.has(producer.get(ref)!));
    const visit = (node: OpNode): void => {
      for (const ref of reads(node)) join(producer.get(ref), before, mayWait);
      for (const ref of writes(node))
        for (const reader of readers.get(ref) ?? []) join(reader, after, mayComeEarly);
    };
    visit(anchor);
    return members;
  };

  const fused = new Map<OpNode, FusedNode>(); // by anchor
  for (const anchor of nodes) {
    const pattern = patterns.find(p => p.anchor === anchor.op.name);
    if (!pattern || grouped.has(anchor)) continue;
    const members = grow(anchor, pattern);
    if (![...members].some(({ op }) => CONVERSIONS.includes(op.name))) continue;
    for (const member of members) grouped.add(member);
    const body = [...members].sort((a, b) => position.get(a)! - position.get(b)!);
    fused.set(anchor, { kind: 'fused', name: pattern.name, body });
  }
  const grown = nodes.flatMap((node): Node | [] => fused.get(node) ?? (grouped.has(node) ? [] : node));
  return { graph: { ...graph, nodes: grown }, weights };
}

/** The plan with its fused nodes taken apart again. */
export const unfuse = ({ graph, weights }: Program): Program => ({
  graph: { ...graph, nodes: flatten(graph.nodes) },
  weights,
});
