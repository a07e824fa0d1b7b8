/** Has all choices of a request written at the same time. */
import type { Places } from './places.ts';
import type { Engine } from './process.ts';
import type { WriteRequest, Written, WrittenPiece } from './protocol.ts';

/** A choice that is written. */
export interface Choice {
  readonly pieces: readonly WrittenPiece[];
  readonly done: Written;
}

export interface Listener {
  /** All prompts are good, and the answer begins. */
  begun(): void;
  /** The first token of the first choice. */
  first(): void;
  /** @param offset where its text stands in that of the choice */
  piece(index: number, piece: WrittenPiece, offset: number): void;
  done(index: number, done: Written): void;
}

/**
 * Each choice takes a place, and a request is turned away as a whole or not at all. Choices with the same prompt cost it once: the first that feeds it keeps it for the others.
 *
 * @throws what failed first; all others are then given up
 */
export async function writeAll(
  { engine, places }: { readonly engine: Engine; readonly places: Places },
  requests: readonly WriteRequest[],
  signal: AbortSignal,
  listener: Listener,
): Promise<readonly Choice[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  let begun = 0;
  let isFirst = true;
  const write = async (request: WriteRequest, index: number): Promise<Choice> => {
    const release = await places.take(either, index > 0);
    const pieces: WrittenPiece[] = [];
    let offset = 0;
    try {
      const done = await engine.write(
        request,
        {
          begun() {
            if (++begun === 1) listener.begun();
          },
          piece(piece) {
            if (isFirst) listener.first();
            isFirst = false;
            pieces.push(piece);
            listener.piece(index, piece, offset);
            offset += piece.text.length;
          },
        },
        either,
      );
      listener.done(index, done);
      return { pieces, done };
    } finally {
      release();
    }
  };
  try {
    return await Promise.all(requests.map(write));
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}
