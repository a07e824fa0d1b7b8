/** What every backend has of sequences, over places that fail when they are told to: what is refused, given back and restored. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { prepare } from '../src/backends/backend.ts';
import { reference } from '../src/backends/reference.ts';
import { wasm } from '../src/backends/wasm/index.ts';
import type { Executable, Sequence, State } from '../src/executable.ts';
import { recipes } from '../src/quant/recipes.ts';
import { interpret, interpretedPlaces } from '../src/run.ts';
import { type Places, type PlaceTurn, sequences } from '../src/sequences.ts';
import { tensor } from '../src/tensor.ts';
import { planOfToy, sameBits, toy } from './toy.ts';

const plan = planOfToy(toy, recipes.quamba);
const { vocabSize } = toy.config;
const text = (length: number) => Int32Array.from({ length }, (_, i) => (i * 7 + 3) % vocabSize);

/** The reference's places. `fails`: how many times a function is to throw. `taken`: the places that were not given back. */
function watched() {
  const places = interpretedPlaces(plan);
  const fails = new Map<keyof Places, number>();
  const taken = new Set<number>();
  const fed: (readonly PlaceTurn[])[] = [];
  const failing = <K extends keyof Places>(name: K): Places[K] =>
    ((...given: never[]) => {
      const times = fails.get(name) ?? 0;
      fails.set(name, times - 1);
      if (times > 0) throw new Error(`${name} fails`);
      return (places[name] as (...all: never[]) => unknown)(...given);
    }) as Places[K];
  const executable = sequences(plan, {
    take() {
      const place = places.take();
      taken.add(place);
      return place;
    },
    release(place) {
      expect(taken.delete(place)).toBe(true);
      places.release(place);
    },
    clear: failing('clear'),
    copy: failing('copy'),
    read: failing('read'),
    write: failing('write'),
    feed(turns, options) {
      fed.push(turns);
      return failing('feed')(turns, options);
    },
  });
  return { executable, fails, taken, fed };
}

describe('a place', () => {
  it('is given back once, however often a sequence is closed', () => {
    const { executable, taken } = watched();
    const sequence = executable.open();
    sequence.close();
    sequence.close();
    expect(taken.size).toBe(0);
  });

  it('is given back where a sequence is forgotten without being closed', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const { executable, taken } = watched();
    for (let i = 0; i < 10; i++) executable.open().feed(text(1));
    expect(taken.size).toBe(10);
    while (taken.size > 0) {
      collect();
      await new Promise(resolve => setTimeout(resolve, 1));
    }
  });

  it('is not taken by a fork of a closed sequence, nor by a fork that fails', () => {
    const { executable, taken, fails } = watched();
    const sequence = executable.open();
    fails.set('copy', 1);
    expect(() => sequence.fork()).toThrow('copy fails');
    expect(taken.size).toBe(1);
    sequence.close();
    expect(() => sequence.fork()).toThrow('sequence: it was closed');
    expect(taken.size).toBe(0);
  });

  it('is not taken where a state cannot be written', () => {
    const { executable, taken, fails } = watched();
    const state = executable.open().save();
    fails.set('write', 1);
    expect(() => executable.open(state)).toThrow('write fails');
    expect(taken.size).toBe(1);
  });
});

describe('a feed', () => {
  it('of no sequences gives no logits', () => {
    const { executable, fed } = watched();
    expect(executable.feed([])).toEqual([]);
    expect(executable.feed([], { observe: () => {} })).toEqual([]);
    expect(fed).toEqual([]);
  });

  it('refuses one sequence twice, one of another executable, one that is closed, and no tokens', () => {
    const { executable, fed } = watched();
    const [sequence, closed] = [executable.open(), executable.open()];
    closed.close();
    const tokens = text(2);
    const turn = { sequence, tokens };
    expect(() => executable.feed([turn, turn])).toThrow('feed: expected each sequence once');
    expect(() => watched().executable.feed([turn])).toThrow('feed: a sequence belongs to another executable');
    expect(() => executable.feed([turn, { sequence: closed, tokens }])).toThrow('sequence: it was closed');
    expect(() => executable.feed([turn, { sequence: executable.open(), tokens: text(0) }])).toThrow(
      'feed: expected at least one token; got none',
    );
    expect(sequence.position).toBe(0);
    expect(fed).toEqual([]);
  });

  it.each([
    Int8Array.of(1),
    Uint32Array.of(1),
    Float64Array.of(NaN),
    new BigInt64Array(1),
    [1],
    'a',
    1,
    undefined,
    { length: 1, 0: 1 },
  ])('refuses tokens that are no Int32Array: %s', tokens => {
    const { executable, fed } = watched();
    const sequence = executable.open();
    const sentence = new TypeError('feed: expected the tokens as an Int32Array');
    expect(() => sequence.feed(tokens as unknown as Int32Array)).toThrow(sentence);
    expect(() => executable.feed([{ sequence, tokens: tokens as unknown as Int32Array }])).toThrow(sentence);
    expect(fed).toEqual([]);
  });

  it.each([[undefined], [null], [{}], ['a'], [new Set()]])('refuses turns that are no list: %s', turns => {
    const sentence = new TypeError('feed: expected a list of sequences, each with its tokens');
    expect(() => watched().executable.feed(turns as never)).toThrow(sentence);
  });

  it('refuses logits that there are not', () => {
    const sequence = watched().executable.open();
    expect(() => sequence.feed(text(1), { logits: 'first' as 'last' })).toThrow(
      new RangeError("feed: logits expected 'all' or 'last'; got \"first\""),
    );
  });

  it.each<[string, (executable: Executable, sequence: Sequence, other: Sequence) => void]>([
    ['feed', (_, __, other) => other.feed(text(1))],
    ['feed several', (executable, _, other) => executable.feed([{ sequence: other, tokens: text(1) }])],
    ['open', executable => executable.open()],
    ['save', (_, sequence) => sequence.save()],
    ['load', (_, sequence) => sequence.load()],
    ['fork', (_, sequence) => sequence.fork()],
    ['close', (_, sequence) => sequence.close()],
  ])('is alone: an observer cannot %s', (_, act) => {
    for (const executable of [interpret(toy.program), prepare(wasm, toy.program)]) {
      const [sequence, other] = [executable.open(), executable.open()];
      sequence.feed(text(3));
      other.feed(text(3));
      const observe = () => act(executable, sequence, other);
      expect(() => sequence.feed(text(2), { observe })).toThrow(
        'sequence: an observer cannot use the executable that it observes',
      );
      expect([sequence.position, other.position]).toEqual([3, 3]);
      expect(sequence.feed(text(2))).toEqual(other.feed(text(2)));
    }
  });

  it('is refused with options that are none, and as it was', () => {
    for (const executable of [interpret(toy.program), prepare(wasm, toy.program)]) {
      const sequence = executable.open();
      expect(() => sequence.feed(text(2), null as never)).toThrow(
        'feed: options expected an object; got null',
      );
      expect(() => sequence.feed(text(2), { observe: 5 as never })).toThrow(
        'feed: observe expected a function; got number',
      );
      expect(sequence.position).toBe(0);
    }
  });

  it('gives an observer values that are its own to change', () => {
    for (const executable of [interpret(toy.program), prepare(wasm, toy.program)]) {
      const plain = executable.open().feed(text(3));
      const observed = executable.open().feed(text(3), {
        observe(_, __, { shape, data }) {
          data.fill(7);
          (shape as number[])[0] = 9;
        },
      });
      expect(observed).toEqual(plain);
    }
  });

  it('that fails leaves a long text as it was, fed again in pieces', () => {
    const { executable, fails, fed } = watched();
    const [sequence, other] = [executable.open(), executable.open()];
    for (const one of [sequence, other]) {
      one.feed(text(20));
      one.load(one.save());
      one.feed(text(300));
    }
    fails.set('feed', 1);
    const before = fed.length;
    expect(() => sequence.feed(text(1))).toThrow('feed fails');
    const again = fed.slice(before + 1).map(([{ position, tokens }]) => [position, tokens.length]);
    expect(again).toEqual([
      [20, 128],
      [148, 128],
      [276, 44],
    ]);
    expect(sequence.position).toBe(320);
    expect(sequence.save()).toEqual(other.save());
    expect(sameBits(sequence.feed(text(5)).data, other.feed(text(5)).data)).toBe(true);
  });

  it('whose texts cannot be restored loses their states until others are loaded', () => {
    const { executable, fails } = watched();
    const [sequence, other] = [executable.open(), executable.open()];
    sequence.feed(text(3));
    fails.set('feed', 2);
    expect(() => sequence.feed(text(1))).toThrow('feed fails');
    const lost = 'sequence: its state was lost after a feed that failed: feed fails';
    for (const use of [() => sequence.feed(text(1)), () => sequence.save(), () => sequence.fork()])
      expect(use).toThrow(lost);
    sequence.load();
    expect(sequence.position).toBe(0);
    expect(sameBits(sequence.feed(text(4)).data, other.feed(text(4)).data)).toBe(true);
    sequence.close();
    expect(() => sequence.load()).toThrow('sequence: it was closed');
  });
});

describe('a load', () => {
  it.each(['write', 'clear'] as const)('whose %s fails loses the state until one is loaded', name => {
    const { executable, fails } = watched();
    const [sequence, other] = [executable.open(), executable.open()];
    other.feed(text(3));
    const state = name === 'write' ? other.save() : undefined;
    sequence.feed(text(2));
    fails.set(name, 1);
    expect(() => sequence.load(state)).toThrow(`${name} fails`);
    const lost = `sequence: its state was lost after a load that failed: ${name} fails`;
    for (const use of [() => sequence.feed(text(1)), () => sequence.save(), () => sequence.fork()])
      expect(use).toThrow(lost);
    sequence.load(other.save());
    expect(sameBits(sequence.feed(text(4)).data, other.feed(text(4)).data)).toBe(true);
  });
});

describe('a state', () => {
  const { executable } = watched();
  const sequence = executable.open();
  sequence.feed(text(3));
  const saved = sequence.save();
  const [ref] = saved.values.keys();
  const { shape, data } = saved.values.get(ref)!;
  const type = `f32[${shape.join(', ')}]`;
  const withValue = (value: unknown): State =>
    ({ ...saved, values: new Map([...saved.values, [ref, value]]) }) as State;

  it('is copied when it is loaded: its owner may change it, and a feed that fails restores what it was', () => {
    const { executable, fails } = watched();
    const given = structuredClone(saved);
    const [opened, loaded] = [executable.open(given), executable.open()];
    loaded.load(given);
    for (const { data } of given.values.values()) data.fill(7);
    fails.set('feed', 1);
    expect(() =>
      executable.feed([opened, loaded].map(one => ({ sequence: one, tokens: text(1) }))),
    ).toThrow();
    expect(opened.save()).toEqual(saved);
    expect(loaded.save()).toEqual(saved);
  });

  it.each([
    ['without values', { position: 3 } as State, 'state: values expected a Map, from the name of each state'],
    [
      'whose values are no floats',
      withValue({ dtype: 'f32', shape, data: new BigInt64Array(data.length) }),
      `state: ${ref} says ${type} but holds ${data.length} values`,
    ],
  ])('%s is refused, and the sequence is as it was', (_, state, message) => {
    expect(() => sequence.load(state)).toThrow(message);
    expect(() => executable.open(state)).toThrow(message);
    expect(sequence.save()).toEqual(saved);
  });

  it.each([
    ['without a value', { position: 3, values: new Map() }, `state: ${ref} ${type} is missing`],
    ['of another shape', withValue(tensor(data)), `state: ${ref} expected ${type}; got f32[${data.length}]`],
    [
      'with too few values',
      withValue({ dtype: 'f32', shape, data: data.slice(1) }),
      `state: ${ref} says ${type} but holds ${data.length - 1} values`,
    ],
    ['at half a token', { ...saved, position: 0.5 }, 'state: position expected a whole number; got 0.5'],
  ])('%s is refused, and the sequence is as it was', (_, state, message) => {
    expect(() => sequence.load(state)).toThrow(new RangeError(message));
    expect(() => executable.open(state)).toThrow(new RangeError(message));
    expect(sequence.position).toBe(3);
    expect(sequence.save()).toEqual(saved);
  });
});

describe.each([
  { bits: 8, per: 'tensor' },
  { bits: 4, per: { group: 64 }, rounding: 'nearest' },
] as const)('a table whose rows are unpacked when the plan is prepared (%j)', scheme => {
  const plan = planOfToy(toy, { weightsAt: { embedding: scheme } });
  it.each([reference, wasm])('takes the tokens that it has a row for, and no others, on $name', backend => {
    const sequence = prepare(backend, plan).open();
    expect(() => sequence.feed(Int32Array.of(1, vocabSize))).toThrow(
      new RangeError(
        `embedding C1: every token must lie in 0 … ${vocabSize - 1}; got ${vocabSize} at position 1`,
      ),
    );
    expect(sequence.feed(text(3)).shape).toEqual([3, vocabSize]);
  });
});
