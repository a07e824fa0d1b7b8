/** The page: a prompt, a column a recipe, and a story that forks. */
import '../header.ts';
import './playground.css';
import { MODEL, offerModels } from '../chosen-model.ts';
import { byId, element, sentenceOf } from '../dom.ts';
import { RECIPES, weightBytes } from '../model.ts';
import { megabytes } from '../numbers.ts';
import { type Column, newColumn } from './column.ts';
import { listenToForm, readForm, threadsWanted } from './form.ts';
import { newStory } from './story.ts';

const columns: Column[] = [];
const error = byId('error');
const stop = byId<HTMLButtonElement>('stop');

let running = new AbortController();
let queue: Promise<void> = Promise.resolve();
let waiting = 0;

/** One text at a time: the workers would only take cores from each other. */
function afterwards(work: (signal: AbortSignal) => Promise<void>): void {
  if (running.signal.aborted) running = new AbortController();
  const { signal } = running;
  waiting++;
  stop.disabled = false;
  queue = queue.then(async () => {
    try {
      if (!signal.aborted) await work(signal);
    } catch (reason) {
      error.textContent = sentenceOf(reason);
    }
    stop.disabled = --waiting === 0;
  });
}

function instead(work: (signal: AbortSignal) => Promise<void>): void {
  running.abort();
  afterwards(work);
}

const story = newStory(byId('story'), {
  modelOf: recipe => columns.find(column => column.recipe === recipe)?.model,
  models: () => columns.flatMap(({ recipe, model }) => (model ? [{ recipe, model }] : [])),
  options: () => readForm().options,
  instead,
});

const writeAll = (anew: boolean) => async (signal: AbortSignal) => {
  error.textContent = '';
  const request = readForm();
  for (const column of columns) {
    await column.write(request, anew, signal);
    if (signal.aborted) return;
  }
  for (const column of columns) column.compareWith(columns[0]);
};

async function load(column: Column): Promise<void> {
  await column.load(threadsWanted());
  if (column.model) afterwards(writeAll(false));
}

function choose(recipe: string, chosen: boolean): void {
  const at = columns.findIndex(column => column.recipe === recipe);
  if (!chosen) {
    running.abort();
    columns.splice(at, 1)[0].dispose();
    afterwards(writeAll(false));
    return;
  }
  const column = newColumn(recipe, story.show, story.choose);
  columns.push(column);
  columns.sort((a, b) => order(a) - order(b));
  byId('columns').append(...columns.map(({ box }) => box));
  void load(column);
}
const order = ({ recipe }: Column): number => MODEL.recipes.indexOf(recipe);

offerModels();
const [begun] = MODEL.recipes;
for (const recipe of MODEL.recipes) {
  const box = element('input', { type: 'checkbox', checked: recipe === begun });
  box.addEventListener('change', () => choose(recipe, box.checked));
  byId('recipes').append(
    element(
      'label',
      { className: 'check' },
      box,
      element('span', {}, element('code', { textContent: recipe }), ` ${RECIPES[recipe]} `),
      element('span', {
        className: 'quiet size',
        textContent: `${megabytes(weightBytes(MODEL, recipe))} MB`,
      }),
    ),
  );
}
listenToForm({
  write: anew => instead(writeAll(anew)),
  stop: () => running.abort(),
  threads: () => {
    running.abort();
    for (const column of columns) void load(column);
  },
});
choose(begun, true);
