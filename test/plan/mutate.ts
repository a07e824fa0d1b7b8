/**
 * Plans changed at random. Some changes are blind: a number, a name, a key anywhere. Others keep the types, so that what they
 * make is mostly a plan: other inputs of the same type, more ops, another order. Equal seeds give equal plans.
 */
import type { Graph, OpNode } from '../../src/graph.ts';
import { ops } from '../../src/ops/index.ts';
import { fuse } from '../../src/plan/fuse.ts';
import { graphFromJson, graphToJson } from '../../src/plan/graph-json.ts';
import { inferTypes } from '../../src/plan/types.ts';
import { describe } from '../../src/tensor.ts';
import { type Crafted, copyOf, type Json, type Stored } from './crafted.ts';

type Random = () => number;
const upTo = (n: number, next: Random): number => Math.floor(next() * n);
const pick = <T>(items: readonly T[], next: Random): T => items[upTo(items.length, next)];

const ODD_NAMES = [
  '',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'length',
  'undefined',
  'x',
  '0',
  'é\u202e\u0000',
  'n'.repeat(2000),
];
const ODD_NUMBERS = [
  0,
  -0,
  -1,
  0.5,
  1,
  2,
  3,
  47,
  49,
  1e-60,
  1e300,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  Number.NaN,
  '7',
  true,
];
const ODD_VALUES = [null, [], {}, 5, 'x', true, [[]], { type: 'f32[1]' }];
const OPS = Object.values(ops).map(op => op.name);
const WORDS = ['silu', 'none', 'gelu', ''];

interface Place {
  readonly holder: Json;
  readonly key: string | number;
}
function places(value: Json, found: Place[] = []): Place[] {
  for (const key of Array.isArray(value) ? value.keys() : Object.keys(value)) {
    found.push({ holder: value, key });
    if (typeof value[key] === 'object' && value[key] !== null) places(value[key], found);
  }
  return found;
}
const namesOf = ({ weights, states, nodes }: Json): string[] => [
  'tokens',
  ...Object.keys(weights),
  ...Object.keys(states),
  ...nodes
    .flatMap((node: Json) => [node, ...(node.body ?? [])])
    .flatMap(({ out = {} }: Json) => Object.values(out)),
];
const set = ({ holder, key }: Place, value: Json): void => {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
};

/** An op's output, name or number, changed to one that may not fit. */
function changeLeaf(plan: Crafted, next: Random): void {
  const place = pick(places(plan.graph), next);
  const value = place.holder[place.key];
  if (typeof value === 'number')
    set(place, pick([...ODD_NUMBERS, value + 1, value - 1, value / 2, value * 2], next));
  else if (typeof value === 'string' && /\[.*\]$/.test(value)) set(place, changedType(value, next));
  else if (typeof value === 'string' && place.key === 'op') set(place, pick(OPS, next));
  else if (typeof value === 'string')
    set(place, pick([...namesOf(plan.graph), ...ODD_NAMES, ...WORDS], next));
  else if (next() < 0.3) set(place, pick(ODD_VALUES, next));
  else changeLeaf(plan, next);
}

const changedType = (type: string, next: Random): string =>
  pick(
    [
      () =>
        type.replace(
          /\d+(?=[,\]])/,
          n => `${pick([0, 1, 2, Number(n) + 1, Number(n) - 1, 2 ** 31, 1e15], next)}`,
        ),
      () => type.replace(/(\d+), (\d+)/, '$2, $1'),
      () => type.replace(/^\w+/, pick(['f32', 'f16', 'i8', 'i32', 'u8'], next)),
      () => type.replace(/\[\d+/, '[t'),
      () => type.replace(']', ', 1]'),
      () => type.replace(/, \d+\]/, ']'),
    ],
    next,
  )();

function removeOne(plan: Crafted, next: Random): void {
  const { holder, key } = pick(places(plan.graph), next);
  if (Array.isArray(holder)) holder.splice(key as number, 1);
  else delete holder[key];
}

const listOf = (plan: Crafted, next: Random): Json[] =>
  pick([plan.graph.nodes, ...plan.graph.nodes.flatMap(({ body }: Json) => (body ? [body] : []))], next);

function duplicate(plan: Crafted, next: Random): void {
  const from = listOf(plan, next);
  const to = next() < 0.5 ? from : listOf(plan, next);
  if (from.length) to.splice(upTo(to.length + 1, next), 0, structuredClone(pick(from, next)));
}

function swap(plan: Crafted, next: Random): void {
  const list = listOf(plan, next);
  const [i, j] = [upTo(list.length, next), next() < 0.5 ? upTo(list.length, next) : 0];
  if (list.length) [list[i], list[j]] = [list[j], list[i]];
}

/** Two values anywhere change places. */
function exchange(plan: Crafted, next: Random): void {
  const all = places(plan.graph).filter(({ holder, key }) => typeof holder[key] !== 'object');
  const [a, b] = [pick(all, next), pick(all, next)];
  const [x, y] = [a.holder[a.key], b.holder[b.key]];
  set(a, y);
  set(b, x);
}

function rename(plan: Crafted, next: Random): void {
  const from = pick(namesOf(plan.graph), next);
  const to = pick([...ODD_NAMES, ...namesOf(plan.graph)], next);
  const replaced = (text: string) => (text === from ? to : text);
  const walk = (value: Json): Json =>
    typeof value === 'string'
      ? replaced(value)
      : Array.isArray(value)
        ? value.map(walk)
        : value && typeof value === 'object'
          ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [replaced(key), walk(inner)]))
          : value;
  plan.graph = walk(plan.graph);
  const stored = plan.tensors.get(from);
  if (stored) plan.tensors.delete(from) && plan.tensors.set(to, stored);
}

function changeTensor(plan: Crafted, next: Random): void {
  const names = [...plan.tensors.keys()];
  if (names.length === 0) return;
  const name = pick(names, next);
  const t = plan.tensors.get(name)!;
  const dtype = pick(['F32', 'F16', 'BF16', 'I8', 'I32', 'I64', 'U8', 'F64', 'constructor'], next);
  pick<(t: Stored) => void>(
    [
      () => void t.shape.reverse(),
      () => void t.shape.push(1),
      () => void t.shape.splice(upTo(t.shape.length, next), 1, pick([0, 1, 2, 1e9, 2 ** 53, -1, 0.5], next)),
      () => void (t.shape = [t.bytes.length]),
      () => void (t.dtype = dtype),
      () => void (t.bytes = t.bytes.slice(0, upTo(t.bytes.length, next))),
      () => void plan.tensors.delete(name),
      () => void plan.tensors.set(name, structuredClone(plan.tensors.get(pick(names, next))!)),
    ],
    next,
  )(t);
}

/** Other values in a tensor: of floats such as scales should not be, of integers the ends of their range. */
function changeValues(plan: Crafted, next: Random): void {
  const t = plan.tensors.get(pick([...plan.tensors.keys()], next))!;
  const share = pick([1, 0.1, 0], next);
  if (t.dtype === 'F32') {
    const values = new Float32Array(t.bytes.buffer);
    const value = pick(
      [0, -0, -1, 1e-45, 1e-38, 1e30, 3e38, Number.NaN, Number.POSITIVE_INFINITY, 0.001, 7],
      next,
    );
    for (let i = 0; i < values.length; i++) if (i === 0 || next() < share) values[i] = value;
  } else
    for (let i = 0; i < t.bytes.length; i++)
      if (i === 0 || next() < share) t.bytes[i] = pick([0x80, 0x7f, 0, 0xff], next);
}

const changeConfig = (plan: Crafted, next: Random): void => {
  plan.config = {
    ...plan.config,
    [pick(['vocabSize', 'layers', 'architecture', 'eosTokenId', '__proto__'], next)]: pick(
      [...ODD_NUMBERS, ...ODD_VALUES, 31, 33],
      next,
    ),
  };
};

/** The nodes without groups, in any way; groups around nodes that have none. */
function regroup(plan: Crafted, next: Random): void {
  const { nodes } = plan.graph;
  const i = upTo(nodes.length, next);
  if (!nodes[i]) return;
  if (nodes[i].body && next() < 0.7) nodes.splice(i, 1, ...nodes[i].body);
  else {
    const name = pick(
      ['add-norm-quantize', 'gemm-i8-quantize', 'selective-scan-i8', 'constructor', 'any'],
      next,
    );
    const body = nodes.splice(i, 1 + upTo(4, next)).flatMap((node: Json) => node?.body ?? [node]);
    nodes.splice(i, 0, { fused: name, body });
  }
}

const BLIND = [
  changeLeaf,
  changeLeaf,
  changeLeaf,
  removeOne,
  duplicate,
  swap,
  exchange,
  rename,
  changeTensor,
  changeTensor,
  changeValues,
  changeConfig,
  regroup,
];

/** The types in words, by name; undefined for a graph that has none. */
function typesOf(graph: Graph): ReadonlyMap<string, string> | undefined {
  try {
    return new Map([...inferTypes(graph)].map(([ref, type]) => [ref, describe(type)]));
  } catch {
    return undefined;
  }
}

/** A plan taken apart, to be changed with its types in mind, and fused again. */
function rewire(plan: Crafted, next: Random): void {
  const graph = graphFromJson(plan.graph, 'base');
  const nodes: OpNode[] = [...graph.nodes].flatMap(node =>
    node.kind === 'fused' ? node.body : [node as OpNode],
  );
  const changes = 1 + upTo(4, next);
  for (let change = 0; change < changes; change++) {
    const types = typesOf({ ...graph, nodes });
    if (!types) break; // the change before was none that keeps the types
    const before = (i: number) => [
      ...graph.weights.keys(),
      ...nodes.slice(0, i).flatMap(({ out }) => Object.values(out)),
    ];
    const i = upTo(nodes.length, next);
    const node = nodes[i];
    const rows = next() < 0.2 ? /^f32\[\d+, / : /^f32\[l, /; // of constants, or of tokens
    const f32s = before(i).filter(ref => rows.test(types.get(ref)!));
    const widthOf = (ref: string) => Number(/(\d+)\]/.exec(types.get(ref)!)![1]);
    const out = { [Object.keys(node.op.outputs)[0]]: `new.${i}.${change}.${upTo(1e9, next)}` };
    const way = next();
    if (way < 0.5) {
      const key = pick(Object.keys(node.in), next);
      const same = before(i).filter(ref => types.get(ref) === types.get(node.in[key]));
      nodes[i] = { ...node, in: { ...node.in, [key]: pick(same.length ? same : [node.in[key]], next) } };
    } else if (way < 0.6 && node.op.name === 'slice') {
      const n = widthOf(node.in.x);
      const size = node.attrs.size as number;
      nodes[i] = { ...node, attrs: { start: upTo(n - size + 1, next), size } };
    } else if (way < 0.7 && Object.keys(node.states).length === 0) nodes.splice(i, 0, { ...node, out });
    else if (way < 0.8 && node.role !== '' && Object.keys(node.states).length === 0) {
      const optional = Object.keys(node.op.inputs).filter(
        key => node.op.inputs[key].endsWith('?') && node.in[key],
      );
      const { [pick([...optional, ''], next)]: _, ...rest } = node.in;
      nodes[i] = { ...node, in: rest };
    } else if (f32s.length) {
      const x = pick(f32s, next);
      const same = f32s.filter(ref => types.get(ref) === types.get(x));
      const added = pick(
        ['silu', 'softplus', 'neg-exp', 'fwht', 'add', 'rms-norm', 'absmax-scale', 'slice'],
        next,
      );
      const op = Object.values(ops).find(({ name }) => name === added)!;
      const inputs = { x, ...(added === 'add' && { y: pick(same, next) }) };
      const n = widthOf(x);
      const start = upTo(n, next);
      const attrs = added === 'slice' ? { start, size: 1 + upTo(n - start, next) } : {};
      nodes.splice(i, 0, {
        kind: 'op',
        op,
        in: inputs,
        attrs,
        out: { [Object.keys(op.outputs)[0]]: out[Object.keys(out)[0]] },
        states: {},
        role: '',
      } as OpNode);
    }
  }
  const changed = {
    graph: { ...graph, nodes },
    weights: {
      has: () => true,
      read: () => {
        throw new Error('unread');
      },
    },
  };
  plan.graph = graphToJson(next() < 0.8 ? fuse(changed).graph : changed.graph);
}

/** A plan that is `base` with a few changes. */
export function mutated(base: Crafted, next: Random): Crafted {
  const plan = copyOf(base);
  if (next() < 0.4) rewire(plan, next);
  else pick(BLIND, next)(plan, next);
  while (next() < 0.3)
    try {
      pick(next() < 0.5 ? [changeValues] : BLIND, next)(plan, next);
    } catch {
      break; // the change before left no plan that this one could change
    }
  return plan;
}
