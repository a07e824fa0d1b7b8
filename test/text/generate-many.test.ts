import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/open/model.ts';
import type { Generated, Piece } from '../../src/text/generate.ts';
import { toyFiles } from '../cli/toy.ts';

const model = await openModel(folderOf('m', toyFiles({ text: true })), { recipe: 'fp32' });
afterAll(() => model.dispose());

async function ended<P extends Piece, R>(pieces: AsyncGenerator<P, R, void>) {
  const all: P[] = [];
  for (;;) {
    const next = await pieces.next();
    if (next.done) return { result: next.value, pieces: all };
    all.push(next.value);
  }
}
const withoutTimes = ({ promptSeconds: _, decodeSeconds: __, ...rest }: Generated) => rest;

describe('generateMany', () => {
  it('writes what generate writes from each prompt alone', async () => {
    const prompts = fc.array(fc.string({ minLength: 1, maxLength: 200 }), { maxLength: 6 });
    const options = {
      maxTokens: fc.nat({ max: 8 }),
      seed: fc.nat({ max: 3 }),
      parallel: fc.integer({ min: 1, max: 4 }),
    };
    await fc.assert(
      fc.asyncProperty(prompts, fc.record(options), async (texts, { parallel, ...how }) => {
        const many = await ended(model.generateMany(texts, { ...how, parallel }));
        expect(many.result.length).toBe(texts.length);
        for (const [i, text] of texts.entries()) {
          const alone = await ended(model.generate(text, how));
          expect(withoutTimes(many.result[i])).toEqual(withoutTimes(alone.result));
          const own = many.pieces.filter(({ prompt }) => prompt === i);
          expect(own).toEqual(alone.pieces.map(piece => ({ ...piece, prompt: i })));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('feeds as many together as it is told', async () => {
    const { executable } = model;
    const { feed } = executable;
    const sizes: number[] = [];
    executable.feed = (turns, options) => {
      sizes.push(turns.length);
      return feed(turns, options);
    };
    await ended(model.generateMany(['a', 'b', 'c', 'd', 'e'], { parallel: 3, maxTokens: 6, temperature: 0 }));
    executable.feed = feed;
    expect(Math.max(...sizes)).toBe(3);
  });

  it('leaves no session behind where the reader leaves, or one fails', async () => {
    const open = new Set<unknown>();
    const { executable } = model;
    const { open: lend } = executable;
    executable.open = state => {
      const sequence = lend(state);
      const { close } = sequence;
      open.add(sequence);
      sequence.close = () => {
        open.delete(sequence);
        close();
      };
      return sequence;
    };
    for await (const _ of model.generateMany(['a', 'b', 'c'], { parallel: 2 })) break;
    const fails = () => {
      throw new Error('no');
    };
    await expect(ended(model.generateMany(['a', 'b', 'c'], { onLogits: fails }))).rejects.toThrow('no');
    executable.open = lend;
    expect(open.size).toBe(0);
  });

  it('says what is wrong with its arguments', async () => {
    const wrong = (...args: unknown[]) => ended((model.generateMany as (...a: unknown[]) => never)(...args));
    await expect(wrong('abc')).rejects.toThrow('generateMany: prompts');
    await expect(wrong(['a'], { parallel: 0 })).rejects.toThrow(
      'generateMany: parallel expected a whole number >= 1; got 0',
    );
    await expect(wrong(['a', 5])).rejects.toThrow('prompt expected a text or token ids; got 5');
  });
});
