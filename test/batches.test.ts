/** Who is fed together gets the bits that it gets alone, and nobody notices another who fails or leaves. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prepare } from '../src/backends/backend.ts';
import { wasm } from '../src/backends/wasm/index.ts';
import { batches } from '../src/batches.ts';
import type { Executable, Turn } from '../src/executable.ts';
import { recipes } from '../src/quant/recipes.ts';
import { createSession, type Runnable } from '../src/session.ts';
import { turn } from '../src/turn.ts';
import { hybridToys, runnableOf, sameBits, toy } from './toy.ts';

const runnable = runnableOf(toy, recipes.quamba, 'quamba');
const onWasm = (of: Runnable): Runnable => {
  const executable = prepare(wasm, of.program);
  return { ...of, executable, batches: batches(executable) };
};

/** Sees what is fed in each step. */
function watched(of: Runnable) {
  const steps: Turn[][] = [];
  const executable: Executable = {
    ...of.executable,
    feed(turns, options) {
      steps.push([...turns]);
      return of.executable.feed(turns, options);
    },
  };
  return { steps, ...of, executable, batches: batches(executable) };
}

const textOf = (seed: number, length: number) =>
  Int32Array.from({ length }, (_, i) => (seed * 31 + i * 7 + ((i * i) >> 2)) % toy.config.vocabSize);

const afterTurns = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await turn();
};

describe.each<readonly [string, Runnable]>([
  ['Mamba-1', onWasm(runnable)],
  ...hybridToys().map(
    each => [each.name, onWasm(runnableOf(each, recipes['quamba-ssd-int8-kv'], 'kv'))] as const,
  ),
])('texts that are fed together: %s', (_, of) => {
  it('each have the bits that they have alone, whoever comes and goes', async () => {
    const one = fc.record({
      seed: fc.nat({ max: 9 }),
      parts: fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 150 })), {
        minLength: 1,
        maxLength: 4,
      }),
      pause: fc.nat({ max: 3 }),
      wanted: fc.constantFrom('all' as const, 'last' as const),
      leaves: fc.option(fc.nat({ max: 4 }), { freq: 3 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 5 }), async texts => {
        const write = async ({ seed, parts, pause, wanted, leaves }: (typeof texts)[number]) => {
          const session = createSession(of);
          const abort = new AbortController();
          const text = textOf(seed, 600);
          const seen: Float32Array[] = [];
          try {
            for (const size of parts) {
              await afterTurns(pause);
              const asked = session.feedTogether(text.subarray(session.position, session.position + size), {
                logits: wanted,
                signal: abort.signal,
              });
              if (leaves !== null) void afterTurns(leaves).then(() => abort.abort());
              seen.push((await asked).data);
            }
          } catch (error) {
            expect(error).toBe(abort.signal.reason);
          }
          return { session, seen, text, wanted, parts };
        };
        for (const { session, seen, text, wanted, parts } of await Promise.all(texts.map(write))) {
          const alone = createSession(of);
          let at = 0;
          for (const [i, data] of seen.entries()) {
            const fed = alone.feed(text.subarray(at, at + parts[i]), { logits: wanted });
            at += parts[i];
            expect(sameBits(data, fed.data)).toBe(true);
          }
          // who left stands behind what was fed of the rest
          if (session.position > at) alone.feed(text.subarray(at, session.position));
          expect(alone.position).toBe(session.position);
          if (session.logits) expect(sameBits(session.logits, alone.logits!)).toBe(true);
          expect(session.snapshot()).toEqual(alone.snapshot());
          alone.close();
          session.close();
        }
      }),
      { numRuns: 25 },
    );
  });
});

describe('a step', () => {
  it('takes the next token of every text, and of prompts first what was fed least', async () => {
    const of = watched(runnable);
    const [writer, long, short] = [1, 2, 3].map(() => createSession(of));
    const asked = long.feedTogether(textOf(1, 200), { logits: 'last' });
    while (of.steps.length === 0) await turn();
    const rest = [
      writer.feedTogether([1], { logits: 'last' }),
      short.feedTogether(textOf(2, 40), { logits: 'last' }),
    ];
    await Promise.all([asked, ...rest]);
    const sizes = of.steps.map(step => step.map(({ tokens }) => tokens.length));
    expect(sizes).toEqual([[64], [1, 24, 8], [16, 48], [64], [16]]);
  });

  it('in which one fails fails for that one alone', async () => {
    const of = watched(runnable);
    const [good, closed, empty] = [1, 2, 3].map(() => createSession(of));
    closed.close();
    const [fed, ...failed] = await Promise.allSettled([
      good.feedTogether([1]),
      closed.feedTogether([1]),
      empty.feedTogether([]),
    ]);
    expect(fed.status).toBe('fulfilled');
    expect(failed).toMatchObject([
      { reason: { message: 'sequence: it was closed' } },
      { reason: { message: 'feed: expected at least one token; got none' } },
    ]);
    expect(good.position).toBe(1);
  });

  it('refuses tokens for a text that still waits', async () => {
    const session = createSession(watched(runnable));
    const first = session.feedTogether([1]);
    expect(() => session.feed([2])).toThrow('feed: this session still waits for feedTogether');
    await expect(session.feedTogether([2])).rejects.toThrow(/still waits for tokens/);
    await first;
    expect(session.position).toBe(1);
  });

  it('does not feed who has given up', async () => {
    const of = watched(runnable);
    const session = createSession(of);
    const abort = new AbortController();
    const asked = session.feedTogether([1], { signal: abort.signal });
    abort.abort();
    await expect(asked).rejects.toBe(abort.signal.reason);
    await expect(session.feedTogether([1], { signal: abort.signal })).rejects.toBe(abort.signal.reason);
    await turn();
    await turn();
    expect([session.position, of.steps.length]).toEqual([0, 0]);
  });
});
