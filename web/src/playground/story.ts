/** The story: branches, the one that is shown, and what can be done at one of its tokens. */
import type { GenerateOptions, WebModel } from 'quamba';
import { sentenceOf } from '../dom.ts';
import { append, type Branch, fork, idsBetween, lengthOf, newBranch } from './branch.ts';
import { aboutState, withTokens } from './state-file.ts';
import { storyView } from './story-view.ts';
import { stateAt, writeOn } from './write.ts';

export interface Host {
  modelOf(recipe: string): WebModel | undefined;
  models(): { readonly recipe: string; readonly model: WebModel }[];
  options(): GenerateOptions;
  /** Stops what is being written and does this instead. */
  instead(work: (signal: AbortSignal) => Promise<void>): void;
}

export interface Story {
  /** A column's text. It takes the place of that recipe's last one, unless that was forked. */
  readonly show: (branch: Branch) => void;
  readonly choose: (branch: Branch, length: number) => void;
}

export function newStory(box: HTMLElement, host: Host): Story {
  let branches: Branch[] = [];
  let shown: Branch | undefined;

  const select = (branch: Branch, length = lengthOf(branch)) => {
    shown = branch;
    view.show(branches, branch, length);
  };
  const add = (branch: Branch) => {
    if (branches.includes(branch)) return;
    const old = branches.find(other => other.recipe === branch.recipe && isReplaceable(other, branches));
    branches = [...branches.filter(other => other !== old), branch];
    if (shown === old) shown = branch;
  };

  /** Does it with the shown branch and its model; what goes wrong is said here. */
  const attempt = (work: (branch: Branch, model: WebModel, signal: AbortSignal) => Promise<void>) =>
    host.instead(async signal => {
      view.tell('');
      try {
        if (!shown) throw new Error('There is no text yet.');
        const model = host.modelOf(shown.recipe);
        if (!model)
          throw new Error(
            `This branch is ${shown.recipe}’s, whose model is not loaded: choose that recipe above, or wait until it is.`,
          );
        await work(shown, model, signal);
      } catch (reason) {
        if (!signal.aborted) view.tell(sentenceOf(reason));
      }
    });

  const write = async (branch: Branch, model: WebModel, words: string, options: GenerateOptions) => {
    const ids = await model.encode(words);
    append(branch, ids, await model.pieces(ids));
    if (branch.tokens.length === 0)
      throw new Error('This state came without its text: put in some words for it to go on from.');
    if (!branches.includes(branch)) branches = [...branches, branch];
    select(branch);
    view.setBusy(true);
    try {
      await writeOn(model, branch, options, view.grow);
    } finally {
      view.setBusy(false);
      select(shown!, shown === branch && view.isAtEnd() ? undefined : view.length());
    }
  };

  const view = storyView(box, {
    select,
    fork: (length, words) =>
      attempt(async (parent, model, signal) => {
        const options = host.options();
        const siblings = branches.filter(branch => branch.parent === parent).length;
        const branch = fork(parent, length, options.seed! + siblings + 1);
        await write(branch, model, words, { ...options, seed: branch.seed, signal });
      }),
    goOn: words =>
      attempt((branch, model, signal) => write(branch, model, words, { ...host.options(), signal })),
    save: length =>
      attempt(async (branch, model) => {
        const bytes = await stateAt(model, branch, length);
        const file = branch.start === 0 ? withTokens(bytes, idsBetween(branch, 0, length)) : bytes;
        view.offer(new Blob([file as BlobPart]), `${branch.recipe}-${length}-tokens.safetensors`);
      }),
    open: file =>
      host.instead(async () => {
        view.tell('');
        try {
          const branch = await restored(new Uint8Array(await file.arrayBuffer()), host.models());
          branches = [...branches, branch];
          select(branch);
        } catch (reason) {
          view.tell(sentenceOf(reason));
        }
      }),
  });
  return {
    show(branch) {
      add(branch);
      if (shown) select(shown, shown === branch ? undefined : view.length());
    },
    choose(branch, length) {
      add(branch);
      select(branch, length);
    },
  };
}

/** A text from a prompt that nothing was forked from, and that no file brought. */
const isReplaceable = (branch: Branch, all: readonly Branch[]): boolean =>
  !branch.parent && !branch.isOpened && !all.some(other => other.parent === branch);

/** By the one of the models that it belongs to. @throws the first one's complaint where it belongs to none. */
async function restored(bytes: Uint8Array, models: ReturnType<Host['models']>): Promise<Branch> {
  const complaints: unknown[] = [];
  for (const { recipe, model } of models) {
    const session = await model.session();
    try {
      await session.restore(bytes);
      const { position, tokens } = aboutState(bytes);
      const branch = newBranch(recipe, { start: tokens ? 0 : position, isOpened: true });
      if (tokens) append(branch, tokens, await model.pieces(tokens));
      branch.kept.push({ position, bytes });
      return branch;
    } catch (reason) {
      complaints.push(reason);
    } finally {
      session.close();
    }
  }
  throw complaints[0] ?? new Error('No model is loaded yet.');
}
