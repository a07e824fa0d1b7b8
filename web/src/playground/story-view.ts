/** How a story looks: the branches as a tree, the text of one, a token of it, and buttons. */

import { element } from '../dom.ts';
import { quoted } from '../numbers.ts';
import { onceAFrame } from '../pace.ts';
import { type Branch, lengthOf } from './branch.ts';
import { tokenText } from './token-text.ts';

export interface Actions {
  select(branch: Branch, length?: number): void;
  fork(length: number, words: string): void;
  goOn(words: string): void;
  save(length: number): void;
  open(file: File): void;
}

export function storyView(box: HTMLElement, on: Actions) {
  const tree = element('div', { className: 'tree' });
  const textBox = element('p', { className: 'written', attributes: { 'aria-live': 'polite' } });
  const slider = element('input', { type: 'range', id: 'token', min: '1', max: '1', value: '1' });
  const said = element('output', { htmlFor: 'token' } as object);
  const words = element('input', { type: 'text', placeholder: 'and then he' });
  const file = element('input', { type: 'file', accept: '.safetensors' });
  const error = element('p', { className: 'error', attributes: { role: 'alert' } });
  const button = (textContent: string, work: () => void, className = '') => {
    const made = element('button', { type: 'button', textContent, className });
    made.addEventListener('click', work);
    return made;
  };
  box.append(
    element(
      'div',
      { className: 'panel story' },
      tree,
      textBox,
      element('label', { className: 'token' }, element('span', {}, 'at ', said), slider),
      element(
        'div',
        { className: 'controls' },
        element('label', {}, 'words to put in there (none needed)', words),
        button('Fork here', () => on.fork(slider.valueAsNumber, takeWords()), 'primary'),
        button('Go on at the end', () => on.goOn(takeWords())),
      ),
      element(
        'div',
        { className: 'controls' },
        button('Save the state here', () => on.save(slider.valueAsNumber)),
        element('label', {}, 'open a saved state', file),
      ),
      error,
    ),
  );
  const text = tokenText(textBox);
  let shown: Branch | undefined;

  const takeWords = () => {
    const { value } = words;
    words.value = '';
    return value;
  };
  const point = () => {
    if (!shown) return;
    const index = slider.valueAsNumber - shown.start - 1;
    textBox.querySelector('.chosen')?.classList.remove('chosen');
    text.at(index)?.classList.add('chosen');
    const token = shown.tokens[index];
    said.textContent = `token ${slider.value} of ${slider.max}${token ? `: ${quoted(token.text)}` : ''}`;
    slider.setAttribute('aria-valuetext', said.textContent);
  };
  slider.addEventListener('input', point);
  textBox.addEventListener('click', ({ target }) => {
    const index = text.indexOf(target);
    if (shown && index !== undefined) on.select(shown, shown.start + index + 1);
  });
  file.addEventListener('change', () => {
    if (file.files?.[0]) on.open(file.files[0]);
    file.value = '';
  });
  const isAtEnd = () => slider.value === slider.max;
  const follow = onceAFrame(() => {
    const stays = isAtEnd();
    text.flush();
    slider.max = `${lengthOf(shown!)}`;
    if (stays) slider.value = slider.max;
    point();
  });

  return {
    show(branches: readonly Branch[], branch: Branch, length: number) {
      if (shown !== branch || textBox.children.length > branch.tokens.length) text.show(branch.tokens);
      else text.flush();
      shown = branch;
      for (const [i, span] of [...textBox.children].entries())
        span.classList.toggle('shared', branch.start + i < branch.from);
      slider.min = `${Math.max(1, branch.start)}`;
      slider.max = `${lengthOf(branch)}`;
      slider.value = `${length}`;
      const hadFocus = tree.contains(document.activeElement);
      tree.replaceChildren(listOf(branches, undefined, branch, on.select));
      if (hadFocus) tree.querySelector<HTMLElement>('[aria-current]')?.focus();
      point();
    },
    /** The shown branch has grown. */
    grow: follow,
    setBusy(busy: boolean) {
      textBox.ariaBusy = `${busy}`;
    },
    isAtEnd,
    length: () => slider.valueAsNumber,
    tell(sentence: string) {
      error.textContent = sentence;
    },
    offer(data: Blob, name: string) {
      const url = URL.createObjectURL(data);
      element('a', { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    },
  };
}

function listOf(
  branches: readonly Branch[],
  parent: Branch | undefined,
  shown: Branch,
  select: (branch: Branch) => void,
): HTMLElement {
  const items = branches
    .filter(branch => branch.parent === parent)
    .map(branch => {
      const button = element('button', { type: 'button', textContent: titleOf(branch) });
      if (branch === shown) button.setAttribute('aria-current', 'true');
      button.addEventListener('click', () => select(branch));
      return element('li', {}, button, listOf(branches, branch, shown, select));
    });
  return items.length > 0 ? element('ul', {}, ...items) : element('span');
}

function titleOf(branch: Branch): string {
  const { tokens, from, start, parent, recipe, seed, isOpened } = branch;
  const own = tokens
    .slice(from - start, from - start + 8)
    .map(({ text }) => text)
    .join('')
    .trim();
  const where = parent ? `from token ${from}, seed ${seed}` : isOpened ? `${recipe}, from a file` : recipe;
  return `${where}: ${own ? `“${own} …”` : 'no text'} (${lengthOf(branch)})`;
}
