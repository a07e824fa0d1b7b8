/** Lets a model write on at the end of a branch, and keeps a state every few tokens. */
import type { GenerateOptions, WebModel, WebSession } from 'quamba';
import { type Branch, idsBetween, keptUpTo, lengthOf } from './branch.ts';
import { aboutState } from './state-file.ts';

/** A state is 700 kB, of Mamba-2 4.9 MB, and up to this many tokens are fed again before a fork goes on: nobody notices either. */
const KEEP_EVERY = 32;

export interface Measured {
  readonly promptTokens: number;
  readonly written: number;
  readonly promptSeconds: number;
  readonly decodeSeconds: number;
  /** From the call to the first token in the page. */
  readonly firstTokenSeconds: number;
  readonly finishReason: string;
}

/** @param onToken is called after each token that came to the branch. */
export async function writeOn(
  model: WebModel,
  branch: Branch,
  options: GenerateOptions,
  onToken: () => void,
): Promise<Measured> {
  const begin = performance.now();
  const end = lengthOf(branch);
  let firstTokenSeconds = 0;
  const session = await model.session();
  const keeping: Promise<void>[] = [];
  try {
    const pieces = session.generate(await takeUp(session, branch, end - 1, end), options);
    for (let written = 0; ; written++) {
      const { done, value } = await pieces.next();
      if (done) {
        const { tokens, promptTokens, promptSeconds, decodeSeconds, finishReason } = value;
        return {
          promptTokens: promptTokens.length,
          written: tokens.length,
          promptSeconds,
          decodeSeconds,
          firstTokenSeconds,
          finishReason,
        };
      }
      if (written === 0) firstTokenSeconds = (performance.now() - begin) / 1000;
      const isEnd = model.endTokenIds.includes(value.token);
      branch.tokens.push({ id: value.token, text: value.text || (isEnd ? '⟨end of text⟩' : '') });
      onToken();
      if (written % KEEP_EVERY === 0) keeping.push(keep(session, branch));
    }
  } finally {
    await Promise.allSettled(keeping);
    session.close();
  }
}

/** The state after `position` tokens of the branch, as a file's bytes. */
export async function stateAt(model: WebModel, branch: Branch, position: number): Promise<Uint8Array> {
  const session = await model.session();
  try {
    const rest = await takeUp(session, branch, position, position);
    if (rest.length > 0) await session.feed(rest, { logits: 'last' });
    return await session.snapshot();
  } finally {
    session.close();
  }
}

/** Restores the last state kept up to `position`; gives the tokens from there up to `end`, which are still to be fed. */
async function takeUp(session: WebSession, branch: Branch, position: number, end: number): Promise<number[]> {
  const kept = keptUpTo(branch, position);
  if (kept) await session.restore(kept.bytes);
  return idsBetween(branch, kept?.position ?? 0, end);
}

/** The state as it is when the worker comes to it: it says itself after how many tokens that was. */
async function keep(session: WebSession, branch: Branch): Promise<void> {
  const bytes = await session.snapshot();
  const { position } = aboutState(bytes);
  if (branch.kept.every(state => state.position < position)) branch.kept.push({ position, bytes });
}
