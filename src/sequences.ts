/**
 * Sequences over the places of a backend: what is the same for every backend of `Executable.open` and `Executable.feed`.
 *
 * A feed that fails leaves its sequences as they were, although the backend may have changed their places meanwhile. For that
 * each sequence keeps a state of its text and the tokens since: after a failure that state is loaded and those tokens are fed
 * again, which gives the same bits, because no cut of a text changes them. While nothing fails it costs a number for each token,
 * and now and then a copy of the state.
 */
import type { Executable, FeedOptions, Sequence, State, Turn } from './executable.ts';
import { flatten, type Graph, type Input, type Program, type Ref } from './graph.ts';
import { checkTokens } from './ops/embedding.ts';
import { contextOf } from './plan/sizes.ts';
import { inferTypes } from './plan/types.ts';
import { shapeAt } from './state.ts';
import { describe, isArray, sizeOf, type Tensor, tensor } from './tensor.ts';

/** Some tokens for the sequence in a place, which has been fed `position` tokens so far. */
export interface PlaceTurn {
  readonly place: number;
  readonly position: number;
  readonly tokens: Input;
  /** How many tokens, or frames, that are. */
  readonly rows: number;
}

/** What a turn feeds as the value of the program's input. */
export const inputOf = ({ width }: Graph, tokens: Input, rows: number): Tensor =>
  tensor<Input>(tokens, width === undefined ? [rows] : [rows, width]);

/** Where a backend keeps the states of sequences. A place is a number of the backend's choice. */
export interface Places {
  /** A place that no other sequence has, at the start of a text. */
  take(): number;
  /** The place may be taken again. */
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
  /** The state that the text began from, undefined for zeros; and the tokens since. */
  begin: State | undefined;
  since: number[];
  isClosed: boolean;
  /** After what its state is lost, where it is. A state that is loaded takes its place. */
  lost?: string;
}

const roomFor = (tokens: number): string => `--context ${tokens} or { context: ${tokens} } makes room`;

/** As many tokens are fed at once when a text is fed again: a backend may hold the logits of all of them. */
const AGAIN = 128;
/** Of more numbers than that, a text keeps the state after them instead. */
const MOST_SINCE = 1 << 16;

export function sequences(
  program: Program,
  places: Places,
  context = contextOf(program),
): Pick<Executable, 'open' | 'feed'> {
  const checkRoom = (position: number, rows: number): void => {
    const needed = position + rows;
    if (needed > context)
      throw new RangeError(
        `feed: ${rows} more ${rows === 1 ? 'token' : 'tokens'} at position ${position} ${rows === 1 ? 'is' : 'are'} beyond the context of ${context}; ${roomFor(needed)}`,
      );
  };
  const check = inputCheck(program);
  const { width = 1 } = program.graph;
  const tokensOf = arrayOf(program.graph);
  const texts = new WeakMap<Sequence, Text>();
  const close = (text: Text): void => {
    if (text.isClosed) return;
    text.isClosed = true;
    places.release(text.place);
  };
  /** A sequence that nobody closes gives its place back when it is collected as garbage. */
  const forgotten = new FinalizationRegistry(close);

  let isFeeding = false;
  const notFeeding = (): void => {
    if (isFeeding) throw new Error('sequence: an observer cannot use the executable that it observes');
  };
  const notClosed = (text: Text): Text => {
    notFeeding();
    if (text.isClosed) throw new Error('sequence: it was closed');
    return text;
  };
  const usable = (text: Text): Text => {
    const { lost } = notClosed(text);
    if (lost) throw new Error(`sequence: its state was lost after a ${lost}`);
    return text;
  };
  const restore = (text: Text): void => {
    const { place, begin, since } = text;
    try {
      load(place, begin);
      const position = begin?.position ?? 0;
      const all = since.length / width;
      for (let at = 0; at < all; at += AGAIN) {
        const rows = Math.min(AGAIN, all - at);
        const tokens = tokensOf.from(since.slice(at * width, (at + rows) * width));
        places.feed([{ place, position: position + at, tokens, rows }], { logits: 'last' });
      }
    } catch (error) {
      text.lost = `feed that failed: ${messageOf(error)}`;
    }
  };
  /** A place that holds what `fill` puts there; where that fails, it is given back. */
  const taken = (fill: (place: number) => void): number => {
    const place = places.take();
    try {
      fill(place);
    } catch (error) {
      places.release(place);
      throw error;
    }
    return place;
  };
  const load = (place: number, state: State | undefined): void => {
    if (state) places.write(place, state.values, state.position);
    else places.clear(place);
  };

  const feed = (turns: readonly Turn[], options: FeedOptions = {}): readonly Tensor<'f32'>[] => {
    if (!Array.isArray(turns))
      throw new TypeError('feed: expected a list of sequences, each with its tokens');
    const fed = turns.map(turn => {
      const text = texts.get(turn?.sequence);
      if (!text) throw new Error('feed: a sequence belongs to another executable');
      return usable(text);
    });
    if (turns.length === 0) return [];
    if (new Set(fed).size < fed.length)
      throw new RangeError('feed: expected each sequence once; got one of them twice');
    for (const [i, { tokens }] of turns.entries()) {
      check(tokens);
      checkRoom(fed[i].position, tokens.length / width);
    }
    if (typeof options !== 'object' || options === null)
      throw new TypeError(`feed: options expected an object; got ${String(options)}`);
    const { logits: wanted = 'all', observe } = options;
    if (observe !== undefined && typeof observe !== 'function')
      throw new TypeError(`feed: observe expected a function; got ${typeof observe}`);
    if (wanted !== 'all' && wanted !== 'last')
      throw new RangeError(`feed: logits expected 'all' or 'last'; got ${JSON.stringify(wanted)}`);
    if (observe && turns.length > 1)
      throw new RangeError(`feed: expected one sequence to observe; got ${turns.length}`);
    let logits: readonly Tensor<'f32'>[];
    isFeeding = true;
    try {
      logits = places.feed(
        fed.map(({ place, position }, i) => {
          const { tokens } = turns[i];
          return { place, position, tokens, rows: tokens.length / width };
        }),
        options,
      );
    } catch (error) {
      fed.forEach(restore);
      throw error;
    } finally {
      isFeeding = false;
    }
    for (const [i, text] of fed.entries()) {
      const { tokens } = turns[i];
      text.position += tokens.length / width;
      for (let at = 0; at < tokens.length; at++) text.since.push(tokens[at]);
      if (text.since.length > MOST_SINCE) {
        const { position } = text;
        Object.assign(text, { begin: { position, values: places.read(text.place, position) }, since: [] });
      }
    }
    return logits;
  };

  const sequenceOf = (text: Text): Sequence => {
    const sequence: Sequence = {
      get position() {
        return text.position;
      },
      context,
      feed: (tokens, options) => feed([{ sequence, tokens }], options)[0],
      save: () => ({ position: text.position, values: places.read(usable(text).place, text.position) }),
      load(state) {
        notClosed(text);
        if (state) checkState(program, state, context);
        try {
          load(text.place, state);
        } catch (error) {
          text.lost = `load that failed: ${messageOf(error)}`; // the place may hold a part of it
          throw error;
        }
        Object.assign(text, startOf(state), { lost: undefined });
      },
      fork() {
        const from = usable(text).place;
        const place = taken(to => places.copy(from, to));
        return sequenceOf({ ...text, place, since: text.since.slice() });
      },
      close() {
        notFeeding();
        close(text);
      },
    };
    texts.set(sequence, text);
    forgotten.register(sequence, text);
    return sequence;
  };

  return {
    open(state) {
      notFeeding();
      if (state) checkState(program, state, context);
      const place = taken(to => {
        if (state) places.write(to, state.values, state.position);
      });
      return sequenceOf({ place, isClosed: false, ...startOf(state) });
    },
    feed,
  };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** The state is copied: its owner may go on to change it. */
const startOf = (state?: State) => ({
  position: state?.position ?? 0,
  begin: state && {
    position: state.position,
    values: new Map([...state.values].map(([ref, t]) => [ref, { ...t, data: t.data.slice() }])),
  },
  since: [],
});

/** What a program is fed in. */
const arrayOf = ({ width }: Graph) => (width === undefined ? Int32Array : Float32Array);

/** @throws RangeError for a state that is not one of the program, or that has more tokens than the context. */
function checkState({ graph }: Program, { position, values }: State, context: number): void {
  if (!isArray('Map', values))
    throw new TypeError('state: values expected a Map, from the name of each state');
  if (!Number.isSafeInteger(position) || position < 0)
    throw new RangeError(`state: position expected a whole number; got ${position}`);
  if (position > context)
    throw new RangeError(
      `state: position ${position} is beyond the context of ${context}; ${roomFor(position)}`,
    );
  for (const [ref, type] of graph.states) {
    const value = values.get(ref);
    const expected = describe({ dtype: 'f32', shape: shapeAt(type, position) });
    if (!value) throw new RangeError(`state: ${ref} ${expected} is missing`);
    if (describe(value) !== expected)
      throw new RangeError(`state: ${ref} expected ${expected}; got ${describe(value)}`);
    if (!isArray('Float32Array', value.data) || value.data.length !== sizeOf(value.shape))
      throw new RangeError(`state: ${ref} says ${expected} but holds ${value.data.length} values`);
  }
}

/** What refuses frames that are not finite, and tokens that a table of the program does not have, as the table's op says it. */
function inputCheck({ graph }: Program): (tokens: Input) => void {
  const types = inferTypes(graph);
  const { width } = graph;
  const tables = flatten(graph.nodes).flatMap(node =>
    node.in.tokens === graph.input && node.in.w !== undefined
      ? [{ op: node.op.name, size: types.get(node.in.w)!.shape[0] as number }]
      : [],
  );
  const { name } = arrayOf(graph);
  const [what, article] = width === undefined ? ['token', 'an'] : ['frame', 'a'];
  return tokens => {
    if (!isArray(name, tokens)) throw new TypeError(`feed: expected the ${what}s as ${article} ${name}`);
    if (tokens.length === 0) throw new RangeError(`feed: expected at least one ${what}; got none`);
    for (const { op, size } of tables) checkTokens(op, tokens as Int32Array, size);
    if (width === undefined) return;
    if (tokens.length % width !== 0)
      throw new RangeError(`feed: expected frames of ${width} values; got ${tokens.length} values`);
    const at = tokens.findIndex(value => !Number.isFinite(value));
    if (at >= 0)
      throw new RangeError(
        `feed: expected finite values; got ${tokens[at]} at [${Math.floor(at / width)}, ${at % width}]`,
      );
  };
}
