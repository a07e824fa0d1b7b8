/** What docs/chat.md says runs as it stands there. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { bin, workFolder } from '../cli/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs/chat.md'), 'utf8');
const blocks = (language: string) =>
  [...page.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].flatMap(([, of, text]) => (of === language ? text : []));
const here = workFolder();

it('its program runs', async () => {
  const [text, ...more] = blocks('js');
  expect(more).toEqual([]);
  const program = join(here, 'chat.mjs');
  writeFileSync(program, text.replace("'quamba'", `'${pathToFileURL(join(root, 'dist/index.js')).href}'`));
  const { stdout } = await promisify(execFile)(process.execPath, [program], { cwd: root });
  const read = [...stdout.matchAll(/(\d+) of (\d+) tokens read/g)].map(([, fed, all]) => [
    Number(fed),
    Number(all),
  ]);
  expect(read).toHaveLength(2);
  expect(read[0][0]).toBe(read[0][1]);
  expect(read[1][0]).toBeLessThan(read[1][1] - read[0][1]);
});

const lines = blocks('sh')
  .flatMap(text => text.split('\n'))
  .filter(line => line.includes('|'));
it.each(lines)('%s', async line => {
  const command = line.replace('npx quamba', `"${process.execPath}" "${bin}"`);
  const { stdout } = await promisify(execFile)('sh', ['-c', command], { cwd: root });
  for (const answer of stdout.trim().split('\n'))
    expect(JSON.parse(answer)).toMatchObject({ finishReason: expect.stringMatching(/^(?:stop|length)$/) });
});
it('has commands', () => expect(lines).toHaveLength(2));
