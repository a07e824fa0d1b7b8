import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prefixes } from '../../src/text/prefixes.ts';

const text = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 6 }).map(ids => Int32Array.from(ids));
const keepable = fc.record({ tokens: text, value: fc.integer(), bytes: fc.integer({ min: 0, max: 100 }) });
const isPrefix = (a: Int32Array, b: Int32Array) =>
  `${b} `.replace(/ $/, ',').startsWith(a.length ? `${a},` : '');

it('finds the longest kept text that a text begins with, of those that fit', () => {
  fc.assert(
    fc.property(fc.array(keepable), text, fc.integer(), (all, tokens, least) => {
      const store = prefixes<number>(1e9);
      for (const each of all) store.keep(each);
      const last = new Map(all.map(each => [`${each.tokens}`, each])); // the last of each text
      const isFit = (value: number) => value >= least;
      const fitting = [...last.values()].filter(each => isPrefix(each.tokens, tokens) && isFit(each.value));
      const longest = Math.max(-1, ...fitting.map(each => each.tokens.length));
      expect(store.longest(tokens, isFit)).toBe(fitting.find(each => each.tokens.length === longest));
    }),
  );
});

it('lets go what was not used for longest, but for the two used last', () => {
  const store = prefixes<string>(100);
  const of = (id: number) => Int32Array.of(id);
  const keep = (id: number, bytes: number) => store.keep({ tokens: of(id), value: `${id}`, bytes });
  const held = () => [1, 2, 3, 4, 5].filter(id => store.longest(of(id)) !== undefined);
  for (const id of [1, 2, 3]) keep(id, 21); // with its token 25
  expect(held()).toEqual([1, 2, 3]);
  store.longest(of(1));
  keep(4, 21);
  keep(5, 21);
  expect(held()).toEqual([1, 3, 4, 5]);
  keep(2, 1000);
  expect(held()).toEqual([2, 5]);
  keep(3, 1000);
  expect(held()).toEqual([3, 5]);
});
