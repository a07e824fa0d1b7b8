/** A recipe's column: its model while it loads, and what it writes. */
import type { WebModel } from 'quamba';
import { MODEL } from '../chosen-model.ts';
import { element, sentenceOf } from '../dom.ts';
import { RECIPES, weightBytes } from '../model.ts';
import { megabytes, quoted } from '../numbers.ts';
import { onceAFrame } from '../pace.ts';
import { append, type Branch, newBranch, type Token } from './branch.ts';
import type { Request } from './form.ts';
import { type Loading, loadRecipe } from './models.ts';
import { tokenText } from './token-text.ts';
import { type Measured, writeOn } from './write.ts';

export interface Column {
  readonly recipe: string;
  readonly box: HTMLElement;
  /** Undefined while it loads, or could not. */
  readonly model: WebModel | undefined;
  /** What it wrote last. */
  readonly branch: Branch | undefined;
  /** Loads, or loads anew. */
  load(threads: number): Promise<void>;
  /** From the prompt; unless it is `anew`, only where this very text is not there. */
  write(request: Request, anew: boolean, signal: AbortSignal): Promise<void>;
  /** Marks where the text leaves another one. */
  compareWith(first: Column): void;
  dispose(): void;
}

/** @param onChoice is called with a token that was clicked, as the length of the text up to it. */
export function newColumn(
  recipe: string,
  onText: (branch: Branch) => void,
  onChoice: (branch: Branch, length: number) => void,
): Column {
  const bar = element('progress', { max: 1, value: 0 });
  const loadingText = element('span');
  const loadingBox = element('label', { className: 'loading' }, loadingText, bar);
  const textBox = element('p', { className: 'written', attributes: { 'aria-live': 'polite' } });
  const difference = element('p', { className: 'quiet difference' });
  const facts = element('p', { className: 'quiet facts' });
  const error = element('p', { className: 'error', attributes: { role: 'alert' } });
  const box = element(
    'section',
    { className: 'panel', attributes: { 'aria-label': recipe } },
    element('h2', { textContent: recipe }),
    element('p', { className: 'quiet', textContent: RECIPES[recipe] }),
    loadingBox,
    textBox,
    difference,
    error,
    facts,
  );
  const text = tokenText(textBox);
  let loading: Loading | undefined;
  let model: WebModel | undefined;
  let branch: Branch | undefined;
  let finished = '';

  textBox.addEventListener('click', ({ target }) => {
    const index = text.indexOf(target);
    if (branch && index !== undefined) onChoice(branch, index + 1);
  });

  return {
    recipe,
    box,
    get model() {
      return model;
    },
    get branch() {
      return branch;
    },
    async load(threads) {
      loading?.dispose();
      model = undefined;
      finished = error.textContent = '';
      loadingBox.hidden = false;
      loadingText.textContent = 'Waiting for its turn to load …';
      bar.removeAttribute('value');
      let loaded = 0;
      const total = MODEL.bytes.json + weightBytes(MODEL, recipe);
      const showProgress = onceAFrame(() => {
        bar.value = loaded / total;
        loadingText.textContent =
          loaded < total
            ? `Loading: ${megabytes(loaded)} of ${megabytes(total)} MB`
            : 'Making the model ready …';
      });
      const own = loadRecipe(recipe, threads, now => {
        loaded = now;
        showProgress();
      });
      loading = own;
      try {
        const ready = await own.model;
        if (loading === own) model = ready;
      } catch (reason) {
        if (loading === own) error.textContent = sentenceOf(reason);
      }
      if (loading === own) loadingBox.hidden = true;
    },
    async write(request, anew, signal) {
      const key = JSON.stringify(request);
      if (!model || (finished === key && !anew)) return;
      finished = error.textContent = difference.textContent = '';
      textBox.ariaBusy = 'true'; // read out when it is whole
      try {
        const next = await prompted(model, recipe, request.prompt);
        if (signal.aborted) return;
        branch = next;
        text.show(next.tokens);
        const measured = await writeOn(model, next, { ...request.options, signal }, text.grow);
        onText(next);
        facts.textContent = factsOf(model, measured);
        if (!signal.aborted) finished = key;
      } catch (reason) {
        if (!signal.aborted) error.textContent = sentenceOf(reason);
      } finally {
        textBox.ariaBusy = 'false';
      }
    },
    compareWith(first) {
      textBox.querySelector('.differs')?.classList.remove('differs');
      difference.textContent = '';
      if (first.branch === branch || !first.branch?.tokens.length || !branch?.tokens.length) return;
      const at = firstDifference(first.branch.tokens, branch.tokens);
      difference.textContent =
        at === undefined
          ? `The same text as ${first.recipe}.`
          : `Leaves ${first.recipe} at token ${at + 1}: ${named(branch.tokens[at])} for ${named(first.branch.tokens[at])}.`;
      text.flush();
      if (at !== undefined) text.at(at)?.classList.add('differs');
    },
    dispose() {
      loading?.dispose();
      loading = model = undefined;
      box.remove();
    },
  };
}

async function prompted(model: WebModel, recipe: string, prompt: string): Promise<Branch> {
  const branch = newBranch(recipe);
  const given = await model.encode(prompt);
  // The end of a text is the start of the next.
  const ids = given.length > 0 ? given : Int32Array.of(model.eosTokenId!);
  append(branch, ids, await model.pieces(ids));
  return branch;
}

function firstDifference(a: readonly Token[], b: readonly Token[]): number | undefined {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).find(i => a[i]?.id !== b[i]?.id);
}

const named = (token: Token | undefined): string => (token ? quoted(token.text) : 'the end');

function factsOf({ about, backend, notes }: WebModel, measured: Measured): string {
  const { promptTokens, written, promptSeconds, decodeSeconds, firstTokenSeconds, finishReason } = measured;
  const rate = (tokens: number, seconds: number) => `${Math.round(tokens / seconds)} tokens/s`;
  return [
    `${backend}, ${about?.kernels ?? 'plain'} kernels, ${about?.threads ?? 1} thread${about?.threads === 1 ? '' : 's'}`,
    written > 0 && `first token after ${Math.round(1000 * firstTokenSeconds)} ms`,
    written > 0 && `prompt ${rate(promptTokens, promptSeconds)}`,
    written > 1 && `decode ${rate(written - 1, decodeSeconds)}`,
    `${written} tokens${finishReason === 'aborted' ? ', stopped' : ''}`,
    ...notes,
  ]
    .filter(Boolean)
    .join(' · ');
}
