/**
 * Sequences over the places of a backend: what is the same for every backend of `Executable.open` and `Executable.feed`.
 *
 * A feed that fails leaves its sequences as they were, although the backend may have changed their places meanwhile. For that
 * each sequence keeps the state that its text began from and the tokens since: after a failure that state is loaded and those
 * tokens are fed again, which gives the same bits, because no cut of a text changes them. It costs nothing while nothing fails.
 */
import type { Executable, FeedOptions, Sequence, State, Turn } from './executable.ts';
import { flatten, type Program, type Ref } from './graph.ts';
import { checkTokens } from './ops/embedding.ts';
import { shapeAt } from './state.ts';
import { describe, type Tensor } from './tensor.ts';

/** Some tokens for the sequence in a place, which has been fed `position` tokens so far. */
export interface PlaceTurn {
  readonly place: number;
  readonly position: number;
  readonly tokens: Int32Array;
}

/** Where a backend keeps the states of sequences, by number. */
export interface Places {
  /** A place that is free from now on no more, at the start of a text. */
  take(): number;
  release(place: number): void;
  /** Back to the start of a text. */
  clear(place: number): void;
  copy(from: number, to: number): void;
  /** The states of a place after `position` tokens, copied, as they read back. */
  read(place: number, position: number): ReadonlyMap<Ref, Tensor<'f32'>>;
  write(place: number, values: ReadonlyMap<Ref, Tensor<'f32'>>, position: number): void;
  /** Runs all turns; their places are different ones. After a failure those places may hold anything. */
  feed(turns: readonly PlaceTurn[], options: FeedOptions): readonly Tensor<'f32'>[];
}

/** A text in progress. */
interface Text {
  readonly place: number;
  position: number;
  /** Where the text began from, and the tokens since. */
  begin: State | undefined;
  since: number[];
  /** Why it cannot be used any more. */
  over?: string;
}

export function sequences(program: Program, places: Places): Pick<Executable, 'open' | 'feed'> {
  const check = tokenCheck(program);
  const texts = new WeakMap<Sequence, Text>();
  const close = (text: Text): void => {
    if (text.over === CLOSED) return;
    text.over = CLOSED;
    places.release(text.place);
  };
  /** Who forgets to close a sequence loses no memory for ever. */
  const forgotten = new FinalizationRegistry(close);

  const usable = (text: Text): Text => {
    if (text.over) throw new Error(`sequence: ${text.over}`);
    return text;
  };
  const restore = (text: Text): void => {
    const { place, begin, since } = text;
    try {
      load(place, begin);
      const turn = { place, position: begin?.position ?? 0, tokens: Int32Array.from(since) };
      if (since.length > 0) places.feed([turn], { logits: 'last' });
    } catch (error) {
      text.over = `its state was lost: ${error instanceof Error ? error.message : error}`;
    }
  };
  const load = (place: number, state: State | undefined): void => {
    if (state) places.write(place, state.values, state.position);
    else places.clear(place);
  };

  const feed = (turns: readonly Turn[], options: FeedOptions = {}): readonly Tensor<'f32'>[] => {
    const fed = turns.map(({ sequence }) => {
      const text = texts.get(sequence);
      if (!text) throw new Error('feed: a sequence belongs to another executable');
      return usable(text);
    });
    if (new Set(fed).size < fed.length)
      throw new RangeError('feed: expected each sequence once; got one of them twice');
    for (const { tokens } of turns) {
      if (tokens.length === 0) throw new RangeError('feed: expected at least one token; got none');
      check(tokens);
    }
    if (options.observe && turns.length > 1)
      throw new RangeError(`feed: expected one sequence to observe; got ${turns.length}`);
    let logits: readonly Tensor<'f32'>[];
    try {
      logits = places.feed(
        fed.map(({ place, position }, i) => ({ place, position, tokens: turns[i].tokens })),
        options,
      );
    } catch (error) {
      fed.forEach(restore);
      throw error;
    }
    for (const [i, text] of fed.entries()) {
      const { tokens } = turns[i];
      text.position += tokens.length;
      for (let at = 0; at < tokens.length; at++) text.since.push(tokens[at]);
    }
    return logits;
  };

  const sequenceOf = (text: Text): Sequence => {
    const sequence: Sequence = {
      get position() {
        return text.position;
      },
      feed: (tokens, options) => feed([{ sequence, tokens }], options)[0],
      save: () => ({ position: text.position, values: places.read(usable(text).place, text.position) }),
      load(state) {
        usable(text);
        if (state) checkState(program, state);
        load(text.place, state);
        text.position = state?.position ?? 0;
        text.begin = state;
        text.since = [];
      },
      fork() {
        const place = places.take();
        places.copy(usable(text).place, place);
        return sequenceOf({ ...text, place, since: text.since.slice() });
      },
      close: () => close(text),
    };
    texts.set(sequence, text);
    forgotten.register(sequence, text);
    return sequence;
  };

  return {
    open(state) {
      if (state) checkState(program, state);
      const place = places.take();
      if (state) places.write(place, state.values, state.position);
      return sequenceOf({ place, position: state?.position ?? 0, begin: state, since: [] });
    },
    feed,
  };
}

const CLOSED = 'it was closed';

/** @throws RangeError for a state that is not one of the program. */
function checkState({ graph }: Program, { position, values }: State): void {
  if (!Number.isSafeInteger(position) || position < 0)
    throw new RangeError(`state: position expected a whole number; got ${position}`);
  for (const [ref, type] of graph.states) {
    const value = values.get(ref);
    const expected = describe({ dtype: 'f32', shape: shapeAt(type, position) });
    if (!value) throw new RangeError(`state: ${ref} ${expected} is missing`);
    if (describe(value) !== expected)
      throw new RangeError(`state: ${ref} expected ${expected}; got ${describe(value)}`);
  }
}

/** What refuses tokens that a table of the program does not have, in the words of the table's op. */
function tokenCheck({ graph }: Program): (tokens: Int32Array) => void {
  const tables = flatten(graph.nodes).flatMap(node =>
    node.in.tokens === graph.input
      ? [{ op: node.op.name, size: graph.weights.get(node.in.w)!.shape[0] }]
      : [],
  );
  return tokens => {
    for (const { op, size } of tables) checkTokens(op, tokens, size);
  };
}
