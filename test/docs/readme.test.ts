/** What README.md says runs as it stands there: its code, its commands, its links, its table. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { recipes } from '../../src/quant/recipes.ts';
import { quamba, workFolder } from '../cli/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const here = workFolder();

const blocks = [...readme.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
  language,
  text,
}));

describe('code', () => {
  const programs = blocks.filter(({ language, text }) => language === 'js' && /from 'quamba'/.test(text));
  it('is there', () => expect(programs.length).toBeGreaterThan(0));

  it.each(programs.map(({ text }, i) => [i + 1, text] as const))('block %i runs', async (i, text) => {
    const library = pathToFileURL(join(root, 'dist/index.js')).href;
    const program = join(here, `block-${i}.mjs`);
    // fewer tokens, so that it takes a second
    writeFileSync(
      program,
      text.replace(/'quamba'/, `'${library}'`).replace(/maxTokens: \d+/g, 'maxTokens: 2'),
    );
    const { stdout } = await promisify(execFile)(process.execPath, [program], { cwd: here });
    expect(stdout).not.toBe('');
  });
});

describe('commands', () => {
  const lines = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.split('\n'))
    .filter(line => line.startsWith('npx quamba '))
    .map(line => line.replace(/\s+#.*$/, '').replace('npx quamba ', ''));
  /** What fetches a model, needs one that the reader would have to fetch first, or does not end by itself. */
  const isLeft = (line: string) => /^(?:pull|serve)\b|--model (?!models\/)/.test(line);
  const runnable = lines.filter(line => !isLeft(line));

  it('are there', () => {
    expect(runnable.length).toBeGreaterThan(2);
    for (const command of ['generate', 'inspect', 'quantize', 'eval'])
      expect(lines.some(line => line.startsWith(command))).toBe(true);
  });

  it.each(runnable)('%s', async line => {
    const args = (line.match(/"[^"]*"|\S+/g) ?? []).map(arg => arg.replaceAll('"', ''));
    // later options win: the same command, a second long
    if (args[0] === 'generate') args.push('--max-tokens', '2');
    if (args[0] === 'eval') args.push('--window', '8', '--limit', '8', '--rounds', '0');
    if (args[0] === 'bench') args.push('--rounds', '1', '--generate', '2');
    const { code, stdout, stderr } = await quamba(here, ...args);
    expect({ code, stderr: code ? stderr : '' }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toBe('');
  });

  it.each(lines.filter(isLeft))('%s: its options exist', async line => {
    const [command, ...args] = line.split(' ');
    const { stdout } = await quamba(here, command, '--help');
    for (const option of args.filter(arg => arg.startsWith('--'))) expect(stdout).toContain(`${option} `);
  });
});

it('its table of recipes has rows of the table, and docs/recipes.md has all of them', () => {
  const rowsOf = (text: string, section: RegExp) =>
    [...(section.exec(text)?.[1] ?? '').matchAll(/^\| *`?([a-z][\w-]*)`? *\|/gm)]
      .map(([, name]) => name)
      .filter(name => name !== 'recipe');
  const few = rowsOf(readme, /^## Recipes\n([\s\S]*?)^## /m);
  expect(few).toHaveLength(5);
  expect(Object.keys(recipes)).toEqual(expect.arrayContaining(few));
  const page = readFileSync(join(root, 'docs/recipes.md'), 'utf8');
  expect(rowsOf(page, /^# Recipes\n([\s\S]*?)^## /m)).toEqual(Object.keys(recipes));
});
