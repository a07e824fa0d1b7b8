/**
 * A session: one text in progress. It feeds tokens, gives logits, and its state is a value that can be saved, restored
 * and forked. Feeding a text in any cut gives the same bits as feeding it at once.
 */
import { fromBytes } from './formats/bytes.ts';
import { readSafetensors, writeSafetensors } from './formats/safetensors.ts';
import type { Program } from './graph.ts';
import { stepsOf } from './ops/selective-scan-i8state.ts';
import { type Executable, type FeedOptions, initialState, type Kept, keptStates, type State } from './run.ts';
import { describe, type Tensor, tensor } from './tensor.ts';

export interface Session {
  /** Tokens fed since the start of the text. */
  readonly position: number;
  readonly vocabSize: number;
  /**
   * Feeds tokens and returns the logits f32[l, v] of every one of them; or f32[1, v] of the last one, which is faster.
   *
   * @throws RangeError for no tokens, or one that is not in the vocabulary; the session is then as it was.
   */
  feed(tokens: ArrayLike<number>, options?: Pick<FeedOptions, 'logits'>): Tensor<'f32'>;
  /** Back to the start of a text. */
  reset(): void;
  /** The state as bytes: a safetensors file, see `STATE_FORMAT`. */
  snapshot(): Uint8Array;
  /** @throws Error for bytes that are no state, or the state of another model or recipe. */
  restore(bytes: Uint8Array): void;
  /** Another session that goes on from here, independently. */
  fork(): Session;
}

/** What a session runs. */
export interface Runnable {
  readonly program: Program;
  readonly executable: Executable;
  readonly vocabSize: number;
  /** Who the state belongs to, in words and by hash. */
  readonly name: string;
  identity(): string;
}

/**
 * A state file is a safetensors file. Its tensors are the states by name (`layers.0.convState` f32[d, k−1], oldest input
 * first; `layers.0.ssmState` f32[d, n]), F16 or I8 where the recipe keeps them so: integers are in steps that the plan knows. Its
 * metadata holds `format`, `version`, `model` (a name for people), `identity` (of the model and recipe) and `position` (tokens fed).
 */
export const STATE_FORMAT = { format: 'quamba-state', version: '1' } as const;

export function createSession(
  runnable: Runnable,
  start?: { readonly state: State; readonly position: number },
): Session {
  const { program, executable, vocabSize } = runnable;
  let state = start?.state ?? initialState(program);
  let shared = start !== undefined; // with the session that this one was forked from
  let position = start?.position ?? 0;

  return {
    get position() {
      return position;
    },
    vocabSize,
    feed(tokens, { logits } = {}) {
      const ids = checkedTokens(tokens, vocabSize);
      const result = executable.feed(ids, state, { giveUp: !shared, logits });
      state = result.state;
      shared = false;
      position += ids.length;
      return result.logits;
    },
    reset() {
      state = initialState(program);
      shared = false;
      position = 0;
    },
    snapshot() {
      const metadata = {
        ...STATE_FORMAT,
        model: runnable.name,
        identity: runnable.identity(),
        position: `${position}`,
      };
      const kept = keptStates(program);
      const tensors = Object.entries(state).map(
        ([name, t]) => [name, stored(t, kept[name], program)] as const,
      );
      return concat([...writeSafetensors(tensors, metadata)]);
    },
    restore(bytes) {
      const restored = readState(bytes, runnable);
      ({ state, position } = restored);
      shared = false;
    },
    fork() {
      shared = true;
      return createSession(runnable, { state, position });
    },
  };
}

function checkedTokens(tokens: ArrayLike<number>, vocabSize: number): Int32Array {
  if (tokens.length === 0) throw new RangeError('feed: expected at least one token; got none');
  for (let i = 0; i < tokens.length; i++)
    if (!Number.isInteger(tokens[i]) || tokens[i] < 0 || tokens[i] >= vocabSize)
      throw new RangeError(`feed: token ${tokens[i]} is out of range 0 … ${vocabSize - 1} at position ${i}`);
  return Int32Array.from(tokens);
}

function readState(bytes: Uint8Array, runnable: Runnable): { state: State; position: number } {
  const file = readSafetensors(fromBytes('state', bytes));
  const { format, version, model, identity, position } = file.metadata;
  if (format !== STATE_FORMAT.format) throw new Error('state: these bytes are not a saved state of quamba');
  if (version !== STATE_FORMAT.version)
    throw new Error(
      `state: format version ${version} is not known; this quamba reads version ${STATE_FORMAT.version}`,
    );
  if (identity !== runnable.identity())
    throw new Error(
      `state: was saved by ${model} (${identity?.slice(0, 12)}); this session runs ${runnable.name} (${runnable.identity().slice(0, 12)})`,
    );
  if (!/^\d{1,15}$/.test(position ?? ''))
    throw new Error(`state: position expected a whole number; got ${JSON.stringify(position)}`);
  const state: Record<string, Tensor<'f32'>> = {};
  const { program } = runnable;
  const kept = keptStates(program);
  for (const [name, shape] of Object.entries(program.graph.states)) {
    if (!file.tensors.has(name)) throw new Error(`state: tensor ${name} is missing`);
    const t = file.read(name);
    const expected = describe({ dtype: kept[name].bits === 8 ? 'i8' : 'f32', shape });
    if (describe(t) !== expected)
      throw new Error(`state: tensor ${name} expected ${expected}; got ${describe(t)}`);
    state[name] = restored(t, kept[name], program);
  }
  return { state, position: Number(position) };
}

/** A state as it is written: each of its values as it is kept. */
function stored(t: Tensor<'f32'>, kept: Kept, { weights }: Program) {
  if (kept.bits !== 8) return { ...t, dtype: kept.bits === 16 ? ('F16' as const) : ('F32' as const) };
  const { data: scale } = weights.read(kept.scale);
  return {
    ...t,
    dtype: 'I8' as const,
    data: Int8Array.from(t.data, (k, i) => stepsOf(k, scale[Math.floor(i / t.shape[1])])),
  };
}

function restored(t: Tensor, kept: Kept, { weights }: Program): Tensor<'f32'> {
  if (kept.bits !== 8) return t as Tensor<'f32'>;
  const { data: scale } = weights.read(kept.scale);
  return tensor(
    Float32Array.from(t.data, (q, i) => scale[Math.floor(i / t.shape[1])] * q),
    t.shape,
  );
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
