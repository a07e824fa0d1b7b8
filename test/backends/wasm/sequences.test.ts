/** Sequences that are fed together: each has the bits that it has alone, whoever joins, leaves or fails beside it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../../src/backends/backend.ts';
import { reference } from '../../../src/backends/reference.ts';
import { wasm } from '../../../src/backends/wasm/index.ts';
import { passesOf } from '../../../src/backends/wasm/passes.ts';
import type { Executable, Sequence } from '../../../src/executable.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import type { Recipe } from '../../../src/quant/scheme.ts';
import { interpret } from '../../../src/run.ts';
import { planOfToy, toy } from '../../toy.ts';
import { difference, variants } from '../feeds.ts';

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

it('more sequences than a pass has rows', () => {
  const executable = prepare(wasm, planOfToy(toy, recipes.quamba));
  const sequences = Array.from({ length: 300 }, () => executable.open());
  const tokens = (i: number) => Int32Array.from({ length: 1 + (i % 3) }, (_, t) => (i + t) % vocabSize);
  const results = executable.feed(
    sequences.map((sequence, i) => ({ sequence, tokens: tokens(i) })),
    { logits: 'last' },
  );
  const one = executable.open();
  for (const [i, { data }] of results.entries()) {
    one.load();
    expect(difference(data, one.feed(tokens(i), { logits: 'last' }).data)).toBe('');
  }
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
