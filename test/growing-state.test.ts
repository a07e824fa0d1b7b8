/**
 * States that grow with the text, on every backend: any cut, any company, forks, saves, files and failures leave the bits as they are.
 * The texts are longer than a page of the wasm backend, and the cuts are at and around its edges.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Backend, prepare } from '../src/backends/backend.ts';
import { reference } from '../src/backends/reference.ts';
import { wasm } from '../src/backends/wasm/index.ts';
import { batches } from '../src/batches.ts';
import { called } from '../src/conformance/judge/judge.ts';
import type { Sequence } from '../src/executable.ts';
import { bind, resultsOf } from '../src/op.ts';
import { defaultContext } from '../src/open/model.ts';
import { halfOf } from '../src/ops/half.ts';
import { ops } from '../src/ops/index.ts';
import { interpret } from '../src/run.ts';
import { createSession } from '../src/session.ts';
import { statesBytes } from '../src/state.ts';
import { difference, variants } from './backends/feeds.ts';
import { EACH, hybridOf, textOf, VOCAB } from './hybrid.ts';

const LENGTH = 300;
const text = textOf(LENGTH);
const rowsOf = (data: Float32Array, from: number, to: number) => data.subarray(from * VOCAB, to * VOCAB);

const dtypes = ['f32', 'f16', 'i8-dynamic'] as const;
const backends: readonly (readonly [string, Backend, number, readonly (typeof dtypes)[number][]])[] = [
  ['reference', reference, 1, ['f16']], // it is slow, and what it gives for whole texts is compared with
  ...variants.map(([name, backend]) => [name, backend, 1, dtypes] as const),
  ['wasm with 3 threads', wasm, 3, dtypes],
];
const programs = new Map(dtypes.map(dtype => [dtype, hybridOf(dtype)]));
const wholes = new Map(
  [...programs].map(([dtype, program]) => [dtype, interpret(program).open().feed(text)]),
);

describe.each(backends)('%s', (_, backend, threads, kept) => {
  describe.each(kept)('keys and values in %s', dtype => {
    const program = programs.get(dtype)!;
    const { data: whole } = wholes.get(dtype)!;
    const executable = prepare(backend, program, { threads });
    const isWhole = (data: Float32Array, from: number, to = from + data.length / VOCAB) =>
      expect(difference(data, rowsOf(whole, from, to)), `from ${from}`).toBe('');

    it('gives the same in any cut', async () => {
      await executable.ready;
      for (const sizes of [[300], [127, 1, 1, 126, 1, 1, 43], [128, 128, 44], [1, 2, 130, 167]]) {
        const sequence = executable.open();
        for (const [i, size] of sizes.entries()) {
          const at = sizes.slice(0, i).reduce((a, b) => a + b, 0);
          isWhole(sequence.feed(text.subarray(at, at + size)).data, at);
        }
        sequence.close();
      }
    });

    it('gives the same beside others, and for the last token alone', () => {
      const size = fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constantFrom(60, 127, 128, 129));
      const sizes = fc.array(fc.tuple(size, size), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(sizes, fc.boolean(), (rounds, isLast) => {
          const both = [executable.open(), executable.open()];
          for (const each of rounds) {
            const turns = both.flatMap((sequence, i) => {
              const { position } = sequence;
              const tokens = text.slice(position, position + each[i]);
              return tokens.length > 0 ? [{ sequence, tokens }] : [];
            });
            if (turns.length === 0) break;
            const results = executable.feed(turns, { logits: isLast ? 'last' : 'all' });
            for (const [i, { data }] of results.entries())
              isWhole(data, turns[i].sequence.position - data.length / VOCAB);
          }
          for (const sequence of both) sequence.close();
        }),
        { numRuns: backend === reference ? 2 : 15 },
      );
    });

    it.each([0, 1, 100, 128, 129, 257])('goes on from %i tokens, forked or saved, here and elsewhere', at => {
      const sequence = executable.open();
      if (at > 0) sequence.feed(text.subarray(0, at));
      const saved = sequence.save();
      expect(saved.values.get('0.keys')!.shape[0]).toBe(at);
      const [fork, other] = [sequence.fork(), interpret(program).open(saved)];
      const loaded = executable.open();
      loaded.feed(text.subarray(3, 200));
      loaded.load(other.save());
      const away = sequence.fork();
      for (const each of [sequence, fork, loaded, other, executable.open(saved)])
        isWhole(each.feed(text.subarray(at, at + 40)).data, at);
      away.feed(textOf(140, 8)); // what it writes nobody else sees
      isWhole(sequence.feed(text.subarray(at + 40, LENGTH)).data, at + 40, LENGTH);
      away.close();
      isWhole(fork.feed(text.subarray(at + 40, LENGTH)).data, at + 40, LENGTH);
      for (const each of [sequence, fork, loaded]) each.close();
    });

    it('goes into a file and comes back', () => {
      const runnable = {
        program,
        executable,
        batches: batches(executable),
        vocabSize: VOCAB,
        name: 'toy',
        identity: () => 'toy',
      };
      const session = createSession(runnable);
      session.feed(text.subarray(0, 130));
      const bytes = session.snapshot();
      const other = createSession({ ...runnable, executable: prepare(wasm, program) });
      other.restore(bytes);
      expect(other.position).toBe(130);
      isWhole(other.feed(text.subarray(130)).data, 130);
    });

    it('is as it was after a feed that fails', () => {
      const sequence = executable.open();
      sequence.feed(text.subarray(0, 127));
      const failing = () =>
        sequence.feed(text.subarray(127, 260), {
          observe() {
            throw new Error('enough');
          },
        });
      expect(() => sequence.feed(Int32Array.of(1, VOCAB))).toThrow('embedding C1');
      expect(failing).toThrow('enough'); // behind the first attention, before the second
      expect(sequence.position).toBe(127);
      isWhole(sequence.feed(text.subarray(127)).data, 127);
      sequence.close();
    });

    it('refuses what is beyond the context, before anything runs', () => {
      const narrow = prepare(backend, program, { context: 130 });
      const [sequence, other] = [narrow.open(), narrow.open()];
      sequence.feed(text.subarray(0, 128));
      const feed = (tokens: number) => () =>
        narrow.feed([
          { sequence: other, tokens: text.subarray(0, 5) },
          { sequence, tokens: text.subarray(128, 128 + tokens) },
        ]);
      expect(feed(3)).toThrow(
        new RangeError(
          'feed: 3 more tokens at position 128 are beyond the context of 130; --context 131 or { context: 131 } makes room',
        ),
      );
      expect([sequence.position, other.position]).toEqual([128, 0]);
      const one = prepare(backend, program, { context: 1 }).open();
      one.feed(text.subarray(0, 1));
      expect(() => one.feed(text.subarray(1, 2))).toThrow(
        '1 more token at position 1 is beyond the context of 1;',
      );
      isWhole(feed(2)()[1].data, 128, 130);
      const long = interpret(program).open();
      long.feed(text.subarray(0, 131));
      expect(() => sequence.load(long.save())).toThrow('state: position 131 is beyond the context of 130');
      expect(() => narrow.open(long.save())).toThrow('state: position 131 is beyond the context of 130');
    });

    it('takes bytes for every token', () => {
      const { sizes } = prepare(wasm, program, { context: 1000 }).about!;
      const each = EACH * { f32: 4, f16: 2, 'i8-dynamic': 1.5 }[dtype];
      const bytes = (tokens: number) => statesBytes(program.graph.states, tokens);
      expect([1, 8].map(tokens => bytes(tokens) - bytes(0))).toEqual([each, 8 * each]);
      const known = { states: bytes(0), cachePerToken: each, context: 1000, cache: 1000 * each };
      expect(sizes).toMatchObject(known);
    });
  });
});

it.each([0, -1, 1.5, Number.NaN])('a context of %f is refused', context => {
  for (const backend of [reference, wasm])
    expect(() => prepare(backend, hybridOf(), { context })).toThrow(
      `prepare: context expected a whole number >= 1; got ${context}`,
    );
});

it('the context of a model is what it was made for, at most 8192', () => {
  const config = { architecture: 'toy', layers: 1, vocabSize: VOCAB };
  expect([undefined, 100, 131072].map(maxPositions => defaultContext({ ...config, maxPositions }))).toEqual([
    8192, 100, 8192,
  ]);
});

it.each(variants)('%s: every value of binary16 reads back', (_, backend) => {
  const bits = Array.from({ length: 65536 }, (_, i) => i).filter(i => (i & 0x7fff) !== 0x7c00); // infinity is never kept
  const v = Float32Array.from([...bits.map(halfOf), 0, 0]);
  const p = v.length;
  const inputs = { q: new Float32Array(p), k: new Float32Array(p), v };
  const call = bind(ops.attention, inputs, { h: 1 }, { K: { dtype: 'f16' }, V: { dtype: 'f16' } });
  const { y } = resultsOf(called(backend, ops.attention, call)); // of one key, its value
  expect(
    difference(
      y.data,
      v.map(value => value + 0),
    ),
  ).toBe('');
});

describe('pages', () => {
  const executable = prepare(wasm, hybridOf());
  const memory = () => executable.about!.memoryBytes;

  it('of a hundred forks that are closed are given back', () => {
    const sequence = executable.open();
    sequence.feed(text);
    const turn = (fork: Sequence) => {
      fork.feed(text.subarray(0, 150));
      fork.close();
    };
    turn(sequence.fork());
    const before = memory();
    for (let i = 0; i < 100; i++) turn(sequence.fork());
    for (let i = 0; i < 100; i++) {
      const other = executable.open();
      other.feed(text.subarray(0, 100));
      turn(other.fork());
      other.close();
      if (i % 10 === 0) sequence.load(sequence.save());
    }
    expect(memory()).toBe(before);
  });

  it('of forks that only read are shared', () => {
    const long = prepare(wasm, hybridOf(), { context: 30_000 });
    const sequence = long.open();
    for (let i = 0; i < 5; i++) sequence.feed(textOf(128, i), { logits: 'last' });
    const before = long.about!.memoryBytes;
    const forks = Array.from({ length: 40 }, () => sequence.fork());
    for (const fork of forks) fork.feed(text.subarray(0, 1));
    // of the states that grow each fork has taken one page, not six
    const page = EACH * 4 * 128;
    expect(long.about!.memoryBytes - before).toBeLessThan(40 * page * 2.5);
  });

  it('are not more than one memory holds', () => {
    expect(() => prepare(wasm, hybridOf(), { context: 1e8 })).toThrow(
      /^backend wasm: with a context of 100000000 tokens, \d+ bytes each, the model takes \d+ bytes; a memory holds at most 4294967296$/,
    );
  });
});
