/**
 * A session: a sequence that knows which model and recipe it belongs to. It feeds tokens and gives logits. It can be saved as a
 * file, restored and forked. Feeding a text in any cut gives the same bits as feeding it at once.
 */
import type { Executable, FeedOptions, Sequence, State } from './executable.ts';
import { concat, fromBytes } from './formats/bytes.ts';
import { plain, show } from './formats/json.ts';
import { readSafetensors, type Writable, writeSafetensors } from './formats/safetensors.ts';
import type { Program, Ref } from './graph.ts';
import { hasher } from './plan/identity.ts';
import { type StateType, shapeAt, stepsOf } from './state.ts';
import { describe, type Tensor, tensor } from './tensor.ts';

export interface Session {
  /** Tokens fed since the start of the text. */
  readonly position: number;
  readonly vocabSize: number;
  /**
   * Feeds tokens and returns the logits f32[l, v] of every one of them; or f32[1, v] of the last one, which is faster.
   *
   * @throws RangeError for no tokens, or one that is not in the vocabulary; whatever fails, the session is as it was.
   */
  feed(tokens: ArrayLike<number>, options?: Pick<FeedOptions, 'logits'>): Tensor<'f32'>;
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

/** What a session runs. */
export interface Runnable {
  readonly program: Program;
  readonly executable: Executable;
  readonly vocabSize: number;
  /** The model and the recipe, in words that a state file may hold: no path of this machine. */
  readonly name: string;
  /** Their hash: a state of another one is refused. */
  identity(): string;
}

/**
 * A state file is a safetensors file. Its tensors are the states by name, in the type that the plan gives them
 * (`layers.0.convState` f32[d, k−1], oldest input first; `layers.0.ssmState` f32[d, n]; F16 or I8 where the recipe keeps them
 * so: integers are in steps that the plan knows). Its metadata holds `format`, `version`, `model` (a name for people),
 * `identity` (of the model and recipe), `position` (tokens fed) and `sha256` (of the file that has these five metadata alone:
 * whoever keeps a state may add others).
 */
export const STATE_FORMAT = { format: 'quamba-state', version: '3' } as const;

/** A new session, at the start of a text or on a sequence that is given to it. */
export function createSession(runnable: Runnable, sequence: Sequence = runnable.executable.open()): Session {
  const { vocabSize } = runnable;
  return {
    get position() {
      return sequence.position;
    },
    vocabSize,
    feed: (tokens, { logits } = {}) => sequence.feed(checkedTokens(tokens, vocabSize), { logits }),
    reset: () => sequence.load(),
    snapshot: () => stateFile(sequence.save(), runnable),
    restore: bytes => sequence.load(readState(bytes, runnable)),
    fork: () => createSession(runnable, sequence.fork()),
    close: () => sequence.close(),
  };
}

function checkedTokens(tokens: ArrayLike<number>, vocabSize: number): Int32Array {
  for (let i = 0; i < tokens.length; i++)
    if (!Number.isInteger(tokens[i]) || tokens[i] < 0 || tokens[i] >= vocabSize)
      throw new RangeError(`feed: token ${tokens[i]} is out of range 0 … ${vocabSize - 1} at position ${i}`);
  return Int32Array.from(tokens);
}

function stateFile({ position, values }: State, { program, name, identity }: Runnable): Uint8Array {
  const metadata = { ...STATE_FORMAT, model: name, identity: identity(), position: `${position}` };
  const tensors = [...program.graph.states].map(
    ([ref, type]) => [ref, stored(values.get(ref)!, type, program)] as const,
  );
  return concat(writeSafetensors(tensors, { ...metadata, sha256: sumOf(tensors, metadata) }));
}

function sumOf(...file: Parameters<typeof writeSafetensors>): string {
  const hash = hasher();
  for (const piece of writeSafetensors(...file)) hash.update(piece);
  return hash.hex();
}

function readState(bytes: Uint8Array, runnable: Runnable): State {
  const file = readSafetensors(fromBytes('state', bytes));
  const { format, version, model, identity, position, sha256 } = file.metadata;
  if (format !== STATE_FORMAT.format) throw new Error('state: these bytes are not a saved state of quamba');
  if (version !== STATE_FORMAT.version)
    throw new Error(
      `state: format version ${plain(version)} is not known; this quamba reads version ${STATE_FORMAT.version}`,
    );
  if (identity !== runnable.identity())
    throw new Error(
      `state: was saved by ${plain(model)} (${plain(identity?.slice(0, 12))}); this session runs ${plain(runnable.name)} (${runnable.identity().slice(0, 12)})`,
    );
  if (!/^\d{1,15}$/.test(position ?? ''))
    throw new Error(`state: position expected a whole number; got ${show(position)}`);
  const { program } = runnable;
  const values = new Map<Ref, Tensor<'f32'>>();
  const tensors: [Ref, Writable][] = [];
  for (const [ref, type] of program.graph.states) {
    const found = file.tensors.get(ref);
    if (!found) throw new Error(`state: tensor ${plain(ref)} is missing`);
    const t = file.read(ref);
    const dtype = type.dtype === 'i8' ? 'i8' : 'f32';
    const expected = describe({ dtype, shape: shapeAt(type, Number(position)) });
    if (describe(t) !== expected)
      throw new Error(`state: tensor ${plain(ref)} expected ${expected}; got ${describe(t)}`);
    values.set(ref, restored(t, type, program));
    tensors.push([ref, { ...t, dtype: found.dtype as Writable['dtype'] }]);
  }
  if (sumOf(tensors, { ...STATE_FORMAT, model: `${model}`, identity, position }) !== sha256)
    throw new Error('state: has changed since it was saved (sha256 differs)');
  return { position: Number(position), values };
}

/** A state as a file holds it: each of its values as it is kept. */
function stored(t: Tensor<'f32'>, { dtype, scale }: StateType, { weights }: Program) {
  if (scale === undefined) return { ...t, dtype: dtype === 'f16' ? ('F16' as const) : ('F32' as const) };
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
