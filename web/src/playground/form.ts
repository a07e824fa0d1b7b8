/** What the form says. */
import type { GenerateOptions } from 'quamba';
import { byId, element } from '../dom.ts';

export interface Request {
  readonly prompt: string;
  readonly options: GenerateOptions;
}

const form = byId<HTMLFormElement>('form');
const prompt = byId<HTMLTextAreaElement>('prompt');
const live = byId<HTMLInputElement>('live');
const threads = byId<HTMLSelectElement>('threads');

/** While keys still come, a text would be begun only to be thrown away. */
const PAUSE = 300;

/** @throws Error for a number that the form does not take. */
export function readForm(): Request {
  const numbers = [...form.querySelectorAll<HTMLInputElement>('input[type=number]')];
  const wrong = numbers.find(input => !input.checkValidity() || input.value === '');
  if (wrong)
    throw new Error(
      `${wrong.labels![0].textContent.trim()}: ${wrong.validationMessage || 'a number is needed here.'}`,
    );
  const options = Object.fromEntries(numbers.map(input => [input.name, input.valueAsNumber]));
  return { prompt: prompt.value, options };
}

export const threadsWanted = (): number => Number(threads.value);

/** @param on.write is called when a text is wanted: by the button (anew, even if it is there), or by a pause in typing. */
export function listenToForm(on: {
  readonly write: (anew: boolean) => void;
  readonly stop: () => void;
  readonly threads: () => void;
}): void {
  let pause = 0;
  form.addEventListener('submit', event => {
    event.preventDefault();
    clearTimeout(pause);
    on.write(true);
  });
  form.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener('input', ({ target }) => {
    clearTimeout(pause);
    const changesText = target === prompt || (target as HTMLInputElement).type === 'number';
    if (live.checked && changesText) pause = window.setTimeout(on.write, PAUSE, false);
  });
  byId('stop').addEventListener('click', on.stop);
  threads.addEventListener('change', on.threads);
  offerThreads();
}

/** A page that is not isolated from other origins has no memory that threads could share. */
function offerThreads(): void {
  const most = crossOriginIsolated ? Math.max(1, navigator.hardwareConcurrency) : 1;
  for (let n = 1; n <= most; n++) threads.append(element('option', { value: `${n}`, textContent: `${n}` }));
  if (most > 1) return;
  threads.disabled = true;
  const why = byId('threads-why');
  why.hidden = false;
  why.textContent = crossOriginIsolated
    ? 'One thread only: this machine says that it has one core.'
    : 'One thread only: the server does not send the two headers that isolate a page from other origins, and without them threads cannot share memory.';
}
