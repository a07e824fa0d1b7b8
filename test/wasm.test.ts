/**
 * The wasm backend against the reference: zero differing bits, for every op at every size around the tiles, and for every
 * recipe as a whole plan. Two NaNs count as the same.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Backend, prepare } from '../src/backends/backend.ts';
import { wasm } from '../src/backends/wasm/index.ts';
import { instructions } from '../src/backends/wasm/instructions.ts';
import { arrange } from '../src/backends/wasm/memory.ts';
import { trace, weightsOf } from '../src/graph.ts';
import { type AnyOp, bind, parse } from '../src/op.ts';
import { factor } from '../src/ops/hadamard.ts';
import { ops } from '../src/ops/index.ts';
import { calibrate } from '../src/quant/calibrate.ts';
import { planOf } from '../src/quant/pipeline.ts';
import { recipes } from '../src/quant/recipes.ts';
import { type Recipe, w8 } from '../src/quant/scheme.ts';
import { type Executable, initialState, interpret } from '../src/run.ts';
import { createSession } from '../src/session.ts';
import { type Data, sizeOf, type Tensor, tensor, zeros } from '../src/tensor.ts';
import { cut, difference, long, run, variants } from './feeds.ts';
import { noise, planOfToy, random, runnableOf, statsOfToy, toy, toys } from './toy.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

type Values = 'plain' | 'wild';
type Choice = Readonly<Record<string, number | boolean | string>>;

/** Ordinary values, or all that an f32 can be: zeros of both signs, denormals, huge ones, infinities, NaN. */
function float(next: () => number, values: Values): number {
  const gauss = 2 * (next() + next() + next() - 1.5);
  if (values === 'plain') return gauss;
  const kind = next();
  if (kind < 0.04)
    return [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN][Math.floor(3 * next())];
  if (kind < 0.14) return next() < 0.5 ? 0 : -0;
  return gauss * [1e-41, 1e38, 20, 50, 1][Math.floor(5 * next())];
}

/** The inputs of a call of the sizes `choice`. */
function inputsOf(op: AnyOp, choice: Choice, values: Values, next: () => number): Record<string, Tensor> {
  const inputs: Record<string, Tensor> = {};
  for (const [key, signature] of Object.entries(op.inputs)) {
    const { dtype, axes, optional } = parse(signature as string);
    if (optional && next() < 0.5) continue;
    const shape = axes.map(axis => axis.size ?? (choice[axis.letter!] as number) - axis.minus);
    const made = zeros(dtype, shape);
    const finite = op === ops.quantize; // NaN has a test of its own
    for (let i = 0; i < made.data.length; i++)
      if (dtype === 'i32') made.data[i] = Math.floor(next() * (choice.v as number));
      else if (dtype === 'i8') made.data[i] = next() < 0.1 ? -128 : Math.floor(next() * 256) - 128;
      else if (finite)
        made.data[i] = key === 'scale' ? [1 / 64, 0.013, 3][Math.floor(3 * next())] : quantizable(next);
      else made.data[i] = float(next, values);
    inputs[key] = made;
  }
  return inputs;
}
/** Ties, values beyond the range, infinities, and others. */
const quantizable = (next: () => number): number =>
  next() < 0.3
    ? (Math.floor(next() * 300) - 150 + 0.5) / 64
    : next() < 0.02
      ? Number.NEGATIVE_INFINITY
      : 2 * float(next, 'plain');

/** Every choice of one value for each letter and attribute. */
const choices = (sweep: Readonly<Record<string, readonly unknown[]>>): Choice[] =>
  Object.entries(sweep).reduce<Choice[]>(
    (all, [key, list]) => all.flatMap(choice => list.map(value => ({ ...choice, [key]: value }) as Choice)),
    [{}],
  );

/** Sizes beyond an op's own sweep: the tiles of its kernel, and more rows than one chunk. */
const beyond: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  linear: { l: [3, 127, 128, 129, 257], i: [2, 7, 8, 9], o: [1, 3, 4, 5] },
  'linear-i8': {
    l: [3, 128, 129],
    i: [6, 24, 48, 54],
    o: [1, 3, 4, 5, 15, 16, 17, 33],
    g: [1, 2, 3, 6],
    s: ['l', 1],
    p: ['o', 1],
  },
  'causal-conv1d': {
    l: [127, 128, 131, 300],
    d: [1, 3, 4, 5, 63, 64, 65],
    k: [1, 2, 3, 4, 5],
    activation: ['silu', 'none'],
  },
  'selective-scan': { l: [127, 129, 257], d: [1, 4, 6, 64, 65, 129], n: [1, 2, 6, 15, 16, 17] },
  quantize: { l: [2, 129], n: [2, 3, 5, 15, 16, 17, 33], s: ['l'] },
  dequantize: { l: [2, 129], n: [2, 3, 5], s: ['l'] },
  fwht: { l: [2, 130], n: [4, 8, 16, 32, 48, 96, 192, 384, 40, 160, 320, 112, 28], inverse: [false, true] },
  'rms-norm': { l: [2, 130], m: [2, 3, 5, 32, 33, 34, 63, 64, 65, 161], eps: [1e-5, 1e-6] },
  slice: { l: [2, 130], n: [11], start: [0, 1, 2, 3, 4], size: [1, 2, 3, 4, 5, 6] },
  embedding: { l: [130], v: [5, 9], m: [2, 3, 4, 6, 12] },
  'embedding-i8': { l: [130], v: [5, 9, 16, 17, 40], m: [2, 3, 4, 6, 12, 13] },
};

/** A choice with its letters filled in, or nothing where it breaks a constraint. */
function complete(op: AnyOp, choice: Choice): Choice | undefined {
  const all: Record<string, number | boolean | string> = { s: 1, p: 1, g: 1, ...choice };
  for (const key of ['s', 'p']) if (typeof all[key] === 'string') all[key] = all[all[key] as string];
  if (
    op === ops.linearI8 &&
    ((all.i as number) % (all.g as number) !== 0 || ((all.g as number) > 1 && all.p === 1 && all.o !== 1))
  )
    return undefined;
  return op === ops.fwht && !factor(all.n as number) ? undefined : all;
}

function check(backend: Backend, op: AnyOp, choice: Choice, values: Values, next: () => number): void {
  const all = complete(op, choice);
  if (!all) return;
  const attrs = Object.fromEntries(
    Object.keys(op.attrs).flatMap(key => (key in all ? [[key, all[key]]] : [])),
  );
  const inputs = inputsOf(op, all, values, next);
  const before = Object.fromEntries(Object.entries(inputs).map(([key, { data }]) => [key, data.slice()]));
  const expected = bind(op, inputs, attrs);
  op.reference(expected.inputs, expected.attrs, expected.outputs, expected.dims);
  const actual = bind(op, inputs, attrs);
  for (const { data } of Object.values(actual.outputs)) data.fill(77); // a kernel writes every element
  backend.kernelOf(op)!(actual.inputs, actual.attrs, actual.outputs, actual.dims);
  const call = `${op.name} ${JSON.stringify(choice)} ${Object.keys(inputs)} ${values}`;
  for (const key in expected.outputs)
    expect(difference(actual.outputs[key].data, expected.outputs[key].data), `${call}: ${key}`).toBe('');
  for (const key in before)
    expect(difference(inputs[key].data, before[key]), `${call}: input ${key}`).toBe('');
}

describe.each(variants)('%s: every op has the bits of the reference', (_, backend) => {
  it.each(Object.values(ops).map(op => [op.name, op as AnyOp] as const))('%s', (name, op) => {
    const next = random(name.length);
    for (const sizes of [op.sweep, beyond[name] ?? { l: [2, 129, 260], n: [2, 6, 7], m: [2, 6, 7] }])
      for (const choice of choices(sizes))
        for (const values of ['plain', 'wild'] as const) check(backend, op, choice, values, next);
  });

  it('linear-i8 at its largest sums', () => {
    const full = (rows: number, value: number) =>
      tensor(new Int8Array(rows * 5120).fill(value), [rows, 5120]);
    const one = tensor(Float32Array.of(1));
    for (const [x, w] of [
      [-128, -128],
      [-128, 127],
      [127, 127],
    ]) {
      const call = () =>
        bind(ops.linearI8, { x: full(3, x), xscale: one, w: full(5, w), wscale: tensor(one.data, [1, 1]) });
      const { inputs, attrs, outputs, dims } = call();
      backend.kernelOf(ops.linearI8)!(inputs, attrs, outputs, dims);
      expect(new Set(outputs.y.data)).toEqual(new Set([Math.fround(5120 * x * w)]));
    }
  });

  it.each(['silu', 'softplus', 'negExp'] as const)('%s over the whole range of float32', key => {
    const op: AnyOp = ops[key];
    const bits = Uint32Array.from({ length: 1 << 18 }, (_, i) => i * 16411); // odd: every exponent, changing mantissas
    const x = new Float32Array(bits.buffer);
    const { inputs, attrs, outputs, dims } = bind(op, { x });
    backend.kernelOf(op)!(inputs, attrs, outputs, dims);
    expect(difference(outputs.y.data, op({ x }).y!.data)).toBe('');
  });

  it('exp2 over the whole range of float32, by way of the scan', () => {
    const [d, n] = [1 << 13, 16];
    const A = tensor(new Float32Array(Uint32Array.from({ length: d * n }, (_, i) => i * 32771).buffer), [
      d,
      n,
    ]);
    const ones = (shape: number[]) => tensor(new Float32Array(sizeOf(shape)).fill(1), shape);
    const inputs = {
      u: zeros('f32', [1, d]),
      dt: ones([1, d]),
      A,
      B: zeros('f32', [1, n]),
      C: ones([1, n]),
      state: ones([d, n]),
    };
    const call = bind(ops.selectiveScan, inputs);
    backend.kernelOf(ops.selectiveScan)!(call.inputs, call.attrs, call.outputs, call.dims);
    expect(difference(call.outputs.state.data, ops.selectiveScan(inputs).state.data)).toBe('');
  });
});

describe.each(variants)('%s: every recipe has the bits of the reference, in any cut', (_, backend) => {
  const rows: [string, Recipe][] = [
    ...Object.entries(recipes),
    ['groups', { ...recipes.dynamic, weights: { bits: 8, per: { group: 2 } }, weightsAt: { conv: w8 } }],
  ];
  for (const of of toys)
    it.each(rows)(`${of.name} %s`, (__, recipe) => {
      const plan = planOfToy(of, recipe);
      const text = long(of.config.vocabSize);
      const expected = run(interpret(plan), plan, [text]);
      const executable = prepare(backend, plan);
      for (const sizes of [[300], [128, 128, 44], [1, 1, 1, 125, 129, 43]]) {
        const actual = run(executable, plan, cut(text, sizes));
        expect(difference(actual.logits, expected.logits), `${sizes}: logits`).toBe('');
        for (const ref in expected.state)
          expect(difference(actual.state[ref].data, expected.state[ref].data), `${sizes}: ${ref}`).toBe('');
      }
      for (const e of [executable, interpret(plan)])
        for (const length of [300, 256, 5, 1]) {
          const { vocabSize: v } = of.config;
          const all = e.feed(text.subarray(0, length), initialState(plan));
          const last = e.feed(text.subarray(0, length), initialState(plan), { logits: 'last' });
          expect(last.logits.shape).toEqual([1, v]);
          expect(difference(last.logits.data, all.logits.data.subarray(-v)), `last of ${length}`).toBe('');
          for (const ref in all.state)
            expect(difference(last.state[ref].data, all.state[ref].data), `last of ${length}: ${ref}`).toBe(
              '',
            );
        }
    });

  it('a model of odd sizes', () => {
    const sizes = { m: 7, d: 13, v: 11, n: 5, k: 3 };
    const { m, d, v, n, k } = sizes;
    const next = random(5);
    const weights = new Map<string, Tensor>();
    const graph = trace((g, tokens) => {
      const w = (name: string, ...shape: number[]) => {
        weights.set(name, tensor(noise(sizeOf(shape), next), shape));
        return g.weight(name);
      };
      const x = g.op('x', ops.embedding, { tokens, w: w('table', v, m) });
      const normed = g.op('normed', ops.rmsNorm, { x });
      const wide = g.op('wide', ops.linear, { x: normed, w: w('in', 2 * d, m) });
      const z = g.op('z', ops.slice, { x: wide }, { start: d, size: d });
      const u = g.op('u', ops.slice, { x: wide }, { start: 0, size: d });
      const conv = g.op('conv', ops.causalConv1d, {
        x: u,
        w: w('taps', d, k),
        state: g.state('past', [d, k - 1]),
      });
      const B = g.op('B', ops.linear, { x: conv, w: w('to B', n, d) });
      const C = g.op('C', ops.linear, { x: conv, w: w('to C', n, d) });
      const dt = g.op('dt', ops.softplus, { x: conv });
      const A = g.op('A', ops.negExp, { x: w('A_log', d, n) });
      const y = g.op('y', ops.selectiveScan, { u: conv, dt, A, B, C, z, state: g.state('h', [d, n]) });
      const back = g.op('back', ops.linear, { x: y, w: w('out', m, d), b: w('bias', m) });
      return g.op('logits', ops.linear, { x: g.op('sum', ops.add, { x, y: back }), w: g.weight('table') });
    });
    const program = { graph, weights: weightsOf(weights) };
    const text = long(v);
    const expected = run(interpret(program), program, [text]);
    const actual = run(prepare(backend, program), program, cut(text, [1, 2, 200, 97]));
    expect(difference(actual.logits, expected.logits)).toBe('');
    expect(difference(actual.state.h.data, expected.state.h.data)).toBe('');
    expect(difference(actual.state.past.data, expected.state.past.data)).toBe('');
  });

  it('a result, and a site, of a value that nothing reads any more', () => {
    const w = tensor(noise(64, random(4)), [8, 8]);
    const graph = trace((g, tokens) => {
      const x = g.op('x', ops.embedding, { tokens, w: g.weight('w') });
      const y = g.op('y', ops.silu, { x });
      const later = ['a', 'b', 'c', 'd'].reduce((z, name) => g.op(name, ops.softplus, { x: z }), y);
      g.site('late', x);
      g.op('e', ops.softplus, { x: later });
      return y;
    });
    const program = { graph, weights: weightsOf(new Map([['w', w]])) };
    const seen = (executable: Executable) => {
      const values: Data[] = [];
      const feed = () =>
        executable.feed(Int32Array.of(1, 5, 7), initialState(program), {
          observe: (_, __, x) => values.push(x.data),
        });
      return [feed().logits.data, ...values];
    };
    const expected = seen(interpret(program));
    for (const [i, values] of seen(prepare(backend, program)).entries())
      expect(difference(values, expected[i])).toBe('');
    expect(expected.length).toBe(2);
  });

  it('the state that is fed stays as it is, and texts do not mix', () => {
    const plan = planOfToy(toy, recipes.quamba);
    const executable = prepare(backend, plan);
    const first = executable.feed(toy.text, initialState(plan));
    const kept = Object.values(first.state).map(({ data }) => data.slice());
    const again = executable.feed(toy.text, first.state).logits;
    executable.feed(toy.text.slice().reverse(), initialState(plan));
    for (const [i, { data }] of Object.values(first.state).entries())
      expect(difference(data, kept[i])).toBe('');
    expect(difference(executable.feed(toy.text, first.state).logits.data, again.data)).toBe('');
  });
});

describe('calibration', () => {
  it.each([32, 300])('sees every site whole, over %i tokens', length => {
    for (const { program, config } of toys) {
      const text = long(config.vocabSize).subarray(0, length);
      const seen = (executable: Executable) => {
        const sites: [string, string, Tensor][] = [];
        const { logits } = executable.feed(text, initialState(program), {
          observe: (...site) => sites.push(site),
        });
        return { sites, logits };
      };
      const expected = seen(interpret(program));
      const executable = prepare(wasm, program);
      const actual = seen(executable);
      expect(actual.sites.map(([site, ref, x]) => [site, ref, x.shape])).toEqual(
        expected.sites.map(([site, ref, x]) => [site, ref, x.shape]),
      );
      for (const [i, [, ref, x]] of actual.sites.entries())
        expect(difference(x.data, expected.sites[i][2].data), ref).toBe('');
      expect(difference(actual.logits.data, expected.logits.data)).toBe('');
      const after = executable.feed(text, initialState(program)).logits; // and unobserved again
      expect(difference(after.data, expected.logits.data)).toBe('');
    }
  });

  it.each(['quamba', 'smoothquant', 'quarot-style'] as const)('%s gets the same plan', name => {
    const stats = calibrate(toy.program, recipes[name], toy.samples, {
      prepare: part => prepare(wasm, part),
    });
    expect(stats).toEqual(statsOfToy(toy, recipes[name]));
    const plan = planOf(toy.program, recipes[name], stats);
    expect(plan.graph.nodes.length).toBeGreaterThan(0);
  });
});

describe('errors are those of the reference', () => {
  const message = (call: () => unknown): string => {
    try {
      call();
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
    return 'no error';
  };

  it('a NaN that is to be quantized', () => {
    for (const [rows, n, at] of [
      [1, 1, 0],
      [3, 5, 9],
      [3, 5, 14],
      [130, 6, 129 * 6 + 2],
    ]) {
      const x = tensor(new Float32Array(rows * n).fill(1), [rows, n]);
      x.data[at] = Number.NaN;
      const { inputs, attrs, outputs, dims } = bind(ops.quantize, { x, scale: Float32Array.of(1) });
      const expected = message(() => ops.quantize({ x, scale: Float32Array.of(1) }));
      expect(expected).toContain(`NaN at [${Math.floor(at / n)}, ${at % n}]`);
      expect(message(() => wasm.kernelOf(ops.quantize)!(inputs, attrs, outputs, dims))).toBe(expected);
    }
  });

  it('a token outside of the vocabulary', () => {
    const executable = prepare(wasm, toy.program);
    for (const bad of [-1, toy.config.vocabSize]) {
      const feed = (e: Executable) => message(() => e.feed(Int32Array.of(1, bad), initialState(toy.program)));
      expect(feed(executable)).toBe(feed(interpret(toy.program)));
      expect(feed(executable)).toContain('position 1');
    }
  });

  it('a weight of a wrong shape or dtype, before anything runs', () => {
    const graph = trace((g, tokens) => g.op('y', ops.embedding, { tokens, w: g.weight('w') }));
    const program = (w: Tensor) => ({ graph, weights: weightsOf(new Map([['w', w]])) });
    expect(() => prepare(wasm, program(zeros('f32', [4])))).toThrow(
      'embedding: w expected f32[v, m]; got f32[4]',
    );
    expect(() => prepare(wasm, program(zeros('i8', [4, 4])))).toThrow(
      new TypeError('backend wasm: w expected f32; got i8[4, 4]'),
    );
  });

  it('a feed after dispose', () => {
    const executable = prepare(wasm, toy.program);
    executable.dispose!();
    expect(() => executable.feed(Int32Array.of(1), initialState(toy.program))).toThrow('disposed');
  });
});

describe('sessions on one executable', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const runnable = (executable: Executable) => ({
    ...runnableOf(toy, recipes.quamba, 'toy'),
    program: plan,
    executable,
  });

  it('go on as on the reference, however they are fed, forked, saved and reset in turn', () => {
    const executable = prepare(wasm, plan);
    const token = fc.nat(toy.config.vocabSize - 1);
    const step = fc.record({
      which: fc.nat(9),
      act: fc.constantFrom('feed', 'feed', 'feed', 'fork', 'save', 'restore', 'reset'),
      tokens: fc.array(token, { minLength: 1, maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 4, maxLength: 24 }), steps => {
        const sides = [executable, interpret(plan)].map(side => [createSession(runnable(side))]);
        const saved: Uint8Array[] = [];
        for (const { which, act, tokens } of steps) {
          const [mine, truth] = sides.map(sessions => sessions[which % sessions.length]);
          if (act === 'feed') expect(mine.feed(tokens)).toEqual(truth.feed(tokens));
          else if (act === 'fork') sides.forEach((list, i) => void list.push([mine, truth][i].fork()));
          else if (act === 'save') {
            saved.push(truth.snapshot());
            expect(mine.snapshot()).toEqual(saved.at(-1));
          } else if (act === 'restore' && saved.length)
            for (const session of [mine, truth]) session.restore(saved[which % saved.length]);
          else if (act === 'reset') for (const session of [mine, truth]) session.reset();
        }
      }),
      { numRuns: 60 },
    );
  });

  it('a state that was given up says so; one that was not stays', () => {
    const executable = prepare(wasm, plan);
    const { state: kept } = executable.feed(Int32Array.of(1, 2), initialState(plan));
    const { state: given } = executable.feed(Int32Array.of(3), kept);
    executable.feed(Int32Array.of(4), given, { giveUp: true });
    expect(() => given['layers.0.ssmState']).toThrow('given up');
    expect(kept).toEqual(interpret(plan).feed(Int32Array.of(1, 2), initialState(plan)).state);
  });
});

it('measuring the ceilings changes nothing of a text in progress', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const executable = prepare(wasm, plan);
  const { state } = executable.feed(toy.text, initialState(plan));
  for (const rate of [executable.readBandwidth!(1e6), executable.multiplyRate!()]) {
    expect(rate).toBeGreaterThan(0);
    expect(rate).toBeLessThan(Number.POSITIVE_INFINITY);
  }
  const { logits } = executable.feed(toy.text, state);
  const truth = interpret(plan);
  const expected = truth.feed(toy.text, truth.feed(toy.text, initialState(plan)).state).logits;
  expect(difference(logits.data, expected.data)).toBe('');
});

it('tells what a token reads: every weight once, but of a table one row', () => {
  const plan = planOfToy(toy, recipes['quamba-int8-head']);
  const { bytesPerToken, memoryBytes } = prepare(wasm, plan).about!;
  const integers = plan.graph.weights.filter(ref => /\.i8(-rows)?$/.test(ref));
  const read = integers.reduce((sum, ref) => sum + sizeOf(plan.weights.shape(ref)), 0);
  expect(bytesPerToken).toBeGreaterThan(read);
  expect(bytesPerToken).toBeLessThan(memoryBytes);
});

describe('memory', () => {
  it('gives no two values that are needed at once the same place', () => {
    const lifetime = fc
      .record({ bytes: fc.integer({ min: 0, max: 999 }), from: fc.nat(20), length: fc.nat(9) })
      .map(({ bytes, from, length }) => ({ bytes, from, to: from + length }));
    fc.assert(
      fc.property(fc.array(lifetime, { maxLength: 30 }), list => {
        const { offsets, bytes } = arrange(list);
        list.forEach((a, i) => {
          expect(offsets[i] % 64).toBe(0);
          expect(offsets[i] + a.bytes).toBeLessThanOrEqual(bytes);
          list.slice(0, i).forEach((b, j) => {
            const together = a.from <= b.to && b.from <= a.to;
            const overlap = offsets[i] < offsets[j] + b.bytes && offsets[j] < offsets[i] + a.bytes;
            expect(together && overlap && a.bytes > 0 && b.bytes > 0).toBe(false);
          });
        });
      }),
    );
  });
});

describe('the sources', () => {
  it('have one assembly file for each op, which says why its bits are the reference’s', () => {
    const stems = readdirSync(join(root, 'assembly')).map(file => file.replace(/\.ts$/, ''));
    const names: string[] = Object.values(ops).map(op => op.name);
    expect(stems.sort()).toEqual(
      [...names, 'execute', 'index', 'numerics', 'ceilings', 'threads', 'tiles-i8'].sort(),
    );
    for (const name of names)
      expect(readFileSync(join(root, `assembly/${name}.ts`), 'utf8')).toMatch(/^\/\/ The reference's bits: /);
    expect(Object.keys(instructions).sort()).toEqual(names.sort());
  });
});

describe('the built modules', async () => {
  const { targets } = JSON.parse(readFileSync(join(root, 'asconfig.json'), 'utf8'));
  const { KERNELS } = await import('#kernels');
  const modules = Object.entries(targets as Record<string, { outFile: string }>);

  it.each(modules)('%s is small, SIMD, without FMA, and what the package loads', (name, { outFile }) => {
    const file = join(root, outFile);
    expect(statSync(file).size).toBeLessThan(100_000);
    const text = execFileSync(process.execPath, [join(root, 'node_modules/binaryen/bin/wasm-dis'), file], {
      encoding: 'utf8',
    });
    const count = (opcode: string) => text.split(`(${opcode}`).length - 1;
    const isRelaxed = name.startsWith('relaxed');
    const least = {
      'i32x4.dot_i16x8_s': isRelaxed ? 0 : 24,
      'i32x4.relaxed_dot_i8x16_i7x16_add_s': isRelaxed ? 21 : 0,
      'v128.load32_splat': 25,
      'f32x4.mul': 100,
      'f32x4.add': 100,
      'f32x4.div': 5,
      'f32x4.pmax': 5,
      'i64.atomic.rmw.cmpxchg': name.endsWith('threads') ? 2 : 0,
    };
    for (const [opcode, least_] of Object.entries(least))
      expect(count(opcode), opcode).toBeGreaterThanOrEqual(least_);
    expect(text).not.toMatch(/relaxed_(?!dot_i8x16_i7x16_add_s)|madd/);
    if (!isRelaxed) expect(text).not.toMatch(/relaxed/);
    if (!name.endsWith('threads')) expect(text).not.toMatch(/atomic/);
    expect(Buffer.from(KERNELS[name as keyof typeof KERNELS], 'base64').equals(readFileSync(file))).toBe(
      true,
    );
  });
});
