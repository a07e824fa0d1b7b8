// What the pages fetch: the files of the embedded model, from models/ to web/public/model, and the lessons' samples.
import { copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const from = 'models/mamba-books-15m';
const to = 'web/public/model';
const isServed = name => /\.json$/.test(name) || /^(?:model|plan\..+|stats\..+)\.safetensors$/.test(name);

mkdirSync(to, { recursive: true });
const time = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
for (const name of readdirSync(from).filter(isServed))
  if (time(join(to, name)) < time(join(from, name))) copyFileSync(join(from, name), join(to, name));

await import('./web-samples.mjs');
