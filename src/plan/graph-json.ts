/**
 * A plan's graph as JSON and back: ops by name, so that any program that has the ops can run the plan.
 *
 *   { input, width?, result, states: { ref: { type: 'i8[1536, 16]', scale?: ref } }, weights: { ref: 'f32[768]' },
 *     nodes: [ { op, in: { name: ref }, states?: { name: ref }, out: { name: ref }, attrs?, role? } | { fused, body: [ … ] } ] }
 *
 * The type of a state is how it is kept and its shape, in which `t` stands for the tokens fed so far. This file reads the form;
 * whether the graph can be run is for the verifier (verify.ts) to say.
 */
import { array, count, type JsonObject, object, show, string, unexpected } from '../formats/json.ts';
import type { Graph, Node, OpNode, Ref } from '../graph.ts';
import type { AnyOp, Attrs } from '../op.ts';
import { ops } from '../ops/index.ts';
import type { Signatures } from '../signature.ts';
import type { StateType } from '../state.ts';
import { type DType, describe, type TensorType } from '../tensor.ts';

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
  const { input, width, result } = graph;
  const states = Object.fromEntries(
    [...graph.states].map(([ref, type]) => {
      const { scale } = type;
      return [ref, { type: describe(type), ...(scale !== undefined && { scale }) }];
    }),
  );
  const weights = Object.fromEntries([...graph.weights].map(([ref, type]) => [ref, describe(type)]));
  const nodes = graph.nodes.map(nodeToJson);
  return { input, ...(width !== undefined && { width }), result, states, weights, nodes };
}

/** @throws TypeError naming the node and field that is wrong. */
export function graphFromJson(json: unknown, where: string): Graph {
  const graph = object(json, where);
  return {
    input: string(graph.input, `${where}.input`),
    ...(graph.width !== undefined && { width: count(graph.width, `${where}.width`) }),
    result: string(graph.result, `${where}.result`),
    states: entries(graph.states, `${where}.states`, stateType),
    weights: entries(graph.weights, `${where}.weights`, tensorType),
    nodes: array(graph.nodes, `${where}.nodes`).map((node, i) => nodeFromJson(node, `${where}.nodes[${i}]`)),
  };
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
  const inputs = refs(node.in, `${where}.in`, op.inputs, 'the name of a value');
  const out = refs(node.out, `${where}.out`, op.outputs, 'the name of a value');
  const states = refs(node.states ?? {}, `${where}.states`, op.states, 'the name of a state');
  const attrs = object(node.attrs ?? {}, `${where}.attrs`);
  for (const key in attrs)
    if (!Object.hasOwn(op.attrs, key) || typeof attrs[key] !== typeof op.attrs[key])
      unexpected(`${where}.attrs[${show(key)}]`, `an attribute of ${name}`, attrs[key]);
  return {
    kind: 'op',
    op,
    in: inputs,
    states,
    out,
    attrs: attrs as Attrs,
    role: string(node.role ?? '', `${where}.role`),
  };
}

/** A name for each signature; for one that ends in `?` there may be none. */
function refs(json: unknown, where: string, signatures: Signatures, expected: string): Record<string, Ref> {
  const found = object(json, where, Object.keys(signatures));
  for (const [key, signature] of Object.entries(signatures))
    if (Object.hasOwn(found, key)) string(found[key], `${where}.${key}`);
    else if (!signature.endsWith('?')) unexpected(`${where}.${key}`, expected, undefined);
  return found as Record<string, Ref>;
}

/** An object as a map, which has no names but its own. */
function entries<T>(json: unknown, where: string, read: (json: unknown, where: string) => T) {
  const found = Object.entries(object(json, where));
  return new Map(found.map(([key, value]) => [key, read(value, `${where}[${show(key)}]`)]));
}

function tensorType(json: unknown, where: string): TensorType {
  const [, dtype, extents] = /^(f32|i8|i32)\[(\d{1,15}(?:, \d{1,15})*)\]$/.exec(string(json, where)) ?? [];
  if (!extents) return unexpected(where, 'a type such as f32[1536, 16]', json);
  return { dtype: dtype as DType, shape: extents.split(', ').map(Number) };
}

function stateType(json: unknown, where: string): StateType {
  const { type, scale } = object(json, where, ['type', 'scale']);
  const form = /^(f32|f16|i8|i8-dynamic)\[((?:t|\d{1,15})(?:, \d{1,15})*)\]$/;
  const [, dtype, extents] = form.exec(string(type, `${where}.type`)) ?? [];
  if (!extents) return unexpected(`${where}.type`, 'a type such as f32[1536, 16]', type);
  return {
    dtype: dtype as StateType['dtype'],
    shape: extents.split(', ').map(extent => (extent === 't' ? extent : Number(extent))),
    ...(scale !== undefined && { scale: string(scale, `${where}.scale`) }),
  };
}
