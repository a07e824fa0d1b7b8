/** Sequences that are fed together: each has the bits that it has alone, whoever joins, leaves or fails beside it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { reference } from '../../../src/backends/reference.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { passesOf } from '../../../src/backends/wasm/passes.ts';
import type { Executable, Sequence } from '../../../src/executable.ts';
import { type Program, trace, weightsOf } from '../../../src/graph.ts';
import { ops } from '../../../src/ops/index.ts';
import { foldConstants } from '../../../src/plan/fold.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import type { Recipe } from '../../../src/quant/scheme.ts';
import { interpret } from '../../../src/run.ts';
import { type Tensor, tensor, zeros } from '../../../src/tensor.ts';
import { planOfToy, toy } from '../../toy.ts';
import { difference, variants } from '../feeds.ts';
import { assembled } from './codes.ts';

const { vocabSize } = toy.config;
const token = fc.nat(vocabSize - 1);
/** Mostly a few tokens, as in decoding; now and then more than a pass has rows. */
const text = fc.oneof(
  { weight: 6, arbitrary: fc.array(token, { minLength: 1, maxLength: 5 }) },
  { weight: 1, arbitrary: fc.array(token, { minLength: 90, maxLength: 150 }) },
);
/** For each of eight sequences: its next tokens, or nothing where it does not take part. */
const round = fc.record({
  texts: fc.array(fc.option(text, { freq: 3 }), { minLength: 8, maxLength: 8 }),
  logits: fc.constantFrom('all' as const, 'last' as const),
  act: fc.constantFrom('feed', 'feed', 'feed', 'fork', 'close', 'save'),
  which: fc.nat(7),
});

/** Two executables of one plan: one feeds eight sequences together, the other feeds each of them alone. */
function sameAlone(together: Executable, alone: Executable, rounds: readonly Round[]): void {
  const all = Array.from({ length: 8 }, () => together.open());
  const each = Array.from({ length: 8 }, () => alone.open());
  for (const [number, { texts, logits, act, which }] of rounds.entries()) {
    const other = (which + 1) % 8;
    if (act === 'fork') {
      for (const side of [all, each]) {
        side[other].close();
        side[other] = side[which].fork();
      }
    } else if (act === 'close') {
      for (const [side, executable] of [
        [all, together],
        [each, alone],
      ] as const) {
        side[which].close();
        side[which] = executable.open();
      }
    } else if (act === 'save') all[other].load(each[which].save());
    if (act === 'save') each[other].load(each[which].save());
    const turns = texts.flatMap((ids, i) =>
      ids ? [{ i, sequence: all[i], tokens: Int32Array.from(ids) }] : [],
    );
    if (turns.length === 0) continue;
    const results = together.feed(turns, { logits });
    for (const [at, { i, tokens }] of turns.entries()) {
      const { shape, data } = each[i].feed(tokens, { logits });
      expect(results[at].shape).toEqual(shape);
      expect(difference(results[at].data, data), `round ${number}: sequence ${i}`).toBe('');
    }
  }
  for (const [i, sequence] of all.entries()) {
    const { position, values } = each[i].save();
    expect(sequence.position).toBe(position);
    for (const [ref, { data }] of sequence.save().values)
      expect(difference(data, values.get(ref)!.data), `${i}: ${ref}`).toBe('');
  }
  for (const sequence of [...all, ...each]) sequence.close();
}
interface Round {
  readonly texts: readonly (readonly number[] | null)[];
  readonly logits: 'all' | 'last';
  readonly act: string;
  readonly which: number;
}

const backends = [['reference', reference] as const, ...variants];
describe.each(backends)('%s: eight sequences together have the bits of each alone', (_, backend) => {
  it.each(Object.entries(recipes) as [string, Recipe][])('%s', (__, recipe) => {
    const plan = planOfToy(toy, recipe);
    const [together, alone] = [prepare(backend, plan), prepare(backend, plan)];
    fc.assert(
      fc.property(fc.array(round, { minLength: 2, maxLength: 5 }), rounds =>
        sameAlone(together, alone, rounds),
      ),
      { numRuns: 6 },
    );
  });
});

it('with threads too', async () => {
  const plan = planOfToy(toy, recipes.quamba);
  const [together, alone] = [prepare(wasm, plan, { threads: 3 }), prepare(wasm, plan)];
  await together.ready;
  fc.assert(
    fc.property(fc.array(round, { minLength: 2, maxLength: 5 }), rounds =>
      sameAlone(together, alone, rounds),
    ),
    { numRuns: 10 },
  );
  together.dispose!();
});

it('as on the reference', () => {
  const plan = planOfToy(toy, recipes['quamba-int8-state']);
  const rounds = fc.sample(round, { numRuns: 4, seed: 7 });
  sameAlone(prepare(wasm, plan), interpret(plan), rounds);
});

it('more sequences than a pass has rows, also after a long text was observed', () => {
  const executable = prepare(wasm, planOfToy(toy, recipes.quamba));
  executable.open().feed(new Int32Array(600), { observe: () => {} });
  const sequences = Array.from({ length: 300 }, () => executable.open());
  const tokens = (i: number) => Int32Array.from({ length: 1 + (i % 3) }, (_, t) => (i + t) % vocabSize);
  const results = executable.feed(
    sequences.map((sequence, i) => ({ sequence, tokens: tokens(i) })),
    { logits: 'last' },
  );
  const one = prepare(wasm, planOfToy(toy, recipes.quamba)).open();
  for (const [i, { data }] of results.entries()) {
    one.load();
    expect(difference(data, one.feed(tokens(i), { logits: 'last' }).data)).toBe('');
  }
});

/** Token 0 gives an infinite value, and that a NaN behind the last state, where only the logits of asked rows are made. */
const failing = (): Program => {
  const graph = trace((g, tokens) => {
    const table = g.weight('table', [8, 4]);
    const scale = g.weight('scale', [1]);
    const x = g.op('x', ops.embedding, { tokens, w: table });
    const past = g.state('past', [4, 1]);
    const c = g.op('c', ops.causalConv1d, { x, w: g.weight('taps', [4, 2]), past });
    const sum = g.op('sum', ops.add, { x: c, y: c });
    const q = g.op('q', ops.quantize, { x: g.op('norm', ops.rmsNorm, { x: sum }), scale });
    return g.op('logits', ops.linearI8, {
      x: q,
      xscale: scale,
      w: g.weight('w', [8, 4], '', 'i8'),
      wscale: g.weight('wscale', [1, 1]),
    });
  });
  const values = (size: number, first = 0.5) =>
    Float32Array.from({ length: size }, (_, i) => (i < 4 ? first : 0.5));
  return {
    graph,
    weights: weightsOf(
      new Map<string, Tensor>([
        ['table', tensor(values(32, 3.4e38), [8, 4])],
        ['taps', tensor(values(8).fill(1), [4, 2])],
        ['scale', tensor(values(1), [1])],
        ['wscale', tensor(values(1), [1, 1])],
        ['w', tensor(new Int8Array(32).fill(3), [8, 4])],
      ]),
    ),
  };
};

describe.each(backends)('%s: a NaN that is to be quantized', (_, backend) => {
  const executable = prepare(backend, failing());
  it.each(['all', 'last'] as const)('is an error at every token, with the logits of %s', logits => {
    for (const tokens of [[0], [0, 1, 2], [1, 0, 1, 2], [...Array(150).fill(1), 0, 1, 1, 1]]) {
      const sequence = executable.open();
      expect(() => sequence.feed(Int32Array.from(tokens), { logits })).toThrow(
        'quantize C2: x must not hold NaN',
      );
      expect(sequence.position).toBe(0);
      expect(sequence.feed(Int32Array.of(1, 2)).shape).toEqual([2, 8]);
    }
  });
});

it.each(Object.entries(recipes) as [string, Recipe][])(
  '%s: the head, a seventh of a model or more, runs only for the rows whose logits are asked for',
  (_, recipe) => {
    const { tail, instructions } = assembled(foldConstants(planOfToy(toy, recipe)));
    expect(instructions.length - tail.begin).toBeGreaterThanOrEqual(recipe.at?.headIn ? 2 : 1);
  },
);

it.each([0, -1, 1.5, NaN, null, {}])('threads of %s are refused', threads => {
  expect(() => prepare(wasm, planOfToy(toy, recipes.quamba), { threads: threads as number })).toThrow(
    new RangeError(`backend wasm: threads expected a whole number >= 1; got ${threads}`),
  );
});

it('a plan whose matrices take far more than their bytes to multiply is refused', () => {
  const columns = 240_000;
  const graph = trace((g, tokens) => {
    const x = g.op('x', ops.embedding, { tokens, w: g.weight('table', [2, columns]) });
    const q = g.op('q', ops.quantize, { x, scale: g.weight('scale', [1]) });
    const w = g.weight('w', [2, columns / 2], '', 'i8');
    return g.op('y', ops.linearI4, {
      x: q,
      xscale: g.weight('scale', [1]),
      w,
      wscale: g.weight('s', [2, columns]),
    });
  });
  const weights = weightsOf(
    new Map([...graph.weights].map(([ref, { dtype, shape }]) => [ref, zeros(dtype, shape)])),
  );
  expect(() => prepare(wasm, { graph, weights })).toThrow(
    /^backend wasm: the plan works on \d+ bytes; expected at most 1073741824$/,
  );
});

it('passes have every row of every turn once, in order, at most so many', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 16 }), (turns, most) => {
      const passes = passesOf(turns, most);
      const rows = passes.flatMap(pass =>
        pass.flatMap(({ turn, from, count }) => Array.from({ length: count }, (_, i) => [turn, from + i])),
      );
      expect(rows).toEqual(turns.flatMap((size, turn) => Array.from({ length: size }, (_, i) => [turn, i])));
      for (const pass of passes) {
        expect(pass.reduce((sum, { count }) => sum + count, 0)).toBeLessThanOrEqual(most);
        for (const { turn, from, count, isLast } of pass) expect(isLast).toBe(from + count === turns[turn]);
      }
    }),
  );
});

describe('places', () => {
  const executable = () => prepare(wasm, planOfToy(toy, recipes.quamba));
  const fed = (sequence: Sequence) => {
    sequence.feed(toy.text);
    return sequence;
  };

  it('that are given back are used again, from the start of a text', () => {
    const model = executable();
    const first = fed(model.open());
    const before = model.about!.memoryBytes;
    for (let i = 0; i < 1000; i++) fed(model.open()).close();
    expect(model.about!.memoryBytes).toBeLessThanOrEqual(before + 65536);
    const start = model.open().feed(toy.text).data;
    expect(difference(start, interpret(planOfToy(toy, recipes.quamba)).open().feed(toy.text).data)).toBe('');
    first.close();
    expect(() => first.feed(toy.text)).toThrow('closed');
  });

  it('stay where they are when an observed text needs more room for values', () => {
    const model = executable();
    const texts = Array.from({ length: 4 }, () => fed(model.open()));
    const expected = texts[0].fork().feed(toy.text).data;
    const long = Int32Array.from({ length: 700 }, (_, i) => i % vocabSize);
    model.open().feed(long.subarray(0, 300), { observe: () => {} });
    model.open().feed(long, { observe: () => {} });
    const more = Array.from({ length: 20 }, () => model.open());
    model.feed(more.map(sequence => ({ sequence, tokens: toy.text })));
    for (const sequence of texts) expect(difference(sequence.feed(toy.text).data, expected)).toBe('');
  });
});
