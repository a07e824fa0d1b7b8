/** A state in int8 whose steps are measured whenever it is written, of both scans. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { wasm } from '../../src/backends/wasm/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { parseRecipe, type Recipe } from '../../src/quant/scheme.ts';
import { interpret } from '../../src/run.ts';
import { createSession } from '../../src/session.ts';
import { measuredStep, stateStore, stateView } from '../../src/state.ts';
import { planOfToy, runnableOf, sameBits, type Toy, toy, toy2 } from '../toy.ts';

const f = Math.fround;
const row = fc.float32Array({ minLength: 1, maxLength: 9 });

describe('a measured step', () => {
  it('gives exact products, and is found again in the row that is read back', () => {
    fc.assert(
      fc.property(row, values => {
        const step = measuredStep(values);
        for (let q = -127; q <= 127; q++) expect(f(step * q)).toBe(step * q);
        const once = stateView({ dtype: 'i8-dynamic' }, [1, values.length]);
        once.put(0, values);
        expect(measuredStep(once.data)).toBe(step);
        const again = stateView({ dtype: 'i8-dynamic' }, [1, values.length]);
        again.put(0, once.data);
        expect(sameBits(again.data, once.data)).toBe(true);
      }),
    );
  });

  it('loses at most half of itself, and is at most 2⁻¹⁵ larger than it must be', () => {
    fc.assert(
      fc.property(
        fc.float32Array({
          minLength: 1,
          maxLength: 9,
          noNaN: true,
          noDefaultInfinity: true,
          min: f(-3e38),
          max: f(3e38),
        }),
        values => {
          const step = measuredStep(values);
          const most = Math.max(f(1e-5), ...values.map(Math.abs));
          expect(step).toBeGreaterThanOrEqual(f(most / 127));
          expect(step).toBeLessThanOrEqual((most / 127) * (1 + 2 ** -14));
          const kept = stateView({ dtype: 'i8-dynamic' }, [1, values.length]);
          kept.put(0, values);
          for (const [i, value] of values.entries())
            expect(Math.abs(kept.data[i] - value)).toBeLessThanOrEqual(step * 0.5000001);
        },
      ),
    );
  });

  it('passes NaN over, and what is infinite stays at the greatest', () => {
    const kept = stateView({ dtype: 'i8-dynamic' }, [2, 3]);
    kept.put(0, [Number.NaN, 1, -0.5, Number.POSITIVE_INFINITY, -1, 0]);
    expect(kept.data[0]).toBe(0);
    expect(kept.data[1]).toBeCloseTo(1, 4);
    expect(kept.data[3]).toBeGreaterThan(3.39e38);
    expect(kept.data[4]).toBe(0);
  });

  it('is counted in the bytes, and starts at zeros', () => {
    const store = stateStore({ dtype: 'i8-dynamic', shape: [2, 3, 5] }, { dtype: 'i8-dynamic' });
    expect([...store.values()]).toEqual(Array(30).fill(0));
  });
});

const dynamic = recipes['quamba-int8-state-dynamic'];

describe.each([
  ['Mamba', toy],
  ['Mamba-2', toy2()],
] as [string, Toy][])('the state of %s', (name, of) => {
  const plan = planOfToy(of, dynamic);
  const tokens = of.text;
  const [want, after] = (() => {
    const sequence = interpret(plan).open();
    return [sequence.feed(tokens).data, sequence.save()] as const;
  })();

  it('needs no statistics, and is not that of static steps', () => {
    expect([...plan.graph.states.values()].some(({ dtype }) => dtype === 'i8-dynamic')).toBe(true);
    expect(sameBits(interpret(planOfToy(of, recipes.quamba)).open().feed(tokens).data, want)).toBe(false);
  });

  it('has the same bits in WebAssembly, for any cut', () => {
    const executable = wasm.prepare!(plan, { threads: 1 });
    for (const cut of [tokens.length, 1, 3]) {
      const sequence = executable.open();
      const parts: number[] = [];
      for (let at = 0; at < tokens.length; at += cut)
        parts.push(...sequence.feed(tokens.subarray(at, at + cut)).data);
      expect(sameBits(Float32Array.from(parts), want), `cut ${cut}`).toBe(true);
      for (const [ref, value] of sequence.save().values)
        expect(sameBits(value.data, after.values.get(ref)!.data), ref).toBe(true);
    }
  });

  it('goes on from a file and from a fork as if nothing had been', () => {
    const runnable = runnableOf(of, dynamic, `${name} dynamic`);
    const half = tokens.length >> 1;
    const session = createSession(runnable);
    session.feed([...tokens.subarray(0, half)]);
    const restored = createSession(runnable);
    restored.restore(session.snapshot());
    const rest = [...tokens.subarray(half)];
    const vocab = of.config.vocabSize;
    for (const each of [restored, session.fork(), session])
      expect(sameBits(each.feed(rest).data, want.slice(half * vocab))).toBe(true);
  });
});

describe('a recipe', () => {
  const withState = (states: unknown): Recipe => parseRecipe({ ...recipes.quamba, states });
  it('may ask for it of a scan, in 8 bits, and not of a convolution', () => {
    expect(withState({ ssmState: { bits: 8, when: 'dynamic' } }).states).toEqual(dynamic.states);
    expect(() => withState({ ssmState: { bits: 16, when: 'dynamic' } })).toThrow(
      /states\.ssmState\.when expected/,
    );
    expect(() => withState({ convState: { bits: 8, when: 'dynamic' } })).toThrow(
      /states\.convState\.when expected/,
    );
  });
});
