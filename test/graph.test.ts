/** Graphs as data: traced, typed, run, folded, written as JSON and read back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../src/backends/backend.ts';
import { reference } from '../src/backends/reference.ts';
import {
  flatten,
  type Graph,
  type Node,
  type Program,
  reads,
  trace,
  weightsOf,
  writes,
} from '../src/graph.ts';
import { outerSites } from '../src/model/architecture.ts';
import { graphOf } from '../src/model/index.ts';
import { mamba } from '../src/model/mamba.ts';
import { bind } from '../src/op.ts';
import { ops } from '../src/ops/index.ts';
import { foldConstants } from '../src/plan/fold.ts';
import { graphFromJson, graphToJson } from '../src/plan/graph-json.ts';
import { render, rows } from '../src/plan/render.ts';
import { inferTypes } from '../src/plan/types.ts';
import { recipes } from '../src/quant/recipes.ts';
import { formsOf, interpret, keptAs } from '../src/run.ts';
import { shapeAt, stateView } from '../src/state.ts';
import { describe as shown, type Tensor, tensor } from '../src/tensor.ts';
import { planOfToy, random, sameBits, toy, toys } from './toy.ts';

const plans = toys.flatMap(of => Object.values(recipes).map(recipe => planOfToy(of, recipe)));
const programs = [...toys.map(of => of.program), ...plans];
const { text } = toy;

/** The plainest interpreter: every op by its reference, every value kept. */
function valuesOf({ graph, weights }: Program, tokens: Int32Array): Map<string, Tensor> {
  const values = new Map<string, Tensor>([[graph.input, tensor(tokens)]]);
  for (const ref of graph.weights.keys()) values.set(ref, weights.read(ref));
  const states = new Map(
    [...graph.states].map(([ref, type]) => [
      ref,
      stateView(keptAs({ graph, weights }, type), shapeAt(type, 0)),
    ]),
  );
  const run = (node: Node): void => {
    if (node.kind === 'fused') node.body.forEach(run);
    if (node.kind === 'site') values.set(node.out, values.get(node.in)!);
    if (node.kind !== 'op') return;
    const inputs = Object.fromEntries(Object.entries(node.in).map(([key, ref]) => [key, values.get(ref)!]));
    const carried = Object.entries(node.states).map(([key, ref]) => [key, states.get(ref)!]);
    const call = bind(node.op, { ...inputs, ...Object.fromEntries(carried) }, node.attrs);
    node.op.reference(call.inputs, call.attrs, call.outputs, call.dims, call.states);
    for (const [key, ref] of Object.entries(node.out)) values.set(ref, call.outputs[key]);
  };
  graph.nodes.forEach(run);
  for (const [ref, { data, shape }] of states) values.set(ref, tensor(data, shape));
  return values;
}

describe('a trace', () => {
  const once = (model: Parameters<typeof trace>[0]) => () => trace(model);
  it('has each name once', () => {
    const twice = new Error('trace: expected a new name; got a.x a second time');
    expect(
      once((g, tokens) => {
        const w = g.weight('w', [2, 2]);
        g.scope('a').op('x', ops.embedding, { tokens, w });
        return g.scope('a').op('x', ops.embedding, { tokens, w });
      }),
    ).toThrow(twice);
    expect(once((g, tokens) => g.scope('a').site('x', g.scope('a').site('x', tokens)))).toThrow(twice);
    expect(once(g => g.scope('a').state('x', [g.scope('a').state('x', [1]).length]))).toThrow(twice);
    expect(once(g => g.op('tokens', ops.embedding, {}))).toThrow('got tokens a second time');
  });

  it('reads a weight in one shape, as often as it likes', () => {
    expect(once(g => g.weight('w', [g.weight('w', [1]).length + 1]))).toThrow(
      new RangeError('trace: weight w is f32[1]; got f32[2] too'),
    );
    expect(once(g => g.weight('w', [g.weight('w', [1]).length]))).not.toThrow();
  });

  it('that is wrong is told with the name of the node', () => {
    const graph = trace((g, tokens) => {
      const x = g.op('h', ops.embedding, { tokens, w: g.weight('table', [4, 3]) });
      return g.scope('last').op('y', ops.linear, { x, w: g.weight('w', [4, 2]) });
    });
    const sentence = 'linear last.y.in.w expected f32[o, i] with o=4, i=3; got f32[4, 2]';
    expect(() => inferTypes(graph)).toThrow(new TypeError(sentence));
    const tensors = ['table', 'w'].map((ref, i) => [ref, tensor(new Float32Array(12 - 4 * i))] as const);
    const program = { graph, weights: weightsOf(new Map(tensors)) };
    for (const start of [() => prepare(reference, program), () => interpret(program)])
      expect(start).toThrow(new TypeError(`program: ${sentence}`));
  });
});

describe('a program', () => {
  it('has the types that inferTypes says, without running', () => {
    for (const program of programs) {
      const values = valuesOf(program, text);
      for (const [ref, { dtype, shape }] of inferTypes(program.graph)) {
        const sized = shape.map(extent => (extent === 'l' ? text.length : extent));
        expect(`${ref} ${shown(values.get(ref)!)}`).toBe(`${ref} ${shown({ dtype, shape: sized })}`);
      }
    }
  });

  it('gives the bits of the plainest interpreter', () => {
    for (const program of programs) {
      const values = valuesOf(program, text);
      const sequence = interpret(program).open();
      const logits = sequence.feed(text);
      expect(sameBits(logits.data, values.get(program.graph.result)!.data)).toBe(true);
      for (const [ref, t] of sequence.save().values)
        expect(sameBits(t.data, values.get(ref)!.data)).toBe(true);
    }
  });

  it('leaves a state that was saved as it is', () => {
    for (const program of programs) {
      const sequence = interpret(program).open();
      sequence.feed(text);
      const { values } = sequence.save();
      const before = [...values.values()].map(t => t.data.slice());
      sequence.feed(text);
      [...values.values()].forEach((t, i) => {
        expect(sameBits(t.data, before[i])).toBe(true);
      });
    }
  });

  it('reads only what is defined before, writes every value once, and all of its weights are read', () => {
    for (const { graph } of programs) {
      const defined = new Set([graph.input, ...graph.weights.keys()]);
      for (const node of graph.nodes) {
        for (const ref of reads(node)) expect(defined).toContain(ref);
        for (const ref of writes(node)) {
          expect(defined.has(ref), `${ref} is written twice`).toBe(false);
          defined.add(ref);
        }
      }
      expect(defined).toContain(graph.result);
      const scales = [...graph.states.values()].flatMap(({ scale }) => scale ?? []);
      const read = new Set([...graph.nodes.flatMap(reads), ...scales]);
      expect([...graph.weights.keys()].filter(ref => !read.has(ref))).toEqual([]);
    }
  });

  it('takes nodes of constants out: the same values, made when they are read and not before', () => {
    for (const program of programs) {
      const folded = foldConstants(program);
      const constant = new Set(program.graph.weights.keys());
      const ofConstants = program.graph.nodes.filter(
        node => node.kind === 'op' && reads(node).every(ref => constant.has(ref)),
      );
      expect(ofConstants.length).toBeGreaterThanOrEqual(2); // A of each layer
      expect(folded.graph.nodes).toEqual(program.graph.nodes.filter(node => !ofConstants.includes(node)));
      const values = valuesOf(program, text);
      for (const node of ofConstants)
        for (const ref of writes(node))
          expect(sameBits(folded.weights.read(ref).data, values.get(ref)!.data)).toBe(true);
      const unread = { ...program.weights, read: (ref: string) => expect.fail(`${ref} was read`) };
      const { graph } = foldConstants({ ...program, weights: unread });
      for (const ref of ofConstants.flatMap(writes))
        expect(graph.weights.get(ref)!.shape).toEqual(values.get(ref)!.shape);
    }
  });

  it('shows every site in order, with its value', () => {
    const { program } = toy;
    const values = valuesOf(program, text);
    const seen: string[] = [];
    interpret(program)
      .open()
      .feed(text, {
        observe: (site, ref, x) => {
          seen.push(ref);
          expect(ref.endsWith(site)).toBe(true);
          expect(sameBits(x.data, values.get(ref)!.data)).toBe(true);
        },
      });
    expect(seen).toEqual(program.graph.nodes.flatMap(node => (node.kind === 'site' ? node.out : [])));
    const named = seen.filter(ref => !ref.startsWith('layers.1.')).map(ref => ref.split('.').at(-1));
    expect(named.sort()).toEqual([...mamba.sites, ...outerSites].sort());
  });

  it('runs on a backend by kernels, and names the ops that the backend lacks', () => {
    const [plan] = plans.slice(-1);
    const bits = interpret(plan).open().feed(text).data;
    expect(sameBits(prepare(reference, plan).open().feed(text).data, bits)).toBe(true);
    const lacking = {
      name: 'half',
      kernelOf: (op: { name: string }) =>
        /i8|scan/.test(op.name) ? undefined : reference.kernelOf(op as never),
    };
    const missing = [...formsOf(plan).keys()].filter(name => /i8|scan/.test(name));
    expect(missing.length).toBeGreaterThan(1);
    expect(() => prepare(lacking, plan)).toThrow(
      new Error(`backend half: no kernel for ${missing.join(', ')}`),
    );
  });
});

describe('trace', () => {
  it('writes a function down as nodes', () => {
    const graph = trace((g, tokens) => {
      const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [5, 3], 'embedding') });
      const inner = g.scope('inner');
      const past = inner.state('past', [3, 1]);
      const y = inner.op('y', ops.causalConv1d, {
        x: inner.site('here', x),
        w: g.weight('taps', [3, 2]),
        past,
        b: undefined,
      });
      return g.op('z', ops.silu, { x: y });
    });
    expect(graph).toEqual({
      input: 'tokens',
      result: 'z',
      states: new Map([['inner.past', { dtype: 'f32', shape: [3, 1] }]]),
      weights: new Map([
        ['table', { dtype: 'f32', shape: [5, 3] }],
        ['taps', { dtype: 'f32', shape: [3, 2] }],
      ]),
      nodes: [
        {
          kind: 'op',
          op: ops.embedding,
          in: { tokens: 'tokens', w: 'table' },
          attrs: {},
          out: { y: 'x' },
          states: {},
          role: 'embedding',
        },
        { kind: 'site', site: 'here', in: 'x', out: 'inner.here' },
        {
          kind: 'op',
          op: ops.causalConv1d,
          in: { x: 'inner.here', w: 'taps' },
          attrs: {},
          out: { y: 'inner.y' },
          states: { past: 'inner.past' },
          role: '',
        },
        { kind: 'op', op: ops.silu, in: { x: 'inner.y' }, attrs: {}, out: { y: 'z' }, states: {}, role: '' },
      ],
    });
  });

  it('gives the same graph for the same config', () => {
    for (const { config, program } of toys) expect(graphOf(config)).toEqual(program.graph);
  });

  it('a weight that is missing is named', () => {
    expect(() => weightsOf(new Map()).read('w')).toThrow(new Error('weight w is missing'));
  });
});

describe('render', () => {
  it('has a line for every node, its columns aligned, and brackets around what is fused', () => {
    for (const plan of plans) {
      const [head, ...lines] = render(plan).split('\n');
      expect(lines.length).toBe(rows(plan).length);
      expect(lines.length).toBe(flatten(plan.graph.nodes).length);
      const column = head.indexOf('inputs');
      for (const line of lines) expect(line.slice(column - 2, column)).toBe('  ');
      const fused = plan.graph.nodes.filter(node => node.kind === 'fused').length;
      expect(lines.filter(line => line.includes('┌')).length).toBe(fused);
      expect(lines.filter(line => line.includes('└')).length).toBe(fused);
    }
  });
});

describe('the JSON of a plan', () => {
  const json = (graph: Graph) => JSON.parse(JSON.stringify(graphToJson(graph)));
  const plan = json(planOfToy(toy, recipes.quamba).graph);

  it('comes back as the same graph', () => {
    for (const { graph } of plans) expect(graphFromJson(json(graph), 'plan')).toEqual(graph);
  });

  it('has no sites', () => {
    expect(() => graphToJson(toy.program.graph)).toThrow(
      new Error('plan: layers.0.blockIn is a site; quantize the program first'),
    );
  });

  /* biome-ignore format: a table */
  const wrong: readonly [path: string, value: unknown, message: string][] = [
    ['', 3, 'plan expected an object; got 3'],
    ['input', undefined, 'plan.input expected a string; got nothing'],
    ['states', [], 'plan.states expected an object; got []'],
    ['states.layers/0/ssmState', [48, -4], 'plan.states["layers.0.ssmState"] expected an object; got [48, -4]'],
    ['states.layers/0/ssmState', { type: 'f32[48, -4]' }, 'plan.states["layers.0.ssmState"].type expected a type such as f32[1536, 16]; got "f32[48, -4]"'],
    ['weights', [], 'plan.weights expected an object; got []'],
    ['weights.backbone/norm_f/weight', 7, 'plan.weights["backbone.norm_f.weight"] expected a string; got 7'],
    ['weights.backbone/norm_f/weight', 'f32[24', 'plan.weights["backbone.norm_f.weight"] expected a type such as f32[1536, 16]; got "f32[24"'],
    ['nodes', null, 'plan.nodes expected an array; got null'],
    ['nodes.0', 'add', 'plan.nodes[0] expected an object; got "add"'],
    ['nodes.0.op', 'matmul', 'plan.nodes[0].op: no op "matmul"; this plan was made by another version of quamba'],
    ['nodes.0.in.tokens', undefined, 'plan.nodes[0].in.tokens expected the name of a value; got nothing'],
    ['nodes.0.in.table', 'tokens', 'plan.nodes[0].in: no field "table"; expected tokens, w'],
    ['nodes.0.out', {}, 'plan.nodes[0].out.y expected the name of a value; got nothing'],
    ['nodes.0.attrs', { eps: 1 }, 'plan.nodes[0].attrs["eps"] expected an attribute of embedding; got 1'],
    ['nodes.0.role', 1, 'plan.nodes[0].role expected a string; got 1'],
    ['nodes.1.fused', 1, 'plan.nodes[1].fused expected a string; got 1'],
    ['nodes.1.body', [], 'plan.nodes[1].body expected at least one node; got []'],
    ['nodes.1.body.0.attrs.eps', '1', 'plan.nodes[1].body[0].attrs["eps"] expected an attribute of rms-norm; got "1"'],
  ];
  it.each(wrong)('with %s as %j is refused by name', (path, value, message) => {
    const broken =
      path === ''
        ? value
        : replaced(
            plan,
            path.split('.').map(step => step.replaceAll('/', '.')),
            value,
          );
    expect(() => graphFromJson(broken, 'plan')).toThrow(new TypeError(message));
  });

  it('changed anywhere is refused in a sentence, or is a graph', () => {
    const places: string[][] = [];
    const walk = (value: unknown, path: string[]) => {
      places.push(path);
      if (typeof value === 'object' && value !== null)
        for (const [key, inner] of Object.entries(value)) walk(inner, [...path, key]);
    };
    walk(plan, []);
    const next = random(23);
    const other = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }).map(value => JSON.parse(JSON.stringify(value))), // -0 becomes 0
      fc.constant(undefined),
      fc.nat().map(() => structuredClone(at(plan, places[Math.floor(next() * places.length)]))),
    );
    let refused = 0;
    fc.assert(
      fc.property(fc.nat(places.length - 1), other, (place, value) => {
        const broken = places[place].length ? replaced(plan, places[place], value) : value;
        let graph: Graph;
        try {
          graph = graphFromJson(broken, 'plan');
        } catch (error) {
          refused++;
          expect(error).toBeInstanceOf(TypeError);
          expect((error as Error).message).toMatch(
            /^plan.* expected .+; got .+|^plan.*: (no op|no field) ".*"/s,
          );
          return;
        }
        expect(graphFromJson(json(graph), 'plan')).toEqual(graph);
      }),
      { numRuns: 600 },
    );
    expect(refused).toBeGreaterThan(200);
  });
});

const at = (json: unknown, path: readonly string[]): unknown =>
  path.reduce((value, key) => (value as Record<string, unknown>)[key], json);

/** A copy of `json` with another value at `path`; undefined takes it out. */
function replaced(json: unknown, path: readonly string[], value: unknown): unknown {
  const copy = structuredClone(json);
  const parent = at(copy, path.slice(0, -1)) as Record<string, unknown>;
  if (value === undefined && Array.isArray(parent)) parent.splice(Number(path.at(-1)), 1);
  else if (value === undefined) delete parent[path.at(-1)!];
  else parent[path.at(-1)!] = value;
  return copy;
}
