/**
 * Pages: where the states that grow are. A page holds as many tokens of all of them, for one text. A place has the addresses of its
 * pages, in the order of the text, in a table behind its other states. A fork has the same pages, and whoever goes on in a page that
 * others have too gets one of its own first.
 */
import { PAGE_TOKENS } from './sync.ts';

export interface Pages {
  /** The addresses of a place's pages. */
  of(place: number): readonly number[];
  /** Pages for the tokens from `position` up to `end`, that no other place has. */
  reserve(place: number, position: number, end: number): void;
  /** `to` has the pages of `from` too. It had none. */
  share(from: number, to: number): void;
  /** The place has none any more. */
  release(place: number): void;
}

/**
 * @param bytes of a page: 0 where no state grows, and then there are none.
 * @param allot gives a new page.
 * @param copy copies a page to another.
 * @param write writes the table of a place.
 */
export function createPages(
  bytes: number,
  allot: () => number,
  copy: (from: number, to: number) => void,
  write: (place: number, pages: readonly number[]) => void,
): Pages {
  const free: number[] = [];
  const tables = new Map<number, number[]>();
  /** How many places have a page. */
  const holders = new Map<number, number>();
  const hold = (page: number, more: number): void => {
    const count = (holders.get(page) ?? 0) + more;
    holders.set(page, count);
    if (count === 0) free.push(page);
  };
  const take = (): number => {
    const page = free.pop() ?? allot();
    holders.set(page, 1);
    return page;
  };
  return {
    of: place => tables.get(place) ?? [],
    reserve(place, position, end) {
      if (bytes === 0) return;
      const pages = tables.get(place) ?? [];
      tables.set(place, pages);
      for (let i = Math.floor(position / PAGE_TOKENS); i * PAGE_TOKENS < end; i++) {
        const page = pages[i];
        if (page !== undefined && holders.get(page) === 1) continue;
        pages[i] = take();
        if (page === undefined) continue;
        copy(page, pages[i]);
        hold(page, -1);
      }
      write(place, pages);
    },
    share(from, to) {
      const pages = [...(tables.get(from) ?? [])];
      for (const page of pages) hold(page, 1);
      tables.set(to, pages);
    },
    release(place) {
      for (const page of tables.get(place) ?? []) hold(page, -1);
      tables.delete(place);
    },
  };
}
