/** Writes on from several prompts at the same time. They are fed together, so that the weights are read once for all. */
import { array, object, show } from '../formats/json.ts';
import type { Generated, GenerateOptions, generate, Piece } from './generate.ts';

export interface GenerateManyOptions extends GenerateOptions {
  /** How many texts are written at once, each with a state of its own. Default: 16. */
  readonly parallel?: number;
}

/** A written token, and which prompt's it is. */
export interface PieceOf extends Piece {
  readonly prompt: number;
}

type Write = (prompt: string | ArrayLike<number>, options: GenerateOptions) => ReturnType<typeof generate>;

/**
 * Each text is that which `generate` writes alone from its prompt with these options, bit by bit. The pieces come as they are made,
 * those of each text in order; whoever reads them slowly keeps nobody waiting but the text's own next token. The result is what was
 * generated, in the order of the prompts.
 *
 *   for await (const { prompt, text } of model.generateMany(['The old man', 'It was a dark'])) texts[prompt] += text;
 *
 * @param write writes one
 * @throws RangeError for an option out of its range; what `generate` throws, for the first text that fails, which ends all.
 */
export async function* generateMany(
  write: Write,
  prompts: readonly (string | ArrayLike<number>)[],
  options: GenerateManyOptions = {},
): AsyncGenerator<PieceOf, readonly Generated[], void> {
  const { parallel = 16, ...how } = object(options, 'generateMany: options') as GenerateManyOptions;
  if (!Number.isSafeInteger(parallel) || parallel < 1)
    throw new RangeError(`generateMany: parallel expected a whole number >= 1; got ${show(parallel)}`);
  const all = array(prompts, 'generateMany: prompts') as typeof prompts;
  const done: Generated[] = [];
  const running = new Map<number, ReturnType<typeof generate>>();
  /** What each of the running texts comes to next. */
  const next = new Map<number, Promise<readonly [number, IteratorResult<Piece, Generated>]>>();
  const advance = (prompt: number): void => {
    const pieces = running.get(prompt)!;
    next.set(
      prompt,
      pieces.next().then(result => [prompt, result] as const),
    );
  };
  let begun = 0;
  try {
    for (;;) {
      for (; begun < all.length && running.size < parallel; begun++) {
        running.set(begun, write(all[begun], how));
        advance(begun);
      }
      if (next.size === 0) return done;
      const [prompt, result] = await Promise.race(next.values());
      next.delete(prompt);
      if (result.done) {
        done[prompt] = result.value;
        running.delete(prompt);
      } else {
        advance(prompt);
        yield { ...result.value, prompt };
      }
    }
  } finally {
    const left = [...running.values()].map(pieces => pieces.return(undefined as never));
    await Promise.allSettled([...next.values(), ...left]);
  }
}
