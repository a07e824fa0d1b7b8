/** A scan's state that is kept in int8: the op, what calibration sees of it, and plans and sessions that have it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { called, expectedOf } from '../../src/conformance/judge/judge.ts';
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { bind, resultsOf } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import { calibrate, calibrateAll } from '../../src/quant/calibrate.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { rowRanges } from '../../src/quant/ranges.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { interpret } from '../../src/run.ts';
import { createSession } from '../../src/session.ts';
import { statesBytes } from '../../src/state.ts';
import { tensor } from '../../src/tensor.ts';
import { cut, difference, run } from '../backends/feeds.ts';
import { noise, planOfToy, random, runnableOf, sameBits, statsOfToy, toy, toys } from '../toy.ts';

const [d, n] = [5, 4];
const l = 12;
function inputsOf(seed: number) {
  const next = random(seed);
  const rows = (width: number) => tensor(noise(l * width, next), [l, width]);
  const dt = tensor(
    rows(d).data.map(x => Math.abs(x) / 4),
    [l, d],
  );
  const A = noise(d * n, next).map(x => -Math.abs(x));
  const scale = tensor(Float32Array.from({ length: d }, () => 0.003 + 0.02 * next()));
  return { A: tensor(A, [d, n]), scale, rows: { u: rows(d), dt, B: rows(n), C: rows(n) } };
}
type Rows = ReturnType<typeof inputsOf>['rows'];
const part = (rows: Rows, from: number, to: number): Rows =>
  Object.fromEntries(
    Object.entries(rows).map(([key, { data, shape }]) => [
      key,
      tensor(data.slice(from * shape[1], to * shape[1]), [to - from, shape[1]]),
    ]),
  ) as unknown as Rows;

const scan = (inputs: Parameters<typeof ops.selectiveScan>[0], scale: Float32Array) =>
  ops.selectiveScan(inputs, {}, { h: { dtype: 'i8', scale } });

describe('selective-scan with h in int8', () => {
  it('is the scan whose state goes through quantize and dequantize after each token', () => {
    fc.assert(
      fc.property(fc.nat(999), seed => {
        const { A, scale, rows } = inputsOf(seed);
        const whole = scan({ ...rows, A }, scale.data);
        let state = tensor(new Float32Array(d * n), [d, n]);
        const ys: number[] = [];
        for (let t = 0; t < l; t++) {
          const made = ops.selectiveScan({ ...part(rows, t, t + 1), A, h: state });
          ys.push(...made.y.data);
          const { q } = ops.quantize({ x: made.h, scale });
          state = ops.dequantize({ q, scale }).x;
        }
        expect(difference(Float32Array.from(ys), whole.y.data)).toBe('');
        expect(whole.h.data.map(x => x + 0)).toEqual(state.data.map(x => x + 0));
      }),
      { numRuns: 30 },
    );
  });

  it('gives the same in any cut, and a state of its own back as it is', () => {
    fc.assert(
      fc.property(fc.nat(999), fc.integer({ min: 1, max: l - 1 }), (seed, at) => {
        const { A, scale, rows } = inputsOf(seed);
        const whole = scan({ ...rows, A }, scale.data);
        const first = scan({ ...part(rows, 0, at), A }, scale.data);
        const rest = scan({ ...part(rows, at, l), A, h: first.h }, scale.data);
        expect(difference(rest.y.data, whole.y.data.subarray(at * d))).toBe('');
        expect(difference(rest.h.data, whole.h.data)).toBe('');
      }),
      { numRuns: 30 },
    );
  });

  it('makes 0 of a NaN, which the token’s y shows, on wasm too', () => {
    const { A, scale, rows } = inputsOf(1);
    const u = { ...rows.u, data: rows.u.data.map((x, i) => (i === 3 * d + 2 ? Number.NaN : x)) };
    const kept = { h: { dtype: 'i8', scale: scale.data } } as const;
    const call = bind(ops.selectiveScan, { ...rows, u, A }, {}, kept);
    const { y, h } = expectedOf(ops.selectiveScan, call);
    expect([...y.data].flatMap((x, i) => (Number.isNaN(x) ? [i] : []))).toEqual([3 * d + 2]);
    expect([...h.data].some(Number.isNaN)).toBe(false);
    const made = resultsOf(called(wasm, ops.selectiveScan, call));
    expect(difference(made.y.data, y.data)).toBe('');
    expect(difference(made.h.data, h.data)).toBe('');
  });
});

const recipe = recipes['quamba-int8-state'];
const states = [...toy.program.graph.states.keys()].filter(ref => ref.endsWith('.ssmState'));

describe('calibration of states', () => {
  it('is of the largest |h| of each channel after every 16 tokens and at the end, from an empty state each', () => {
    const most = new Map(states.map(ref => [ref, new Float32Array(toy.config.dInner)]));
    let looks = 0;
    for (const sample of toy.samples) {
      const executable = interpret(toy.program);
      for (let end = 16; end <= sample.length; end += 16) {
        looks++;
        const sequence = executable.open();
        sequence.feed(sample.subarray(0, end));
        const { values } = sequence.save();
        for (const [ref, max] of most)
          for (const [i, h] of values.get(ref)!.data.entries()) {
            const c = Math.floor(i / toy.config.dState);
            max[c] = Math.max(max[c], Math.abs(h));
          }
      }
    }
    const { channels } = statsOfToy(toy, recipe);
    expect(Object.keys(channels)).toEqual(states);
    for (const [ref, max] of most)
      expect(difference(channels[ref], rowRanges(max, 16 * looks)), ref).toBe('');
  });

  it('leaves the rest as it is without, alone and together with other recipes', () => {
    const { ranges } = statsOfToy(toy, recipe);
    expect(ranges).toEqual(statsOfToy(toy, recipes.quamba).ranges);
    const [plain, stepped] = calibrateAll(toy.program, [recipes.quamba, recipe], toy.samples);
    expect(plain).toEqual(statsOfToy(toy, recipes.quamba));
    expect(stepped).toEqual(statsOfToy(toy, recipe));
  });

  it('is needed, and counts its pass', () => {
    const only = { states: { ssmState: { bits: 8 } } } as const;
    const seen: number[][] = [];
    const stats = calibrate(toy.program, only, toy.samples, { onProgress: (...at) => seen.push(at) });
    expect(Object.keys(stats.channels)).toEqual(states);
    expect(seen.at(-1)).toEqual([2 * toy.samples.length, 2 * toy.samples.length]);
    expect(() => planOf(toy.program, only)).toThrow(
      'quantize: no channel statistics for layers.0.ssmState; calibrate with this recipe first',
    );
  });
});

describe('a plan whose states are kept in 8 bits', () => {
  const runnable = runnableOf(toy, recipe, 'quamba-int8-state');
  const plan = runnable.program;
  const session = () => createSession(runnable);

  it('says so of those of the scan, and how many bytes they are', () => {
    for (const [ref, { dtype }] of plan.graph.states)
      expect(dtype).toBe(ref.endsWith('.ssmState') ? 'i8' : 'f32');
    const { layers, dInner, dState, dConv } = toy.config;
    expect(statesBytes(plan.graph.states, 0)).toBe(layers * dInner * (dState + 4 * (dConv - 1)));
    expect(statesBytes(toy.program.graph.states, 0)).toBe(layers * dInner * 4 * (dState + dConv - 1));
  });

  it('saves them as I8, and goes on from there with the same bits', () => {
    const whole = session().feed(toy.text);
    const first = session();
    first.feed(toy.text.subarray(0, 20));
    const saved = first.snapshot();
    const { tensors } = readSafetensors(fromBytes('state', saved));
    for (const [name, { dtype }] of tensors) expect(dtype).toBe(name.endsWith('.ssmState') ? 'I8' : 'F32');
    const second = session();
    second.restore(saved);
    expect(second.snapshot()).toEqual(saved);
    const rest = second.feed(toy.text.subarray(20));
    expect(sameBits(rest.data, whole.data.subarray(20 * toy.config.vocabSize))).toBe(true);
  });

  it('has the reference’s bits on wasm, in any cut', () => {
    for (const of of toys) {
      const program = planOfToy(of, recipe);
      const expected = run(interpret(program), [of.text]);
      for (const sizes of [[32], [1, 1, 1, 29], [17, 15]]) {
        const actual = run(prepare(wasm, program), cut(of.text, sizes));
        expect(difference(actual.logits, expected.logits)).toBe('');
        for (const ref in expected.state)
          expect(difference(actual.state[ref].data, expected.state[ref].data), ref).toBe('');
      }
    }
  });
});
