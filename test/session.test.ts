/** A session is one text in progress, for every recipe: the cut does not show, and the state is a value. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../src/formats/bytes.ts';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { type RecipeName, recipes } from '../src/quant/recipes.ts';
import { createSession, type Session } from '../src/session.ts';
import { safetensors } from './formats/file.ts';
import { runnableOf, sameBits, toy, toys } from './toy.ts';

const names = Object.keys(recipes) as RecipeName[];
const start = (name: RecipeName, of = toy): Session => createSession(runnableOf(of, recipes[name], name));
const { text } = toy;
const [first, second] = [text.slice(0, 20), text.slice(20)];

const cuts = (length: number) =>
  fc
    .uniqueArray(fc.integer({ min: 1, max: length - 1 }), { maxLength: length - 1 })
    .map(at => [0, ...at.sort((a, b) => a - b), length]);

describe.each(names)('%s', name => {
  it.each(toys.map(of => [of.name, of] as const))(
    '%s: in any cut the logits and the state have the bits of the whole',
    (_, of) => {
      const whole = start(name, of);
      const { data, shape } = whole.feed(of.text);
      const v = of.config.vocabSize;
      expect(shape).toEqual([of.text.length, v]);
      fc.assert(
        fc.property(cuts(of.text.length), at => {
          const session = start(name, of);
          for (let i = 1; i < at.length; i++) {
            const part = session.feed(of.text.slice(at[i - 1], at[i]));
            expect(sameBits(part.data, data.subarray(at[i - 1] * v, at[i] * v))).toBe(true);
            expect(session.position).toBe(at[i]);
          }
          expect(session.snapshot()).toEqual(whole.snapshot());
        }),
        { numRuns: 6, examples: [[Array.from({ length: of.text.length + 1 }, (_, i) => i)]] },
      );
    },
  );

  it('goes on from a snapshot as if nothing had been', () => {
    const session = start(name);
    session.feed(first);
    const bytes = session.snapshot();
    const expected = session.feed(second).data;
    const other = start(name);
    other.feed([1, 2, 3]);
    other.restore(bytes);
    expect(other.position).toBe(20);
    expect(other.snapshot()).toEqual(bytes);
    expect(sameBits(other.feed(second).data, expected)).toBe(true);
  });
});

describe('a session', () => {
  it('forks into two that do not know of each other', () => {
    const session = start('quamba');
    session.feed(first);
    const fork = session.fork();
    const bytes = session.snapshot();
    const here = session.feed(second).data;
    expect(fork.snapshot()).toEqual(bytes);
    fork.feed([5, 6, 7]);
    const turned = session.fork().feed([9]).data;
    expect(sameBits(session.feed([9]).data, turned)).toBe(true);
    fork.restore(bytes);
    expect(sameBits(fork.feed(second).data, here)).toBe(true);
    fork.reset();
    expect([fork.position, session.position]).toEqual([0, 33]);
  });

  it('depends on its text: another start gives other logits', () => {
    const [a, b] = [start('quamba'), start('quamba')];
    a.feed([1]);
    b.feed([2]);
    expect(sameBits(a.feed([3]).data, b.feed([3]).data)).toBe(false);
  });

  it('after reset is a new one', () => {
    const session = start('quamba');
    const fresh = session.snapshot();
    const expected = session.feed(text).data;
    session.reset();
    expect(session.position).toBe(0);
    expect(session.snapshot()).toEqual(fresh);
    expect(sameBits(session.feed(text).data, expected)).toBe(true);
  });

  it('takes any array of tokens, and keeps none of it', () => {
    const given = Int32Array.from(first);
    const session = start('quamba');
    const { data } = session.feed(given);
    const before = data.slice();
    given.fill(0);
    session.feed(second);
    expect(sameBits(data, before)).toBe(true);
    expect(sameBits(start('quamba').feed([...first]).data, data)).toBe(true);
    expect(sameBits(start('quamba').feed(Uint8Array.from(first)).data, data)).toBe(true);
    expect(session.vocabSize).toBe(32);
  });

  it.each([
    ['null', null],
    ['"text"', 'text'],
    ['[1, 2]', [1, 2]],
    ['an object', new ArrayBuffer(8)],
    ['an object', new DataView(new ArrayBuffer(8))],
  ])('restores no bytes but those of a Uint8Array: %s', (got, bytes) => {
    expect(() => start('quamba').restore(bytes as never)).toThrow(
      `state: expected its bytes as a Uint8Array; got ${got}`,
    );
  });

  it('is fed with options that are an object', () => {
    expect(() => start('quamba').feed([1], null as never)).toThrow(
      'feed: options expected an object; got null',
    );
  });

  it('has the logits after its last token, and a copy of them', () => {
    const session = start('quamba');
    expect(session.logits).toBeUndefined();
    const { data } = session.feed(first);
    const last = data.slice(-32);
    data.fill(0);
    expect(session.logits).toEqual(last);
    const restored = start('quamba');
    restored.restore(session.snapshot());
    for (const same of [restored, session.fork()]) expect(same.logits).toEqual(last);
    session.reset();
    expect(session.logits).toBeUndefined();
    restored.restore(session.snapshot());
    expect(restored.logits).toBeUndefined();
  });

  it.each([
    ['hello', '"hello"'],
    [undefined, 'nothing'],
    [7, '7'],
    [{ role: 'user' }, 'an object'],
  ])('says that %j is no array of tokens', (tokens, got) => {
    expect(() => start('quamba').feed(tokens as never)).toThrow(
      new TypeError(`feed: tokens expected an array of ids, such as encode gives; got ${got}`),
    );
  });

  /* biome-ignore format: a table */
  const wrong: readonly [tokens: ArrayLike<number>, message: string][] = [
    [[], 'feed: expected at least one token; got none'],
    [[1, 32], 'feed: token 32 is out of range 0 … 31 at position 1'],
    [[-1], 'feed: token -1 is out of range 0 … 31 at position 0'],
    [[1, 2, 1.5], 'feed: token 1.5 is out of range 0 … 31 at position 2'],
    [[Number.NaN], 'feed: token NaN is out of range 0 … 31 at position 0'],
    [['3'] as never, 'feed: token "3" is out of range 0 … 31 at position 0'],
    [[2 ** 32], 'feed: token 4294967296 is out of range 0 … 31 at position 0'],
    [new Array(2), 'feed: token nothing is out of range 0 … 31 at position 0'],
  ];
  it.each(wrong)('refuses the tokens %j and is as it was', (tokens, message) => {
    const session = start('quamba');
    session.feed(first);
    const before = session.snapshot();
    expect(() => session.feed(tokens)).toThrow(new RangeError(message));
    expect(session.snapshot()).toEqual(before);
    expect(session.position).toBe(20);
  });
});

describe('a saved state', () => {
  const session = start('quamba');
  session.feed(first);
  const bytes = session.snapshot();
  const file = readSafetensors(fromBytes('state', bytes));

  it('is the same bytes every time, and a safetensors file of the states by name', () => {
    expect(session.snapshot()).toEqual(bytes);
    expect(file.metadata).toMatchObject({
      format: 'quamba-state',
      version: '3',
      model: 'toy as quamba',
      position: '20',
    });
    expect(file.metadata.identity).toMatch(/^[0-9a-f]{64}$/);
    expect([...file.tensors.keys()].sort()).toEqual([
      ...[0, 1].flatMap(layer => [`layers.${layer}.convState`, `layers.${layer}.ssmState`]),
      'logits',
    ]);
    expect(file.read('layers.1.convState').shape).toEqual([48, 3]);
    expect(file.read('layers.1.ssmState').shape).toEqual([48, 4]);
  });

  it('does not change while the session goes on', () => {
    const copy = bytes.slice();
    session.fork().feed(second);
    expect(bytes).toEqual(copy);
  });

  /** The file written anew, by other code, with something changed. */
  const rewritten = (
    change: (header: Record<string, Record<string, unknown>>, data: Uint8Array) => void,
  ): Uint8Array => {
    const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    const data = bytes.slice(8 + length);
    change(header, data);
    return safetensors(header, data);
  };
  const refusedBy = (bytes: Uint8Array, into = start('quamba')): string => {
    into.feed(second);
    const before = into.snapshot();
    try {
      into.restore(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      expect(into.snapshot()).toEqual(before);
      expect(into.position).toBe(12);
      return (error as Error).message;
    }
    throw new Error('expected a refusal');
  };

  it('written anew, or with other metadata beside its own, is taken', () => {
    start('quamba').restore(rewritten(() => {}));
    start('quamba').restore(
      rewritten(header => {
        header.__metadata__.tokens = '[]';
      }),
    );
  });

  it('of another recipe or model is refused by name', () => {
    const id = file.metadata.identity.slice(0, 12);
    for (const [name, of] of [
      ['naive-static', toy],
      ['quamba', toys[2]],
    ] as const) {
      // biome-ignore format: pairs
      const into = start(name, of);
      const own = readSafetensors(fromBytes('own', into.snapshot())).metadata.identity.slice(0, 12);
      expect(refusedBy(bytes, into)).toBe(
        `state: was saved by toy as quamba (${id}); this session runs ${of.name} as ${name} (${own})`,
      );
    }
  });

  it('of the same recipe by another calibration is another', () => {
    const identities = names.map(
      name => readSafetensors(fromBytes('s', start(name).snapshot())).metadata.identity,
    );
    expect(new Set(identities).size).toBe(names.length);
  });

  it('that is broken is refused in a sentence', () => {
    const set = (key: string, value: string) =>
      rewritten(header => {
        header.__metadata__[key] = value;
      });
    expect(refusedBy(set('format', 'quamba-plan'))).toBe(
      'state: these bytes are not a saved state of quamba',
    );
    for (const version of ['2', '4'])
      expect(refusedBy(set('version', version))).toBe(
        `state: format version ${version} is not known; this quamba reads version 3`,
      );
    const changed = 'state: has changed since it was saved (sha256 differs)';
    for (const [key, value] of [
      ['model', 'another'],
      ['position', '21'],
      ['sha256', '0'],
    ])
      expect(refusedBy(set(key, value))).toBe(changed);
    for (const position of ['-1', '1.5', '', 'many', '1e3', '12345678901234567890'])
      expect(refusedBy(set('position', position))).toBe(
        `state: position expected a whole number; got "${position}"`,
      );
    const without = rewritten(header => {
      header['layers.9'] = header['layers.0.ssmState'];
      delete header['layers.0.ssmState'];
    });
    expect(refusedBy(without)).toBe('state: tensor layers.0.ssmState is missing');
    const turned = rewritten(header => {
      header['layers.0.ssmState'].shape = [4, 48];
    });
    expect(refusedBy(turned)).toBe('state: tensor layers.0.ssmState expected f32[48, 4]; got f32[4, 48]');
    const integers = rewritten(header => {
      header['layers.0.ssmState'].dtype = 'I32';
    });
    expect(refusedBy(integers)).toBe('state: tensor layers.0.ssmState expected f32[48, 4]; got i32[48, 4]');
    expect(refusedBy(new Uint8Array(0))).toMatch(/^state: .+/);
    expect(refusedBy(new TextEncoder().encode('not a state at all'))).toMatch(/^state: .+/);
  });

  it('with a NaN or an infinity in it is refused by name', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(
        refusedBy(
          rewritten((header, data) => {
            const [begin] = header['layers.1.ssmState'].data_offsets as number[];
            new DataView(data.buffer).setFloat32(begin + 4 * 7, value, true);
          }),
        ),
      ).toMatch(
        /^state: tensor "layers\.1\.ssmState": expected finite values; got (NaN|Infinity) at index 7$/,
      );
  });

  it('cut off anywhere, or with bytes after it, is refused in a sentence', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), length => {
        expect(refusedBy(bytes.slice(0, length))).toMatch(/^state: \S.+/);
      }),
      { numRuns: 60 },
    );
    expect(refusedBy(Uint8Array.from([...bytes, 0]))).toMatch(/^state: \S.+/);
  });

  it.each(['quamba', 'quamba-f16-state', 'quamba-int8-state'] as const)(
    'of %s with any bit changed is refused in a sentence',
    name => {
      const of = start(name);
      of.feed(first);
      const bytes = of.snapshot();
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
          const wrong = bytes.slice();
          wrong[at] ^= 1 << bit;
          expect(refusedBy(wrong, start(name))).toMatch(/^state: \S.+/);
        }),
        { numRuns: 200 },
      );
    },
  );
});
