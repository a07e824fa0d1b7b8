/** A growing list of tokens, shown as running text. New ones come into the page once a frame. */
import type { Token } from './branch.ts';
import { element, onceAFrame } from './dom.ts';

export interface TokenText {
  /** From now on, these. */
  show(tokens: readonly Token[]): void;
  /** The list has grown. */
  grow(): void;
  /** The span of a token, where it is in the page already. */
  at(index: number): HTMLElement | undefined;
  indexOf(target: EventTarget | null): number | undefined;
}

export function tokenText(box: HTMLElement): TokenText {
  let tokens: readonly Token[] = [];
  const append = () => {
    const spans = tokens.slice(box.children.length).map(({ text }) => element('span', { textContent: text }));
    box.append(...spans);
  };
  return {
    show(list) {
      tokens = list;
      box.replaceChildren();
      append();
    },
    grow: onceAFrame(append),
    at: index => box.children[index] as HTMLElement | undefined,
    indexOf(target) {
      const index = [...box.children].indexOf(target as Element);
      return index < 0 ? undefined : index;
    },
  };
}
