/** Figures take turns: near ones one a frame, the others when the page is idle, all before it is printed. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';

let frames: (() => void)[];
let idles: (() => void)[];
let listeners: Record<string, () => void>;
let see: (seen: readonly (readonly [Element, boolean])[]) => void;
let drawn: string[];
let inTurn: (figure: Element, work: () => void) => void;

beforeEach(async () => {
  frames = [];
  idles = [];
  listeners = {};
  drawn = [];
  vi.stubGlobal('requestAnimationFrame', (work: () => void) => frames.push(work));
  vi.stubGlobal('requestIdleCallback', (work: () => void) => idles.push(work));
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('addEventListener', (name: string, work: () => void) => {
    listeners[name] = work;
  });
  vi.stubGlobal(
    'IntersectionObserver',
    class {
      constructor(note: (entries: readonly Partial<IntersectionObserverEntry>[]) => void) {
        see = seen => note(seen.map(([target, isIntersecting]) => ({ target, isIntersecting })));
      }
      observe() {}
    },
  );
  vi.resetModules();
  ({ inTurn } = await import('../../web/src/turns.ts'));
});
afterEach(() => vi.unstubAllGlobals());

const figure = () => ({}) as Element;
const figures = { a: figure(), b: figure(), c: figure() };
const ask = (name: keyof typeof figures, says: string = name) =>
  inTurn(figures[name], () => drawn.push(says));
/** What was asked for so far, and nothing that comes of it. */
const run = (asked: (() => void)[]) => {
  for (const work of asked.splice(0)) work();
};

it('draws those near the viewport one a frame, whichever came first', () => {
  for (const name of ['a', 'b', 'c'] as const) ask(name);
  run(frames); // nothing is known to be near
  see([
    [figures.a, false],
    [figures.b, true],
    [figures.c, true],
  ]);
  run(frames);
  expect(drawn).toEqual(['b']);
  run(frames);
  expect(drawn).toEqual(['b', 'c']);
  run(frames);
  expect(drawn).toEqual(['b', 'c']);
  run(idles);
  expect(drawn).toEqual(['b', 'c', 'a']);
});

it('draws the others one at a time', () => {
  for (const name of ['a', 'b', 'c'] as const) ask(name);
  for (let turn = 1; turn <= 3; turn++) {
    run(idles);
    expect(drawn).toHaveLength(turn);
  }
});

it('draws once what was asked for twice, the last time', () => {
  ask('a', 'old');
  ask('a', 'new');
  run(idles);
  run(idles);
  expect(drawn).toEqual(['new']);
});

it('draws all before the page is printed', () => {
  for (const name of ['a', 'b', 'c'] as const) ask(name);
  listeners.beforeprint();
  expect(drawn.sort()).toEqual(['a', 'b', 'c']);
});

it('goes on after a figure that cannot be drawn', () => {
  inTurn(figures.a, () => {
    throw new Error('no');
  });
  ask('b');
  expect(() => run(idles)).toThrow('no');
  run(idles);
  expect(drawn).toEqual(['b']);
});
