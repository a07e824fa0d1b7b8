import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { random } from '../../src/text/random.ts';
import { candidates, SAMPLING_DEFAULTS, type SamplingOptions, sampler } from '../../src/text/sampling.ts';

/** Logits with many ties: a grid of sixteenths. */
const logits = fc
  .array(fc.integer({ min: -160, max: 160 }), { minLength: 1, maxLength: 40 })
  .map(list => Float32Array.from(list, i => i / 16));
const off = { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, seed: 1 };
const draws = (options: SamplingOptions, scores: Float32Array, count: number, history: number[] = []) => {
  const sample = sampler({ ...off, ...options });
  return Array.from({ length: count }, () => sample(scores, history));
};

/** The definitions, in f64 and by full sorting. */
const softmax = (scores: number[], temperature: number) => {
  const best = Math.max(...scores);
  const weights = scores.map(x => Math.exp((x - best) / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map(w => w / total);
};
const ranked = (scores: ArrayLike<number>) =>
  Array.from(scores, (_, id) => id).sort((a, b) => scores[b] - scores[a] || a - b);
const sorted = (ids: Iterable<number>) => [...ids].sort((a, b) => a - b);

const settings = fc.record({
  temperature: fc.double({ min: Number.MIN_VALUE, max: 1e30, noNaN: true }),
  topK: fc.nat(50),
  topP: fc.double({ min: Number.MIN_VALUE, max: 1, noNaN: true }),
  minP: fc.double({ min: 0, max: 1, noNaN: true }),
});

describe('candidates', () => {
  it('without cuts are all, with the probabilities of softmax', () => {
    fc.assert(
      fc.property(logits, fc.double({ min: 0.1, max: 10, noNaN: true }), (scores, temperature) => {
        const { ids, weights } = candidates(scores, { ...off, temperature });
        const total = weights.reduce((a, b) => a + b);
        expect([...ids]).toEqual([...scores.keys()]);
        for (const [i, p] of softmax([...scores], temperature).entries())
          expect(Math.abs(weights[i] / total - p)).toBeLessThan(1e-5);
      }),
    );
  });

  it('top-k: the k likeliest, the lowest ids among equals', () => {
    fc.assert(
      fc.property(logits, fc.integer({ min: 1, max: 50 }), (scores, topK) => {
        expect(sorted(candidates(scores, { ...off, topK }).ids)).toEqual(
          sorted(ranked(scores).slice(0, topK)),
        );
      }),
    );
  });

  it('top-p: the fewest likeliest whose probabilities, after top-k, reach p', () => {
    fc.assert(
      fc.property(
        logits,
        fc.double({ min: 0.001, max: 0.999, noNaN: true }),
        fc.integer({ min: 0, max: 50 }),
        (scores, topP, topK) => {
          const order = ranked(scores).slice(0, topK || scores.length);
          const p = softmax(
            order.map(id => scores[id]),
            8,
          );
          const reached = p.map((_, i) => p.slice(0, i + 1).reduce((a, b) => a + b));
          fc.pre(reached.every(mass => Math.abs(mass - topP) > 1e-5)); // f32 against f64
          const count = reached.findIndex(mass => mass >= topP) + 1;
          expect([...candidates(scores, { ...off, temperature: 8, topP, topK }).ids]).toEqual(
            order.slice(0, count),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('min-p: those at least p times as probable as the likeliest', () => {
    fc.assert(
      fc.property(logits, fc.double({ min: 0.001, max: 1, noNaN: true }), (scores, minP) => {
        const best = Math.max(...scores);
        fc.pre([...scores].every(x => x === best || Math.abs(Math.exp(x - best) - minP) > 1e-5));
        const expected = [...scores.keys()].filter(id => Math.exp(scores[id] - best) >= minP);
        expect([...candidates(scores, { ...off, minP }).ids]).toEqual(expected);
      }),
    );
  });

  it('top-p sees the probabilities after the temperature', () => {
    const scores = Float32Array.of(2, 1, 0);
    expect(candidates(scores, { ...off, topP: 0.75 }).ids).toHaveLength(2);
    expect(candidates(scores, { ...off, topP: 0.75, temperature: 0.5 }).ids).toHaveLength(1);
    expect(candidates(scores, { ...off, topP: 0.75, temperature: 9 }).ids).toHaveLength(3);
  });

  it('include the likeliest, whatever the settings', () => {
    fc.assert(
      fc.property(logits, settings, (scores, set) => {
        const { ids, weights } = candidates(scores, set);
        expect(ids).toContain(ranked(scores)[0]);
        expect(weights.every(weight => weight >= 0 && weight <= 1)).toBe(true);
        expect(Math.max(...weights)).toBe(1);
      }),
      { numRuns: 500 },
    );
  });
});

describe('sampler', () => {
  it('the same seed gives the same tokens, another seed others', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.maxSafeInteger(), (seed, other) => {
        const scores = new Float32Array(100);
        fc.pre(seed !== other);
        expect(draws({ seed }, scores, 20)).toEqual(draws({ seed }, scores, 20));
        expect(draws({ seed }, scores, 20)).not.toEqual(draws({ seed: other }, scores, 20));
      }),
    );
  });

  it('draws by the probabilities', () => {
    const p = [0.5, 0.3, 0.15, 0.05];
    const count = 20000;
    const drawn = draws({ seed: 5 }, Float32Array.from(p, Math.log), count);
    for (const [id, expected] of p.entries()) {
      const sigma = Math.sqrt((expected * (1 - expected)) / count);
      expect(Math.abs(drawn.filter(d => d === id).length / count - expected)).toBeLessThan(4 * sigma);
    }
  });

  it('draws none but candidates', () => {
    fc.assert(
      fc.property(logits, fc.integer({ min: 1, max: 5 }), fc.integer(), (scores, topK, seed) => {
        const allowed = ranked(scores).slice(0, topK);
        for (const id of draws({ topK, seed }, scores, 20)) expect(allowed).toContain(id);
      }),
    );
  });

  it('temperature 0 is the argmax, the lowest id among equals', () => {
    fc.assert(
      fc.property(logits, fc.integer(), (scores, seed) => {
        expect(draws({ temperature: 0, seed }, scores, 2)).toEqual(Array(2).fill(ranked(scores)[0]));
      }),
    );
  });

  it('temperature → 0 becomes the argmax', () => {
    fc.assert(
      fc.property(logits, fc.constantFrom(1e-3, 1e-30, Number.MIN_VALUE), (scores, temperature) => {
        const [first, second] = ranked(scores);
        fc.pre(scores[first] !== scores[second]);
        expect(draws({ temperature }, scores, 20)).toEqual(Array(20).fill(first));
      }),
    );
  });

  it('has the default settings where none are given', () => {
    const scores = Float32Array.from({ length: 300 }, (_, i) => ((i * 37) % 101) / 16);
    const run = (options?: SamplingOptions) => {
      const sample = sampler(options);
      return Array.from({ length: 50 }, () => sample(scores));
    };
    expect(run()).toEqual(run(SAMPLING_DEFAULTS));
    expect(run({ seed: undefined, topP: undefined })).toEqual(run());
    expect(run({ topP: 1 })).not.toEqual(run());
    expect(SAMPLING_DEFAULTS).toMatchObject({ temperature: 0.8, topP: 0.95 });
  });

  it('divides positive and multiplies negative logits of tokens before, once each', () => {
    fc.assert(
      fc.property(
        logits,
        fc.array(fc.nat(50), { maxLength: 20 }),
        fc.double({ min: 0.25, max: 4, noNaN: true }),
        (scores, history, repetitionPenalty) => {
          const expected = scores.map((x, id) =>
            !history.includes(id) ? x : x < 0 ? x * repetitionPenalty : x / repetitionPenalty,
          );
          const before = scores.slice();
          const drawn = draws({ seed: 3, repetitionPenalty }, scores, 5, history);
          expect(drawn).toEqual(draws({ seed: 3 }, expected, 5));
          expect(draws({ temperature: 0, repetitionPenalty }, scores, 1, history)).toEqual([
            ranked(expected)[0],
          ]);
          expect(scores).toEqual(before);
        },
      ),
    );
  });

  it('never draws −Infinity under a penalty either', () => {
    const no = Number.NEGATIVE_INFINITY;
    const [holed, whole] = [2, 2].map(repetitionPenalty => sampler({ repetitionPenalty, temperature: 3 }));
    for (let i = 0; i < 50; i++)
      expect(holed(Float32Array.of(no, 1, no, 2, no), [0, 1])).toBe(
        1 + 2 * whole(Float32Array.of(1, 2), [0]),
      );
  });

  it('never draws −Infinity, and draws else as if it were not there', () => {
    const rows = fc.array(fc.option(fc.float({ min: -20, max: 20, noNaN: true })), { minLength: 1 });
    fc.assert(
      fc.property(rows, settings, (row, options) => {
        const ids = [...row.keys()].filter(id => row[id] !== null);
        fc.pre(ids.length > 0);
        const all = Float32Array.from(row, score => score ?? Number.NEGATIVE_INFINITY);
        const kept = Float32Array.from(ids, id => all[id]);
        expect(draws(options, all, 20)).toEqual(draws(options, kept, 20).map(at => ids[at]));
      }),
    );
  });

  it.each([
    [[1, Number.NaN, 2], 'got NaN at id 1'],
    [[1, 2, Number.POSITIVE_INFINITY], 'got Infinity at id 2'],
  ])('refuses logits %j', (values, got) => {
    for (const temperature of [0, 1])
      expect(() => sampler({ temperature })(Float32Array.from(values))).toThrow(
        `sampler: logits expected finite values or −Infinity; ${got}`,
      );
    const never = Float32Array.of(Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY);
    expect(() => sampler()(never)).toThrow('sampler: logits expected a value above −Infinity; got none');
    expect(() => sampler()(new Float32Array(0))).toThrow('sampler: expected logits; got none');
  });

  it.each<[SamplingOptions, string]>([
    [{ temperature: -1 }, 'temperature expected a number >= 0; got -1'],
    [{ temperature: Number.POSITIVE_INFINITY }, 'temperature expected a number >= 0; got Infinity'],
    [{ temperature: '1' as never }, "temperature expected a number >= 0; got '1'"],
    [{ topK: 1.5 }, 'topK expected a whole number >= 0; got 1.5'],
    [{ topP: 0 }, 'topP expected a number > 0 and <= 1; got 0'],
    [{ topP: Number.NaN }, 'topP expected a number > 0 and <= 1; got NaN'],
    [{ minP: 1.01 }, 'minP expected a number >= 0 and <= 1; got 1.01'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty expected a number > 0; got 0'],
    [{ seed: 0.5 }, 'seed expected a whole number between ±(2⁵³ − 1); got 0.5'],
    [
      { top_k: 5 } as never,
      "sampler: no setting 'top_k'; expected temperature, topK, topP, minP, repetitionPenalty, seed",
    ],
  ])('refuses %j', (options, sentence) => {
    expect(() => sampler(options)).toThrow(sentence);
  });
});

describe('random', () => {
  /** sfc32 once more, in unbounded integers. */
  function* sfc32(seed: number) {
    const u32 = (x: bigint) => BigInt.asUintN(32, x);
    let [a, b, c, counter] = [0n, u32(BigInt(seed)), u32(BigInt(seed) >> 32n), 1n];
    for (let i = 0; ; i++) {
      const out = u32(a + b + counter);
      counter = u32(counter + 1n);
      a = b ^ (b >> 9n);
      b = u32(c * 9n);
      c = u32(((c << 21n) | (c >> 11n)) + out);
      if (i >= 12) yield Number(out) / 2 ** 32;
    }
  }

  it('is sfc32', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), seed => {
        const next = random(seed);
        const truth = sfc32(seed);
        for (let i = 0; i < 50; i++) expect(next()).toBe(truth.next().value);
      }),
    );
  });

  it('stays as it was: a change would change every seeded text', () => {
    const next = random(1);
    expect(Array.from({ length: 3 }, () => next() * 2 ** 32)).toEqual([2012149540, 1872316204, 1707632675]);
    const scores = Float32Array.from({ length: 300 }, (_, i) => ((i * 37) % 101) / 16);
    expect(draws(SAMPLING_DEFAULTS, scores, 8)).toEqual([139, 210, 281, 8, 139, 281, 259, 81]);
  });
});
