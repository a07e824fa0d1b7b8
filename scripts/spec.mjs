/**
 * Writes docs/spec, the specification, from the built package and the comments of src/ops.
 *
 *   npm run build && node scripts/spec.mjs
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { backends } from '../dist/backends/index.js';
import { goldens } from '../dist/conformance/goldens.js';
import { tolerances } from '../dist/conformance/judge/bounds.js';
import { conformance } from '../dist/conformance/suite.js';
import { planOfToy, toys } from '../dist/conformance/toy.js';
import { blockRoles, blockSites, roles, sites } from '../dist/model/index.js';
import { bind } from '../dist/op.js';
import { factor } from '../dist/ops/hadamard.js';
import { ops } from '../dist/ops/index.js';
import { patterns } from '../dist/plan/fuse.js';
import { recipes } from '../dist/quant/recipes.js';
import { siteAction, weightScheme } from '../dist/quant/scheme.js';
import { opsOf } from '../dist/run.js';
import { specPages } from './spec-pages.mjs';

const library = {
  ...{ ops, bind, factor, recipes, siteAction, weightScheme, sites, blockSites, roles, blockRoles },
  ...{ patterns, backends, goldens: goldens(), conformance, tolerances, toys, planOfToy, opsOf },
};
const root = new URL('..', import.meta.url);
const folder = new URL('docs/spec/', root);
const pages = specPages(library, path => readFileSync(new URL(path, root), 'utf8'));

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
for (const [name, text] of pages) writeFileSync(new URL(name, folder), text);
console.log(`docs/spec: ${pages.size} pages`);
