/** The example of docs/other-models.md runs as it stands there, and says the same in one piece as it does as it comes. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { workFolder } from '../cli/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/other-models.md'), 'utf8');

it('runs', async () => {
  const [, text] = /^```js\n([\s\S]*?)^```$/m.exec(page)!;
  const here = workFolder();
  const program = join(here, 'spotter.mjs');
  writeFileSync(program, text.replace(/'quamba'/, `'${pathToFileURL(join(root, 'dist/index.js')).href}'`));
  const { stdout } = await promisify(execFile)(process.execPath, [program], { cwd: here });
  const [whole, cut] = [...stdout.matchAll(/Float32Array\(4\) \[([^\]]*)\]/g)].map(([, values]) => values);
  expect(whole.split(',').map(Number).every(Number.isFinite)).toBe(true);
  expect(cut).toBe(whole);
  expect(stdout).toContain('in float [ 100, 4 ]');
});
