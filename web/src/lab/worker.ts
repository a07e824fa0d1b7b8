/** The lab's worker: everything that takes longer than a frame. */
import * as comlink from 'comlink';
import type { Lab } from './protocol.ts';
import { Specimen } from './specimen.ts';
import { clippingView, layerErrors, rotationView, siteView, statesView } from './views.ts';

let specimen: Specimen | undefined;
const opened = (): Specimen => {
  if (!specimen) throw new Error('The model is not open yet.');
  return specimen;
};

const lab: Lab = {
  async open(url, onProgress) {
    specimen = await Specimen.fetch(url, onProgress);
    return { layers: specimen.config.layers };
  },
  read: text => opened().read(text),
  site: (recipe, layer, site) => siteView(opened(), recipe, layer, site),
  clipping: layer => clippingView(opened(), layer, ['naive-static', 'quamba']),
  rotation: layer => {
    const view = rotationView(opened(), layer);
    // what was seen is kept: only the rotated values are given away
    return comlink.transfer(view, [view.after.values.buffer as ArrayBuffer]);
  },
  layers: recipe => layerErrors(opened(), recipe),
  states: layer => {
    const view = statesView(opened(), layer);
    return comlink.transfer(view, [view.conv.buffer as ArrayBuffer, view.ssm.buffer as ArrayBuffer]);
  },
};

comlink.expose(lab);
