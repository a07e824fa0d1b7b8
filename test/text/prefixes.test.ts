import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prefixes } from '../../src/text/prefixes.ts';

const text = fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 7 });
type Text = readonly number[];
const key = (tokens: Text) => tokens.map(token => `${token},`).join('');
const all = { mostBytes: 1e9, bytesEach: 1, bytesPerToken: 1 };

it('finds the longest kept text that a text begins with, of those that fit', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(text, fc.integer())), text, fc.integer(), (kept, tokens, least) => {
      const store = prefixes<number>(all);
      for (const [each, value] of kept) store.keep(each, value);
      const last = new Map(kept.map(([each, value]) => [key(each), { length: each.length, value }]));
      const fit = [...last]
        .filter(([each, { value }]) => key(tokens).startsWith(each) && value >= least)
        .map(([, found]) => found);
      const longest = fit.toSorted((a, b) => b.length - a.length)[0];
      expect(store.longest(tokens, value => value >= least)).toEqual(longest);
      expect(store.size).toBe(last.size);
    }),
  );
});

it('lets go what was not used for longest, as a list would, and counts each token of the tree once', () => {
  const step = fc.oneof(
    fc.record({ keep: text }),
    fc.record({ find: text }),
    fc.record({ drop: fc.constant(true) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 200 }), (steps, mostBytes) => {
      const dropped: string[] = [];
      const [bytesEach, bytesPerToken] = [10, 3];
      const store = prefixes<string>({
        ...{ mostBytes, bytesEach, bytesPerToken },
        onDrop: value => dropped.push(value),
      });
      /** The last used stands last. */
      let list: Text[] = [];
      const gone: string[] = [];
      const bytes = () => {
        const beginnings = new Set(list.flatMap(each => each.map((_, i) => key(each.slice(0, i + 1)))));
        return list.length * bytesEach + beginnings.size * (bytesPerToken + 4);
      };
      const without = (tokens: Text) => list.filter(each => key(each) !== key(tokens));
      for (const { keep, find } of steps as { keep?: Text; find?: Text }[]) {
        if (keep) {
          store.keep(keep, key(keep));
          if (without(keep).length < list.length) gone.push(key(keep));
          list = [...without(keep), keep];
          while (bytes() > mostBytes && list.length > 2) gone.push(key(list.shift()!));
        } else if (find) {
          const fit = list.filter(each => key(find).startsWith(key(each)));
          const longest = fit.toSorted((a, b) => b.length - a.length)[0];
          expect(store.longest(find)?.value).toBe(longest && key(longest));
          if (longest) list = [...without(longest), longest];
        } else {
          expect(store.drop()).toBe(list.length > 0);
          const oldest = list.shift();
          if (oldest) gone.push(key(oldest));
        }
        expect([store.size, store.bytes]).toEqual([list.length, bytes()]);
        expect(dropped).toEqual(gone);
      }
    }),
    { numRuns: 300 },
  );
});
