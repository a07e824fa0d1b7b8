// What the pages fetch: the files of the models of web/models.json, from models/ to web/public, and the lessons' samples.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

const isServed = name => /\.json$/.test(name) || /^(?:model|plan\..+|stats\..+)\.safetensors$/.test(name);
const time = path => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

for (const [name, { folder }] of Object.entries(JSON.parse(readFileSync('web/models.json', 'utf8')))) {
  const [from, to] = [`models/${name}`, `web/public/${folder}`];
  mkdirSync(to, { recursive: true });
  for (const file of readdirSync(from).filter(isServed))
    if (time(join(to, file)) < time(join(from, file))) copyFileSync(join(from, file), join(to, file));
}

await import('./web-samples.mjs');
