/** A story that forks: its tokens, its states, and the file that a state is saved in. */
import type { GenerateOptions, WebModel, WebSession } from 'quamba';
import { beforeEach, describe, expect, it } from 'vitest';
import { FLOAT_RECIPE, recipes } from '../../src/quant/recipes.ts';
import { createSession } from '../../src/session.ts';
import {
  append,
  type Branch,
  fork,
  idsBetween,
  keptUpTo,
  lengthOf,
  newBranch,
} from '../../web/src/playground/branch.ts';
import { aboutState, withTokens } from '../../web/src/playground/state-file.ts';
import { stateAt, writeOn } from '../../web/src/playground/write.ts';
import { runnableOf, toy } from '../toy.ts';

const textsOf = (ids: readonly number[]) => ids.map(id => `<${id}>`);
function branchOf(ids: readonly number[], start = 0): Branch {
  const branch = newBranch('fp32', { start });
  append(branch, ids, textsOf(ids));
  return branch;
}
const kept = (position: number) => ({ position, bytes: Uint8Array.of(position) });

describe('a branch', () => {
  it('shares the tokens and states up to where it was forked, and nothing after', () => {
    const parent = branchOf([10, 11, 12, 13]);
    parent.kept.push(kept(1), kept(3), kept(4));
    const child = fork(parent, 3, 7);
    expect({ from: child.from, seed: child.seed, parent: child.parent }).toEqual({
      from: 3,
      seed: 7,
      parent,
    });
    expect(idsBetween(child, 0, lengthOf(child))).toEqual([10, 11, 12]);
    expect(child.kept.map(({ position }) => position)).toEqual([1, 3]);
    append(child, [99], ['!']);
    expect(lengthOf(parent)).toBe(4);
    expect(idsBetween(parent, 3, 4)).toEqual([13]);
    expect(child.number).not.toBe(parent.number);
  });

  it('counts from the start of the text, also where the first tokens are not known', () => {
    const branch = branchOf([20, 21, 22], 5);
    expect(lengthOf(branch)).toBe(8);
    expect(idsBetween(branch, 6, 8)).toEqual([21, 22]);
    const child = fork(branch, 7, 1);
    expect({ start: child.start, length: lengthOf(child) }).toEqual({ start: 5, length: 7 });
    expect(idsBetween(child, 5, 7)).toEqual([20, 21]);
  });

  it('finds the last state up to a position', () => {
    const branch = branchOf([1, 2, 3, 4, 5]);
    branch.kept.push(kept(2), kept(4));
    expect([1, 2, 3, 4, 5].map(position => keptUpTo(branch, position)?.position)).toEqual([
      undefined,
      2,
      2,
      4,
      4,
    ]);
  });
});

/** Writes 1, 2, 3, … 31, 0, 1, … with a real session of a toy model behind it. */
function toyModel(most: number) {
  const runnable = runnableOf(toy, recipes[FLOAT_RECIPE], FLOAT_RECIPE);
  const tokens = Array.from({ length: most }, (_, i) => (i + 1) % runnable.vocabSize);
  const fed: number[] = [];
  const session = (): WebSession => {
    const inner = createSession(runnable);
    const feed = (tokens: ArrayLike<number>) => {
      fed.push(tokens.length);
      return inner.feed(tokens);
    };
    async function* generate(prompt: number[]) {
      feed(prompt);
      for (const token of tokens) {
        yield { token, text: `<${token}>` };
        feed([token]);
      }
      return {
        tokens,
        promptTokens: prompt,
        promptSeconds: 1,
        decodeSeconds: 1,
        finishReason: 'length',
      };
    }
    return {
      generate,
      feed: async (tokens: ArrayLike<number>) => feed(tokens),
      snapshot: async () => inner.snapshot(),
      restore: async (bytes: Uint8Array) => inner.restore(bytes),
      close: () => {},
    } as unknown as WebSession;
  };
  const model = { eosTokenId: 0, endTokenIds: [0], session: async () => session() } as unknown as WebModel;
  const direct = (ids: readonly number[]) => {
    const inner = createSession(runnable);
    inner.feed(ids);
    return inner.snapshot();
  };
  return { model, fed, direct };
}
const OPTIONS: GenerateOptions = {};

describe('writing on', () => {
  let written: Branch;
  let toyed: ReturnType<typeof toyModel>;
  beforeEach(async () => {
    toyed = toyModel(40);
    written = branchOf([5, 6, 7]);
    let told = 0;
    const measured = await writeOn(toyed.model, written, OPTIONS, () => told++);
    expect(told).toBe(40);
    expect(measured).toMatchObject({ written: 40, promptTokens: 3 });
  });

  it('appends what comes and keeps a state every 32 tokens', () => {
    expect(idsBetween(written, 0, 5)).toEqual([5, 6, 7, 1, 2]);
    expect(lengthOf(written)).toBe(43);
    expect(written.kept.map(({ position }) => position)).toEqual([3, 35]);
  });

  it('gives the state after any token from the last one kept, with the bytes of the whole text fed at once', async () => {
    for (const position of [2, 3, 20, 35, 43]) {
      toyed.fed.length = 0;
      const bytes = await stateAt(toyed.model, written, position);
      expect(bytes, `after ${position}`).toEqual(toyed.direct(idsBetween(written, 0, position)));
      const begin = position < 3 ? 0 : position < 35 ? 3 : 35;
      expect(toyed.fed, `after ${position}`).toEqual(position > begin ? [position - begin] : []);
    }
  });
});

describe('a saved state', () => {
  const { direct } = toyModel(0);
  const ids = [5, 6, 7, 8];

  it('carries the tokens of its text, and is still a state', async () => {
    const file = new Uint8Array(await withTokens(direct(ids), ids).arrayBuffer());
    expect(aboutState(file)).toEqual({ position: 4, tokens: ids });
    const session = createSession(runnableOf(toy, recipes[FLOAT_RECIPE], FLOAT_RECIPE));
    session.restore(file);
    expect(session.snapshot()).toEqual(direct(ids));
  });

  it('has none where they were not saved, or are not as many as were fed', async () => {
    expect(aboutState(direct(ids))).toEqual({ position: 4, tokens: undefined });
    const short = new Uint8Array(await withTokens(direct(ids), [5, 6]).arrayBuffer());
    expect(aboutState(short).tokens).toBeUndefined();
  });
});
