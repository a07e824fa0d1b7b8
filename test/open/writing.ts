/** What tests of texts that a model writes share. */
import { createHash } from 'node:crypto';
import type { Model } from '../../src/open/model.ts';
import type { GenerateOptions } from '../../src/text/generate.ts';

/** Counts every token that any text of the model is fed. */
export function counted({ executable }: Pick<Model, 'executable'>): () => number {
  let count = 0;
  const { feed } = executable;
  executable.feed = (turns, options) => {
    for (const { tokens } of turns) count += tokens.length;
    return feed(turns, options);
  };
  return () => {
    const before = count;
    count = 0;
    return before;
  };
}

export async function ended<P, R>(pieces: AsyncGenerator<P, R, void>): Promise<R & { pieces: P[] }> {
  const all: P[] = [];
  for (;;) {
    const next = await pieces.next();
    if (next.done) return { ...next.value, pieces: all };
    all.push(next.value);
  }
}

/** What `generate` writes after the whole prompt in a session of its own, with the hashes that `complete` gives. */
export async function alone(
  model: Pick<Model, 'generate'>,
  prompt: Int32Array | string,
  options: GenerateOptions,
) {
  const rows: Buffer[] = [];
  const onLogits: GenerateOptions['onLogits'] = ({ data, shape: [count, width] }) => {
    for (let row = 0; row < count; row++)
      rows.push(Buffer.from(data.slice(row * width, (row + 1) * width).buffer));
  };
  const hashOf = (some: readonly Buffer[]) => createHash('sha256').update(Buffer.concat(some)).digest('hex');
  const {
    promptSeconds: _,
    decodeSeconds: __,
    ...all
  } = await ended(model.generate(prompt, { ...options, onLogits }));
  const first = all.promptTokens.length - 1;
  const drawn = rows.slice(first, first + all.tokens.length);
  return { ...all, answerHash: hashOf(drawn), logitsHash: hashOf(rows) };
}
