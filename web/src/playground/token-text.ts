/** A growing list of tokens, shown as running text. New ones come into the page once a frame. */

import { element } from '../dom.ts';
import { onceAFrame } from '../pace.ts';
import type { Token } from './branch.ts';

export interface TokenText {
  /** From now on, these. */
  show(tokens: readonly Token[]): void;
  /** The list has grown. */
  readonly grow: () => void;
  /** Brings into the page now what has come. */
  readonly flush: () => void;
  /** The span of a token, where it is in the page already. */
  at(index: number): HTMLElement | undefined;
  indexOf(target: EventTarget | null): number | undefined;
}

export function tokenText(box: HTMLElement): TokenText {
  let tokens: readonly Token[] = [];
  const flush = () => {
    const rest = tokens.slice(box.children.length);
    box.append(...rest.map(({ text }) => element('span', { textContent: text })));
  };
  return {
    show(list) {
      tokens = list;
      box.replaceChildren();
      flush();
    },
    grow: onceAFrame(flush),
    flush,
    at: index => box.children[index] as HTMLElement | undefined,
    indexOf(target) {
      const index = [...box.children].indexOf(target as Element);
      return index < 0 ? undefined : index;
    },
  };
}
