/**
 * A plan's graph as JSON and back: ops by name, so that any program that has the ops can run the plan.
 *
 *   { input, result, states: { ref: { type: 'i8[d, n]', scale?: ref } }, weights: { ref: 'f32[768]' },
 *     nodes: [ { op, in: { name: ref }, states?: { name: ref }, out: { name: ref }, attrs?, role? } | { fused, body: [ … ] } ] }
 *
 * The type of a state is how it is kept and its shape, in which `t` stands for the tokens fed so far.
 */
import { array, type JsonObject, object, show, string, unexpected } from '../formats/json.ts';
import type { Graph, Node, OpNode, Ref, Refs } from '../graph.ts';
import { reads, statesOf, writes } from '../graph.ts';
import type { AnyOp, Attrs } from '../op.ts';
import { ops } from '../ops/index.ts';
import type { StateType } from '../state.ts';
import { type DType, describe, sizeOf, type TensorType } from '../tensor.ts';

/** More than any model has: a state of the largest Mamba holds 131072. What a file asks for beyond that is not allocated. */
const MOST_STATE = 1 << 24;

const byName = new Map<string, AnyOp>(Object.values(ops).map(op => [op.name, op as AnyOp]));

/** @throws Error for a graph that still has sites: those have no meaning outside of this process. */
export function graphToJson(graph: Graph): unknown {
  const nodeToJson = (node: Node): unknown => {
    if (node.kind === 'site') throw new Error(`plan: ${node.out} is a site; quantize the program first`);
    if (node.kind === 'fused') return { fused: node.name, body: node.body.map(nodeToJson) };
    const { op, in: inputs, states, out, attrs, role } = node;
    return {
      op: op.name,
      in: inputs,
      ...(Object.keys(states).length ? { states } : {}),
      out,
      ...(Object.keys(attrs).length ? { attrs } : {}),
      ...(role ? { role } : {}),
    };
  };
  const { input, result } = graph;
  const stateToJson = ({ dtype, shape, scale }: StateType) => ({
    type: `${dtype}[${shape.join(', ')}]`,
    ...(scale !== undefined && { scale }),
  });
  const states = Object.fromEntries([...graph.states].map(([ref, type]) => [ref, stateToJson(type)]));
  const weights = Object.fromEntries([...graph.weights].map(([ref, type]) => [ref, describe(type)]));
  return { input, result, states, weights, nodes: graph.nodes.map(nodeToJson) };
}

/** @throws TypeError naming the node and field that is wrong, or the name that nothing defines. */
export function graphFromJson(json: unknown, where: string): Graph {
  const graph = object(json, where);
  const result = {
    input: string(graph.input, `${where}.input`),
    result: string(graph.result, `${where}.result`),
    states: typesFromJson(graph.states, `${where}.states`, stateType),
    weights: typesFromJson(graph.weights, `${where}.weights`, tensorType),
    nodes: array(graph.nodes, `${where}.nodes`).map((node, i) => nodeFromJson(node, `${where}.nodes[${i}]`)),
  };
  const known = new Set<Ref>([result.input, ...result.weights.keys()]);
  for (const [i, node] of result.nodes.entries()) {
    const unknown = reads(node).find(ref => !known.has(ref));
    if (unknown !== undefined) throw new TypeError(`${where}.nodes[${i}]: nothing defines ${show(unknown)}`);
    const stateless = statesOf(node).find(ref => !result.states.has(ref));
    if (stateless !== undefined)
      throw new TypeError(`${where}.nodes[${i}]: there is no state ${show(stateless)}`);
    for (const ref of writes(node)) known.add(ref);
  }
  if (!known.has(result.result))
    throw new TypeError(`${where}.result: nothing defines ${show(result.result)}`);
  return result;
}

function typesFromJson<T>(json: unknown, where: string, read: (type: unknown, where: string) => T) {
  const types = Object.entries(object(json, where));
  return new Map(types.map(([ref, type]) => [ref, read(type, `${where}[${show(ref)}]`)]));
}

function nodeFromJson(json: unknown, where: string): Node {
  const node = object(json, where);
  if (node.fused === undefined) return opFromJson(node, where);
  const body = array(node.body, `${where}.body`).map((inner, i) =>
    opFromJson(object(inner, `${where}.body[${i}]`), `${where}.body[${i}]`),
  );
  if (body.length === 0) unexpected(`${where}.body`, 'at least one node', body);
  return { kind: 'fused', name: string(node.fused, `${where}.fused`), body };
}

function opFromJson(node: JsonObject, where: string): OpNode {
  const name = string(node.op, `${where}.op`);
  const op = byName.get(name);
  if (!op)
    throw new TypeError(`${where}.op: no op ${show(name)}; this plan was made by another version of quamba`);
  const inputs = refs(node.in, `${where}.in`, op.inputs, 'value');
  const out = refs(node.out, `${where}.out`, op.outputs, 'value');
  const states = refs(node.states ?? {}, `${where}.states`, op.states, 'state');
  const attrs = object(node.attrs ?? {}, `${where}.attrs`);
  for (const key in attrs)
    if (!Object.hasOwn(op.attrs, key) || typeof attrs[key] !== typeof op.attrs[key])
      unexpected(`${where}.attrs[${show(key)}]`, `an attribute of ${name}`, attrs[key]);
  const role = string(node.role ?? '', `${where}.role`);
  return { kind: 'op', op, in: inputs, states, out, attrs: attrs as Attrs, role };
}

/** Names for what an op declares: for all of it but what may be left out, and for nothing else. */
function refs(json: unknown, where: string, declared: Refs, kind: 'value' | 'state'): Refs {
  const found = object(json, where, Object.keys(declared));
  for (const key of Object.keys(found)) string(found[key], `${where}.${key}`);
  for (const key in declared)
    if (!declared[key].endsWith('?') && !(key in found))
      unexpected(`${where}.${key}`, `the name of a ${kind}`, undefined);
  return found as Refs;
}

function tensorType(json: unknown, where: string): TensorType {
  const [, dtype, sizes] = /^(f32|i8|i32)\[(\d+(?:, \d+)*)\]$/.exec(string(json, where)) ?? [];
  const shape = sizes?.split(', ').map(Number) ?? [];
  if (!sizes || !shape.every(size => Number.isSafeInteger(size) && size > 0))
    unexpected(where, 'a type such as f32[1536, 16]', json);
  return { dtype: dtype as DType, shape };
}

function stateType(json: unknown, where: string): StateType {
  const { type, scale } = object(json, where);
  const [, dtype, sizes] =
    /^(f32|f16|i8)\[((?:t|\d+)(?:, \d+)*)\]$/.exec(string(type, `${where}.type`)) ?? [];
  if (!sizes) unexpected(`${where}.type`, 'a type such as f32[1536, 16]', type);
  const shape = sizes.split(', ').map(size => (size === 't' ? size : Number(size)));
  if (shape.some(size => size !== 't' && !(Number.isSafeInteger(size) && size > 0)))
    unexpected(`${where}.type`, 'positive extents', type);
  const most = sizeOf(shape.filter(size => size !== 't'));
  if (most > MOST_STATE) unexpected(`${where}.type`, `at most ${MOST_STATE} values`, type);
  const beside = dtype === 'i8' ? 'the name of a constant' : `nothing beside ${dtype}`;
  if ((dtype === 'i8') !== (scale !== undefined)) unexpected(`${where}.scale`, beside, scale);
  return {
    dtype: dtype as StateType['dtype'],
    shape,
    ...(scale !== undefined && { scale: string(scale, `${where}.scale`) }),
  };
}
