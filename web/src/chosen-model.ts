/** The model that a page is about: the one that its address names, `?model=mamba2-books-15m`, or the first. */
import { byId, element } from './dom.ts';
import { MODELS, type PageModel } from './model.ts';
import { SITE } from './site.ts';

const asked = new URLSearchParams(location.search).get('model') ?? '';
const [first] = Object.keys(MODELS);
const name = Object.hasOwn(MODELS, asked) ? asked : first;

export const MODEL: PageModel = MODELS[name];
export const MODEL_URL = new URL(MODEL.folder, SITE);

/** Links to this page with each of the models, and of its texts those that are about this one. */
export function offerModels(): void {
  const links = Object.entries(MODELS).map(([each, { about }]) => {
    const link = element('a', { textContent: each });
    link.href = each === first ? location.pathname : `?model=${each}`;
    if (each === name) link.setAttribute('aria-current', 'page');
    return element('li', {}, link, ` ${about}`);
  });
  byId('models').replaceChildren(...links);
  for (const part of document.querySelectorAll<HTMLElement>('[data-model-type]'))
    part.hidden = part.dataset.modelType !== MODEL.modelType;
}
