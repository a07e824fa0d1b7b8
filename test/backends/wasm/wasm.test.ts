/**
 * The wasm backend against the reference: zero differing bits, also where the conformance suite does not go (its cases are in
 * conformance.test.ts). Two NaNs count as the same.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { instructions } from '../../../src/backends/wasm/instructions.ts';
import { arrange } from '../../../src/backends/wasm/memory.ts';
import { sweepOf } from '../../../src/conformance/cases/sweep.ts';
import { attrsOf, inputOf, wild } from '../../../src/conformance/inputs.ts';
import { called, expectedOf } from '../../../src/conformance/judge/judge.ts';
import type { Executable } from '../../../src/executable.ts';
import { trace, weightsOf } from '../../../src/graph.ts';
import { type AnyOp, bind, resultsOf } from '../../../src/op.ts';
import { ops } from '../../../src/ops/index.ts';
import { calibrate } from '../../../src/quant/calibrate.ts';
import { planOf } from '../../../src/quant/pipeline.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import { type Recipe, w8 } from '../../../src/quant/scheme.ts';
import { interpret } from '../../../src/run.ts';
import { createSession } from '../../../src/session.ts';
import { statesBytes } from '../../../src/state.ts';
import { type Data, sizeOf, type Tensor, tensor, zeros } from '../../../src/tensor.ts';
import { noise, planOfToy, random, runnableOf, statsOfToy, toy, toys } from '../../toy.ts';
import { cut, difference, long, run, variants } from '../feeds.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** The ordinary values are in conformance.test.ts, where a NaN never passes. */
describe.each(variants)('%s: every op has the bits of the reference for any floats', (_, backend) => {
  const rows = Object.values(ops).filter(op => op !== ops.quantize); // NaN has a test of its own
  it.each(rows.map(op => [op.name, op as AnyOp] as const))('%s', (name, op) => {
    const next = random(name.length);
    for (const [words, { choice, absent }] of sweepOf(op)) {
      const given = Object.keys(op.inputs).filter(key => !absent.includes(key));
      const inputs = Object.fromEntries(given.map(key => [key, inputOf(op, key, choice, next, wild)]));
      const call = bind(op, inputs, attrsOf(op, choice));
      const expected = expectedOf(op, call);
      const actual = resultsOf(called(backend, op, call));
      for (const key in expected)
        expect(difference(actual[key].data, expected[key].data), `${words}: ${key}`).toBe('');
    }
  });
});

describe.each(variants)('%s: whole plans', (_, backend) => {
  const groups: Recipe = {
    ...recipes.dynamic,
    weights: { bits: 8, per: { group: 2 } },
    weightsAt: { conv: w8 },
  };

  it.each(toys.map(of => [of.name, of] as const))('%s with scales for groups, in any cut', (__, of) => {
    const plan = planOfToy(of, groups);
    const text = long(of.config.vocabSize);
    const expected = run(interpret(plan), [text]);
    const executable = prepare(backend, plan);
    for (const sizes of [[300], [128, 128, 44], [1, 1, 1, 125, 129, 43]]) {
      const actual = run(executable, cut(text, sizes));
      expect(difference(actual.logits, expected.logits), `${sizes}: logits`).toBe('');
      for (const ref in expected.state)
        expect(difference(actual.state[ref].data, expected.state[ref].data), `${sizes}: ${ref}`).toBe('');
    }
  });

  it.each([...Object.entries(recipes), ['groups', groups]] as [string, Recipe][])(
    '%s: the last logits alone',
    (__, recipe) => {
      const plan = planOfToy(toy, recipe);
      const { vocabSize: v } = toy.config;
      const text = long(v);
      for (const e of [prepare(backend, plan), interpret(plan)])
        for (const length of [300, 256, 5, 1]) {
          const [whole, short] = [e.open(), e.open()];
          const all = whole.feed(text.subarray(0, length));
          const last = short.feed(text.subarray(0, length), { logits: 'last' });
          expect(last.shape).toEqual([1, v]);
          expect(difference(last.data, all.data.subarray(-v)), `${length}`).toBe('');
          const states = short.save().values;
          for (const [ref, { data }] of whole.save().values)
            expect(difference(states.get(ref)!.data, data), `${length}: ${ref}`).toBe('');
        }
    },
  );

  it('a model of odd sizes', () => {
    const sizes = { m: 7, d: 13, v: 11, n: 5, k: 3 };
    const { m, d, v, n, k } = sizes;
    const next = random(5);
    const weights = new Map<string, Tensor>();
    const graph = trace((g, tokens) => {
      const w = (name: string, ...shape: number[]) => {
        weights.set(name, tensor(noise(sizeOf(shape), next), shape));
        return g.weight(name, shape);
      };
      const x = g.op('x', ops.embedding, { tokens, w: w('table', v, m) });
      const normed = g.op('normed', ops.rmsNorm, { x });
      const wide = g.op('wide', ops.linear, { x: normed, w: w('in', 2 * d, m) });
      const z = g.op('z', ops.slice, { x: wide }, { start: d, size: d });
      const u = g.op('u', ops.slice, { x: wide }, { start: 0, size: d });
      const conv = g.op('conv', ops.causalConv1d, {
        x: u,
        w: w('taps', d, k),
        past: g.state('past', [d, k - 1]),
      });
      const B = g.op('B', ops.linear, { x: conv, w: w('to B', n, d) });
      const C = g.op('C', ops.linear, { x: conv, w: w('to C', n, d) });
      const dt = g.op('dt', ops.softplus, { x: conv });
      const A = g.op('A', ops.negExp, { x: w('A_log', d, n) });
      const y = g.op('y', ops.selectiveScan, { u: conv, dt, A, B, C, z, h: g.state('h', [d, n]) });
      const back = g.op('back', ops.linear, { x: y, w: w('out', m, d), b: w('bias', m) });
      return g.op('logits', ops.linear, {
        x: g.op('sum', ops.add, { x, y: back }),
        w: g.weight('table', [v, m]),
      });
    });
    const program = { graph, weights: weightsOf(weights) };
    const text = long(v);
    const expected = run(interpret(program), [text]);
    const actual = run(prepare(backend, program), cut(text, [1, 2, 200, 97]));
    expect(difference(actual.logits, expected.logits)).toBe('');
    expect(difference(actual.state.h.data, expected.state.h.data)).toBe('');
    expect(difference(actual.state.past.data, expected.state.past.data)).toBe('');
  });

  it('a result, and a site, of a value that nothing reads any more', () => {
    const w = tensor(noise(64, random(4)), [8, 8]);
    const graph = trace((g, tokens) => {
      const x = g.op('x', ops.embedding, { tokens, w: g.weight('w', w.shape) });
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
        executable.open().feed(Int32Array.of(1, 5, 7), {
          observe: (_, __, x) => values.push(x.data),
        });
      return [feed().data, ...values];
    };
    const expected = seen(interpret(program));
    for (const [i, values] of seen(prepare(backend, program)).entries())
      expect(difference(values, expected[i])).toBe('');
    expect(expected.length).toBe(2);
  });
});

describe('calibration', () => {
  it.each([32, 300])('sees every site whole, over %i tokens', length => {
    for (const { program, config } of toys) {
      const text = long(config.vocabSize).subarray(0, length);
      const seen = (executable: Executable) => {
        const sites: [string, string, Tensor][] = [];
        const logits = executable.open().feed(text, {
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
      const after = executable.open().feed(text); // and unobserved again
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
      expect(message(() => wasm.kernelOf(ops.quantize)!(inputs, attrs, outputs, dims, {}))).toBe(expected);
    }
  });

  it('a token outside of the vocabulary', () => {
    const executable = prepare(wasm, toy.program);
    for (const bad of [-1, toy.config.vocabSize]) {
      const feed = (e: Executable) => message(() => e.open().feed(Int32Array.of(1, bad)));
      expect(feed(executable)).toBe(feed(interpret(toy.program)));
      expect(feed(executable)).toContain('position 1');
    }
  });

  it('a weight of a wrong shape or dtype, before anything runs', () => {
    const program = (shape: number[], w: Tensor = zeros('f32', shape)) => ({
      graph: trace((g, tokens) => g.op('y', ops.embedding, { tokens, w: g.weight('w', shape) })),
      weights: weightsOf(new Map([['w', w]])),
    });
    expect(() => prepare(wasm, program([4]))).toThrow(
      'program: embedding y.in.w expected f32[v, m]; got f32[4]',
    );
    expect(() => prepare(wasm, program([4, 4], zeros('i8', [4, 4])))).toThrow(
      new TypeError('program.weights["w"] expected f32[4, 4]; got i8[4, 4]'),
    );
  });

  it('a feed after dispose', () => {
    const executable = prepare(wasm, toy.program);
    executable.dispose!();
    expect(() => executable.open().feed(Int32Array.of(1))).toThrow('disposed');
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
});

it('measuring the ceilings changes nothing of a text in progress', () => {
  const plan = planOfToy(toy, recipes.quamba);
  const executable = prepare(wasm, plan);
  const sequence = executable.open();
  sequence.feed(toy.text);
  for (const rate of [executable.readBandwidth!(1e6), executable.multiplyRate!()]) {
    expect(rate).toBeGreaterThan(0);
    expect(rate).toBeLessThan(Number.POSITIVE_INFINITY);
  }
  const twice = Int32Array.of(...toy.text, ...toy.text);
  const expected = interpret(plan)
    .open()
    .feed(twice)
    .data.subarray(toy.text.length * toy.config.vocabSize);
  expect(difference(sequence.feed(toy.text).data, expected)).toBe('');
});

it('tells what a token moves: every weight once, but of a table one row, and the states twice', () => {
  const plan = planOfToy(toy, recipes['quamba-int8-head']);
  const { bytesPerToken, memoryBytes } = prepare(wasm, plan).about!;
  const integers = [...plan.graph.weights].filter(([ref]) => /\.i8(-rows)?$/.test(ref));
  const read = integers.reduce((sum, [, { shape }]) => sum + sizeOf(shape), 0);
  expect(bytesPerToken).toBeGreaterThan(read + 2 * statesBytes(plan.graph.states, 0));
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
    const own = names.filter(name => !/^selective-scan-/.test(name)); // which are in selective-scan
    const others = [
      'execute',
      'index',
      'numerics',
      'ceilings',
      'kept-state',
      'pool',
      'share',
      'turns',
      'tiles-i4',
      'tiles-i8',
    ];
    expect(stems.sort()).toEqual([...own, ...others].sort());
    for (const name of own)
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
    expect(text).not.toMatch(/relaxed_(?!dot_i8x16_i7x16_(add_)?s)|madd/);
    if (!isRelaxed) expect(text).not.toMatch(/relaxed/);
    if (!name.endsWith('threads')) expect(text).not.toMatch(/atomic/);
    expect(Buffer.from(KERNELS[name as keyof typeof KERNELS], 'base64').equals(readFileSync(file))).toBe(
      true,
    );
  });
});
