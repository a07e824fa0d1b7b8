/** `model.complete`: what is kept shows in no text, and nobody feeds what another has fed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { batches } from '../../src/batches.ts';
import type { Sequence } from '../../src/executable.ts';
import { folderOf } from '../../src/formats/bytes.ts';
import { createTokenizer } from '../../src/formats/tokenizer.ts';
import { completions } from '../../src/open/completions.ts';
import { type Model, openModel } from '../../src/open/model.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { createSession } from '../../src/session.ts';
import { generate } from '../../src/text/generate.ts';
import { byteTokenizer, toyFiles } from '../cli/toy.ts';
import { hybridToys, runnableOf } from '../toy.ts';
import { alone, counted, ended } from './writing.ts';

type Writer = Pick<Model, 'executable' | 'complete' | 'generate' | 'kept' | 'dispose'>;
const open = (options = {}) =>
  openModel(folderOf('m', toyFiles({ text: true })), { recipe: 'fp32', ...options });
/** A model with attention, whose states grow, without files. */
async function hybrid({ cacheMemory = 0 } = {}): Promise<Writer> {
  const runnable = runnableOf(hybridToys()[0], recipes.fp32, 'fp32');
  const executable = prepare(wasm, runnable.program);
  const of = { ...runnable, executable, batches: batches(executable) };
  const bytes = createTokenizer(byteTokenizer());
  const tokenizer = {
    ...bytes,
    has: () => true,
    encode: (text: string) => bytes.encode(text).map(id => id % of.vocabSize),
    endTokenIds: [256 % of.vocabSize],
  };
  const { complete, kept, clear } = completions(of, () => tokenizer, cacheMemory);
  return {
    ...{ executable, complete, kept },
    async *generate(prompt, options) {
      const session = createSession(of);
      try {
        return yield* generate(session, tokenizer, prompt, options);
      } finally {
        session.close();
      }
    },
    dispose: clear,
  };
}

/** All sequences that are open, forks too. */
function lent({ executable }: Pick<Model, 'executable'>): Set<Sequence> {
  const all = new Set<Sequence>();
  const seen = (sequence: Sequence): Sequence => {
    all.add(sequence);
    const { close, fork } = sequence;
    sequence.close = () => {
      all.delete(sequence);
      close();
    };
    sequence.fork = () => seen(fork());
    return sequence;
  };
  const { open: lend } = executable;
  executable.open = state => seen(lend(state));
  return all;
}

const withoutTimes = <T extends { promptSeconds: number; decodeSeconds: number }>({
  promptSeconds: _,
  decodeSeconds: __,
  ...rest
}: T) => rest;

/** Beginnings that many texts share. */
const prompt = fc
  .array(fc.constantFrom('a', 'bc', 'x'.repeat(130), '<|endoftext|>', 'y'.repeat(260)), {
    minLength: 1,
    maxLength: 5,
  })
  .map(parts => parts.join(''));
const asked = fc.record({
  prompt,
  maxTokens: fc.nat({ max: 3 }),
  seed: fc.nat({ max: 2 }),
  hashLogits: fc.boolean(),
  leaves: fc.option(fc.nat({ max: 2 }), { freq: 4 }),
});

describe.each<readonly [string, (options: { cacheMemory: number }) => Promise<Writer>]>([
  ['Mamba-1', open],
  ['a hybrid', hybrid],
])('texts that begin alike: %s', (_, make) => {
  it('written one after the other or at once, are those that generate writes', async () => {
    const model = await make({ cacheMemory: 300_000 });
    const others = lent(model);
    const fed = counted(model);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(asked, { minLength: 1, maxLength: 4 }), { maxLength: 3 }),
        async rounds => {
          for (const round of rounds) {
            const write = async ({ prompt, leaves, ...how }: (typeof round)[number]) => {
              if (leaves === null) return withoutTimes(await ended(model.complete(prompt, how)));
              for await (const _ of model.complete(prompt, how)) if (leaves-- === 0) break;
            };
            fed();
            const all = await Promise.all(round.map(write));
            const cost = all.reduce(
              (sum, each) =>
                sum + (each ? each.promptTokens.length - each.keptTokens + each.tokens.length : 0),
              0,
            );
            if (all.every(each => each)) expect(fed()).toBe(cost);
            expect(others.size).toBe(model.kept.size);
            for (const [i, each] of all.entries()) {
              if (!each) continue;
              const { prompt, leaves: __, hashLogits, ...how } = round[i];
              const { logitsHash, ...whole } = await alone(model, prompt, how);
              expect(each).toEqual({
                ...whole,
                keptTokens: each.keptTokens,
                ...(hashLogits && { logitsHash }),
              });
            }
          }
        },
      ),
      { numRuns: 15 },
    );
    expect(model.kept.size).toBeGreaterThan(2);
    model.dispose();
    expect(others.size).toBe(0);
  });
});

it('a beginning is fed once, however many ask for it at the same time', async () => {
  const model = await open();
  const fed = counted(model);
  const system = `${'You are brief. '.repeat(20)}<|endoftext|>`;
  const prompts = ['one', 'two', 'one', 'three'].map(text => system + text);
  await Promise.all(prompts.map(text => ended(model.complete(text, { maxTokens: 1 }))));
  const length = model.encode(system).length;
  expect(fed()).toBe(length + 'onetwothree'.length + prompts.length);
  model.dispose();
});

it('whoever waits for the beginning of another goes on when that one fails, or leaves', async () => {
  const model = await open();
  const system = 'x'.repeat(600);
  const abort = new AbortController();
  const first = ended(model.complete(`${system}a`, { signal: abort.signal }));
  const second = ended(model.complete(`${system}b`, { maxTokens: 2 }));
  const third = ended(model.complete(`${system}c`, { maxTokens: 2, signal: abort.signal }));
  setTimeout(() => abort.abort(), 5);
  const whole = await alone(model, `${system}b`, { maxTokens: 2 });
  expect((await second).answerHash).toBe(whole.answerHash);
  expect([(await first).finishReason, (await third).finishReason]).toEqual(['aborted', 'aborted']);
  model.dispose();
});

it('what is kept makes room where memory is full', async () => {
  const model = await open();
  for (const text of ['a', 'b', 'c']) await ended(model.complete(text, { maxTokens: 1 }));
  const all = model.kept.size;
  const { executable } = model;
  const { open: lend } = executable;
  let full = 2;
  executable.open = state => {
    if (full-- > 0) throw new RangeError('no memory');
    return lend(state);
  };
  const { answerHash } = await ended(model.complete('d', { maxTokens: 1 }));
  expect(answerHash).toBe((await alone(model, 'd', { maxTokens: 1 })).answerHash);
  expect(model.kept.size).toBe(all - 2 + 2);
  full = Number.POSITIVE_INFINITY;
  await expect(ended(model.complete('e'))).rejects.toThrow('no memory');
  expect(model.kept.size).toBe(0);
  model.dispose();
});

it('says what is wrong at once', async () => {
  const model = await open();
  expect(() => model.complete('a', { maxTokens: -1 })).toThrow('maxTokens expected');
  expect(() => model.complete(5 as never)).toThrow('prompt expected a text or token ids; got 5');
  expect(() => model.complete('a', 'b' as never)).toThrow('complete: options');
  const failing = { logitsProcessor: () => new Float32Array(1) };
  await expect(ended(model.complete('b', failing))).rejects.toThrow('logitsProcessor expected');
  model.dispose();
  await expect(openModel(folderOf('m', toyFiles({ text: true })), { cacheMemory: 0.5 })).rejects.toThrow(
    'load: cacheMemory',
  );
});
