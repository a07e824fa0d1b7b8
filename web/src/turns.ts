/**
 * Figures take turns, so that no frame is long: those near the viewport one a frame, the others one at a time while the page has
 * nothing else to do, and all at once before it is printed.
 */
import { once, onceAFrame } from './pace.ts';

const waiting = new Map<Element, () => void>();
const near = new WeakSet<Element>();

const whenIdle = (work: () => void): void => {
  if ('requestIdleCallback' in window) requestIdleCallback(work, { timeout: 1000 });
  else setTimeout(work, 100); // Safari
};
const askFrame = onceAFrame(() => take(figure => near.has(figure)));
const askIdle = once(whenIdle, () => take(() => true));
let watcher: IntersectionObserver | undefined;

/** Draws the figure when its turn comes; asked for again before that, only the last time. */
export function inTurn(figure: Element, work: () => void): void {
  waiting.set(figure, work);
  watcher ??= watch();
  watcher.observe(figure);
  ask();
}

function ask(): void {
  if (waiting.size === 0) return;
  askFrame();
  askIdle();
}

function take(isWanted: (figure: Element) => boolean): void {
  const figure = [...waiting.keys()].find(isWanted);
  if (!figure) return;
  const work = waiting.get(figure)!;
  waiting.delete(figure);
  ask();
  work();
}

function watch(): IntersectionObserver {
  addEventListener('beforeprint', () => {
    while (waiting.size > 0) take(() => true);
  });
  const note = (entries: readonly IntersectionObserverEntry[]) => {
    for (const { target, isIntersecting } of entries) near[isIntersecting ? 'add' : 'delete'](target);
    ask();
  };
  return new IntersectionObserver(note, { rootMargin: '300px 0px' });
}
