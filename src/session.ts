/**
 * A session: a sequence that knows which model and recipe it belongs to. It feeds tokens and gives logits. It can be saved as a
 * file, restored and forked. Feeding a text in any cut gives the same bits as feeding it at once.
 */
import type { Batches } from './batches.ts';
import type { Executable, FeedOptions, Sequence, State } from './executable.ts';
import { concat, fromBytes } from './formats/bytes.ts';
import { object, plain, show } from './formats/json.ts';
import { readSafetensors, type Writable, writeSafetensors } from './formats/safetensors.ts';
import type { Program, Ref } from './graph.ts';
import { hasher } from './plan/identity.ts';
import { type StateType, shapeAt, stepsOf } from './state.ts';
import { describe, isArray, type Tensor, tensor } from './tensor.ts';

export interface Session {
  /** Tokens fed since the start of the text. */
  readonly position: number;
  /** The most tokens of the text: infinite, unless a state grows with it. */
  readonly context: number;
  readonly vocabSize: number;
  /** The logits f32[v] after the last token fed: what a text goes on with. Undefined at the start of a text. */
  readonly logits: Float32Array | undefined;
  /**
   * Feeds tokens and returns the logits f32[l, v] of every one of them; or f32[1, v] of the last one, which is faster.
   *
   * @throws RangeError for no tokens, or one that is not in the vocabulary; TypeError for a text; whatever fails, the session is as it was.
   */
  feed(tokens: ArrayLike<number>, options?: Pick<FeedOptions, 'logits'>): Tensor<'f32'>;
  /**
   * As `feed`, together with all sessions of the model that ask at about the same time, so that the weights are read once for all. The
   * logits are the same bits.
   *
   * @param options `signal`: gives up what is not fed yet
   * @throws what `feed` throws; the session then stands after the last of its tokens that were fed.
   */
  feedTogether(tokens: ArrayLike<number>, options?: TogetherOptions): Promise<Tensor<'f32'>>;
  /** Back to the start of a text. */
  reset(): void;
  /** The state as bytes: a safetensors file, see `STATE_FORMAT`. */
  snapshot(): Uint8Array;
  /** @throws Error for bytes that are no state, that have changed since, or the state of another model or recipe. */
  restore(bytes: Uint8Array): void;
  /** Another session that goes on from here, independently. */
  fork(): Session;
  /** Gives its memory back. After that it cannot be used. */
  close(): void;
}

export interface TogetherOptions extends Pick<FeedOptions, 'logits'> {
  readonly signal?: AbortSignal;
}

/** What a session runs. */
export interface Runnable {
  readonly program: Program;
  readonly executable: Executable;
  /** What feeds the sessions together that ask for it. */
  readonly batches: Batches;
  readonly vocabSize: number;
  /** The model and the recipe, in words that a state file may hold: no path of this machine. */
  readonly name: string;
  /** Their hash: a state of another one is refused. */
  identity(): string;
}

/**
 * A state file is a safetensors file. Its tensors are the states by name, in the type that the plan gives them
 * (`layers.0.convState` f32[d, k−1], oldest input first; `layers.0.ssmState` f32[d, n]; F16 or I8 where the recipe keeps them
 * so: integers are in steps that the plan knows), and `logits` f32[v], those after the last token, where there is one. Its metadata
 * holds `format`, `version`, `model` (a name for people), `identity` (of the model and recipe), `position` (tokens fed) and `sha256`
 * (of the file that has these tensors and the five other metadata alone: whoever keeps a state may add others).
 */
export const STATE_FORMAT = { format: 'quamba-state', version: '3' } as const;

/** A new session, at the start of a text or on a sequence that is given to it, with the logits after its last token. */
export function createSession(
  runnable: Runnable,
  sequence: Sequence = runnable.executable.open(),
  logits?: Float32Array,
): Session {
  const { vocabSize, batches } = runnable;
  /** What is returned is the caller's to change. */
  const seen = ({ data }: Tensor<'f32'>): void => {
    logits = data.slice(-vocabSize);
  };
  return {
    get position() {
      return sequence.position;
    },
    context: sequence.context,
    vocabSize,
    get logits() {
      return logits;
    },
    feed(tokens, options = {}) {
      const { logits: wanted } = object(options, 'feed: options') as Pick<FeedOptions, 'logits'>;
      if (batches.isWaiting(sequence)) throw new Error('feed: this session still waits for feedTogether');
      const fed = sequence.feed(checkedTokens(tokens, vocabSize), { logits: wanted });
      seen(fed);
      return fed;
    },
    async feedTogether(tokens, options = {}) {
      const { logits: wanted, signal } = object(options, 'feed: options') as TogetherOptions;
      const ids = checkedTokens(tokens, vocabSize);
      return batches.feed(sequence, ids, { logits: wanted, signal, onPart: seen });
    },
    reset() {
      sequence.load();
      logits = undefined;
    },
    snapshot: () => stateFile(sequence.save(), logits, runnable),
    restore(bytes) {
      const saved = readState(bytes, runnable);
      sequence.load(saved);
      logits = saved.logits;
    },
    fork: () => createSession(runnable, sequence.fork(), logits),
    close: () => sequence.close(),
  };
}

function checkedTokens(tokens: ArrayLike<number>, vocabSize: number): Int32Array {
  if (typeof tokens !== 'object' || typeof tokens?.length !== 'number')
    throw new TypeError(`feed: tokens expected an array of ids, such as encode gives; got ${show(tokens)}`);
  return Int32Array.from(tokens, (token, i) => {
    if (!Number.isInteger(token) || token < 0 || token >= vocabSize)
      throw new RangeError(
        `feed: token ${typeof token === 'number' ? token : show(token)} is out of range 0 … ${vocabSize - 1} at position ${i}`,
      );
    return token;
  });
}

function stateFile(
  { position, values }: State,
  logits: Float32Array | undefined,
  { program, name, identity }: Runnable,
): Uint8Array {
  const metadata = { ...STATE_FORMAT, model: name, identity: identity(), position: `${position}` };
  const tensors = [...program.graph.states].map(([ref, type]): [string, Writable] => [
    ref,
    stored(values.get(ref)!, type, program),
  ]);
  if (logits) tensors.push(['logits', { dtype: 'F32', shape: [logits.length], data: logits }]);
  return concat(writeSafetensors(tensors, { ...metadata, sha256: sumOf(tensors, metadata) }));
}

function sumOf(...file: Parameters<typeof writeSafetensors>): string {
  const hash = hasher();
  for (const piece of writeSafetensors(...file)) hash.update(piece);
  return hash.hex();
}

function readState(bytes: Uint8Array, runnable: Runnable): State & Pick<Session, 'logits'> {
  if (!isArray('Uint8Array', bytes))
    throw new TypeError(`state: expected its bytes as a Uint8Array; got ${show(bytes)}`);
  const file = readSafetensors(fromBytes('state', bytes));
  const { format, version, model, identity, position, sha256 } = file.metadata;
  if (format !== STATE_FORMAT.format) throw new Error('state: these bytes are not a saved state of quamba');
  if (version !== STATE_FORMAT.version)
    throw new Error(
      `state: format version ${plain(version ?? 'nothing')} is not known; this quamba reads version ${STATE_FORMAT.version}`,
    );
  if (identity !== runnable.identity())
    throw new Error(
      `state: was saved by ${plain(model ?? 'a model without a name')} (${plain(identity?.slice(0, 12) ?? 'no identity')}); this session runs ${plain(runnable.name)} (${runnable.identity().slice(0, 12)})`,
    );
  if (!/^\d{1,15}$/.test(position ?? ''))
    throw new Error(`state: position expected a whole number; got ${show(position)}`);
  const { program } = runnable;
  const tensors: [string, Writable][] = [];
  const read = (name: string, dtype: 'i8' | 'f32', shape: readonly number[]): Tensor => {
    const found = file.tensors.get(name);
    if (!found) throw new Error(`state: tensor ${plain(name)} is missing`);
    const t = file.read(name);
    const expected = describe({ dtype, shape });
    if (describe(t) !== expected)
      throw new Error(`state: tensor ${plain(name)} expected ${expected}; got ${describe(t)}`);
    tensors.push([name, { ...t, dtype: found.dtype as Writable['dtype'] }]);
    return t;
  };
  const values = new Map<Ref, Tensor<'f32'>>();
  for (const [ref, type] of program.graph.states) {
    const dtype = type.dtype === 'i8' ? 'i8' : 'f32';
    values.set(ref, restored(read(ref, dtype, shapeAt(type, Number(position))), type, program));
  }
  const logits = Number(position)
    ? (read('logits', 'f32', [runnable.vocabSize]).data as Float32Array)
    : undefined;
  if (sumOf(tensors, { ...STATE_FORMAT, model: `${model}`, identity, position }) !== sha256)
    throw new Error('state: has changed since it was saved (sha256 differs)');
  return { position: Number(position), values, logits };
}

/** A state as a file holds it: each of its values as it is kept. */
function stored(t: Tensor<'f32'>, { dtype, scale }: StateType, { weights }: Program) {
  if (scale === undefined) return { ...t, dtype: dtype === 'f16' ? ('F16' as const) : ('F32' as const) }; // steps and integers of i8-dynamic are in the values
  const steps = weights.read(scale).data;
  const row = t.data.length / steps.length;
  const data = Int8Array.from(t.data, (value, i) => stepsOf(value, steps[Math.floor(i / row)]));
  return { ...t, dtype: 'I8' as const, data };
}

function restored(t: Tensor, { scale }: StateType, { weights }: Program): Tensor<'f32'> {
  if (scale === undefined) return t as Tensor<'f32'>;
  const steps = weights.read(scale).data;
  const row = t.data.length / steps.length;
  const values = Float32Array.from(t.data, (q, i) => steps[Math.floor(i / row)] * q);
  return tensor(values, t.shape);
}
