/** The page "Look inside": what the reader chooses, and what follows from it. */
import '../header.ts';
import './inside.css';
import type { FetchProgress, Site } from 'quamba';
import { MODEL, MODEL_URL, offerModels } from '../chosen-model.ts';
import { byId, element, sentenceOf } from '../dom.ts';
import { openLab, type RemoteLab } from '../lab/open.ts';
import { MOST_TOKENS, type Text } from '../lab/protocol.ts';
import { RECIPES, weightBytes } from '../model.ts';
import { megabytes } from '../numbers.ts';
import { latest, settled } from '../pace.ts';
import { drawBlock } from './block.ts';
import { showClipping } from './clipping.ts';
import { layersSection } from './layers.ts';
import { showRotation } from './rotation.ts';
import { type SiteQuestion, showSite } from './site.ts';
import { statesSection } from './states.ts';

const text = byId<HTMLInputElement>('text');
const layer = byId<HTMLInputElement>('layer');
const recipe = byId<HTMLSelectElement>('recipe');
const status = byId('status');
const problem = byId('problem');
let site: Site = 'scanIn';
/** What to do when a choice changes; there is nothing to do before the model is there. */
let changed = { text: () => {}, layer: () => {}, site: () => {} };

const fail = (error: unknown): void => {
  problem.textContent = sentenceOf(error);
};

offerModels();
for (const name of MODEL.recipes)
  recipe.append(element('option', { value: name, textContent: `${name}: ${RECIPES[name]}` }));
const picture = drawBlock(byId('block'), MODEL.modelType, chosen => {
  site = chosen;
  picture.show(recipe.value, site);
  changed.site();
});
picture.show(recipe.value, site);

byId('controls').addEventListener('submit', event => event.preventDefault());
text.addEventListener(
  'input',
  settled(() => changed.text(), 500),
);
layer.addEventListener('input', () => {
  byId('layer-number').textContent = layer.value;
  changed.layer();
});
recipe.addEventListener('change', () => {
  picture.show(recipe.value, site);
  changed.site();
});

function progressOf(): (progress: FetchProgress) => void {
  const bar = byId<HTMLProgressElement>('loading');
  const files = new Map<string, FetchProgress>();
  return progress => {
    files.set(progress.file, progress);
    const all = [...files.values()];
    const sum = (of: (file: FetchProgress) => number) => all.reduce((total, file) => total + of(file), 0);
    const [loaded, total] = [sum(file => file.loaded), sum(file => file.total ?? file.loaded)];
    bar.value = total > 0 ? loaded / total : 0;
  };
}

function connect(lab: RemoteLab): typeof changed {
  let read: Text = { pieces: [], cut: false };
  const states = statesSection(lab);
  const layers = layersSection(lab, fail);
  const showOneSite = latest<SiteQuestion>(asked => showSite(lab, asked), fail);
  const showLayer = latest<number>(async asked => {
    await showClipping(lab, asked);
    await showRotation(lab, asked);
    await states.show(asked, read.pieces);
  }, fail);
  const onSite = () => {
    problem.textContent = '';
    showOneSite({ recipe: recipe.value, layer: Number(layer.value), site });
  };
  const onLayer = () => {
    onSite();
    showLayer(Number(layer.value));
  };
  const onText = latest<string>(async asked => {
    problem.textContent = '';
    read = await lab.read(asked);
    const count = read.pieces.length;
    status.textContent = `${count} ${count === 1 ? 'token' : 'tokens'}${read.cut ? `: the text is cut after ${MOST_TOKENS}` : ''}.`;
    onLayer();
    layers.textChanged();
  }, fail);
  return { text: () => onText(text.value), layer: onLayer, site: onSite };
}

status.textContent = `Fetching the float model, ${megabytes(weightBytes(MODEL, 'fp32'))} MB …`;
try {
  const { lab, layers } = await openLab(MODEL_URL, progressOf());
  layer.max = `${layers - 1}`;
  changed = connect(lab);
  changed.text();
} catch (error) {
  status.textContent = '';
  fail(error);
} finally {
  byId('loading').hidden = true;
}
