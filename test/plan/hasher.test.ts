import fc from 'fast-check';
import { expect, it } from 'vitest';
import { hasher, portableHasher } from '../../src/plan/identity.ts';

it('the hash of the engine and that of a page are the same, for any pieces and forks', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), fc.uint8Array(), (pieces, more) => {
      const [one, other] = [hasher(), portableHasher()].map(hash => {
        for (const piece of pieces) hash.update(piece);
        const fork = hash.fork();
        fork.update(more);
        return [hash.hex(), fork.hex()];
      });
      expect(one).toEqual(other);
    }),
  );
});
