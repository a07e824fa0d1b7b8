/** A scan's state that is kept in int8: the op, what calibration sees of it, and plans and sessions that have it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { ops } from '../../src/ops/index.ts';
import { calibrate, calibrateAll } from '../../src/quant/calibrate.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { initialState, interpret, keptStates } from '../../src/run.ts';
import { stateBytes } from '../../src/state.ts';
import { createSession, type Session } from '../../src/session.ts';
import { tensor } from '../../src/tensor.ts';
import { cut, difference, run } from '../backends/feeds.ts';
import { noise, planOfToy, random, sameBits, statsOfToy, toy, toys } from '../toy.ts';

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

describe('selective-scan-i8state', () => {
  it('is the scan whose state goes through quantize and dequantize after each token', () => {
    fc.assert(
      fc.property(fc.nat(999), seed => {
        const { A, scale, rows } = inputsOf(seed);
        const whole = ops.selectiveScanI8state({ ...rows, A, scale });
        let state = tensor(new Float32Array(d * n), [d, n]);
        const ys: number[] = [];
        for (let t = 0; t < l; t++) {
          const made = ops.selectiveScan({ ...part(rows, t, t + 1), A, state });
          ys.push(...made.y.data);
          const { q } = ops.quantize({ x: made.state, scale });
          state = ops.dequantize({ q, scale }).x;
        }
        expect(difference(Float32Array.from(ys), whole.y.data)).toBe('');
        expect(whole.state.data.map(x => x + 0)).toEqual(state.data.map(x => x + 0));
      }),
      { numRuns: 30 },
    );
  });

  it('gives the same in any cut, and a state of its own back as it is', () => {
    fc.assert(
      fc.property(fc.nat(999), fc.integer({ min: 1, max: l - 1 }), (seed, at) => {
        const { A, scale, rows } = inputsOf(seed);
        const whole = ops.selectiveScanI8state({ ...rows, A, scale });
        const first = ops.selectiveScanI8state({ ...part(rows, 0, at), A, scale });
        const rest = ops.selectiveScanI8state({ ...part(rows, at, l), A, scale, state: first.state });
        expect(difference(rest.y.data, whole.y.data.subarray(at * d))).toBe('');
        expect(difference(rest.state.data, whole.state.data)).toBe('');
      }),
      { numRuns: 30 },
    );
  });

  it('makes 0 of a NaN, which the token’s y shows, on wasm too', () => {
    const { A, scale, rows } = inputsOf(1);
    const u = { ...rows.u, data: rows.u.data.map((x, i) => (i === 3 * d + 2 ? Number.NaN : x)) };
    const inputs = { ...rows, u, A, scale };
    const { y, state } = ops.selectiveScanI8state(inputs);
    expect([...y.data].flatMap((x, i) => (Number.isNaN(x) ? [i] : []))).toEqual([3 * d + 2]);
    expect(state.data.some(Number.isNaN)).toBe(false);
    const made = {
      y: tensor(new Float32Array(l * d), [l, d]),
      state: tensor(new Float32Array(d * n), [d, n]),
    };
    wasm.kernelOf(ops.selectiveScanI8state)!(inputs, {}, made, { l, d, n });
    expect(difference(made.y.data, y.data)).toBe('');
    expect(difference(made.state.data, state.data)).toBe('');
  });
});

const recipe = recipes['quamba-int8-state'];
const states = Object.keys(toy.program.graph.states).filter(ref => ref.endsWith('.ssmState'));

describe('calibration of states', () => {
  it('sees the largest |h| of each channel after every 16 tokens and at the end, from an empty state each', () => {
    const most = new Map(states.map(ref => [ref, new Float32Array(toy.config.dInner)]));
    for (const sample of toy.samples) {
      const executable = interpret(toy.program);
      for (let end = 16; end <= sample.length; end += 16) {
        const { state } = executable.feed(sample.subarray(0, end), initialState(toy.program));
        for (const [ref, max] of most)
          for (const [i, h] of state[ref].data.entries()) {
            const c = Math.floor(i / toy.config.dState);
            max[c] = Math.max(max[c], Math.abs(h));
          }
      }
    }
    const { channels } = statsOfToy(toy, recipe);
    expect(Object.keys(channels)).toEqual(states);
    for (const [ref, max] of most) expect(difference(channels[ref], max), ref).toBe('');
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
  const plan = planOfToy(toy, recipe);
  const session = (): Session =>
    createSession({
      program: plan,
      executable: interpret(plan),
      vocabSize: toy.config.vocabSize,
      name: 'toy',
      identity: () => 'toy',
    });

  it('says so of those of the scan, and how many bytes they are', () => {
    for (const [ref, { bits }] of Object.entries(keptStates(plan)))
      expect(bits).toBe(ref.endsWith('.ssmState') ? 8 : 32);
    const { layers, dInner, dState, dConv } = toy.config;
    expect(stateBytes(plan)).toBe(layers * dInner * (dState + 4 * (dConv - 1)));
    expect(stateBytes(toy.program)).toBe(layers * dInner * 4 * (dState + dConv - 1));
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
      const expected = run(interpret(program), program, [of.text]);
      for (const sizes of [[32], [1, 1, 1, 29], [17, 15]]) {
        const actual = run(prepare(wasm, program), program, cut(of.text, sizes));
        expect(difference(actual.logits, expected.logits)).toBe('');
        for (const ref in expected.state)
          expect(difference(actual.state[ref].data, expected.state[ref].data), ref).toBe('');
      }
    }
  });
});
