/** What docs/eval.md says works: its scripts for clusters run, with two shards for many, and their parts join; its options exist. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, expect, it } from 'vitest';
import { taskNames } from '../../src/eval/tasks.ts';
import { answer, bin, printed, workFolder } from '../cli/run.ts';
import { toyFiles, writeFolder } from '../cli/toy.ts';
import { readGolden } from '../golden/files.ts';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));
const page = readFileSync(join(docs, 'eval.md'), 'utf8');
const here = workFolder();

beforeAll(() => {
  writeFolder(join(here, 'mamba-130m-hf'), toyFiles({ text: true }));
  writeFileSync(join(here, 'wiki.test.raw'), 'It was a dark night. '.repeat(250));
  const { items } = readGolden('evaluation/mamba-books-15m').attrs as unknown as { items: object };
  const files = Object.entries(items).map(([task, list]) => [
    `${task}.json`,
    Buffer.from(JSON.stringify(list)),
  ]);
  writeFolder(join(here, 'tasks'), Object.fromEntries(files));
});

const asked = ['--model', 'mamba-130m-hf', '--text', 'wiki.test.raw', '--task', 'all', '--data', 'tasks'];

/** Runs a script of the page in bash, where quamba is the built program, with recipes that need no calibration. */
async function run(script: string, environment: Record<string, string>): Promise<void> {
  const quamba = `quamba() { '${process.execPath}' '${bin}' "$@"; }; npx() { "$@"; }\n`;
  const quick = script.replaceAll('fp32,quamba', 'fp32').replaceAll('--threads', '--rounds 0 --threads');
  await promisify(execFile)('bash', ['-ec', quamba + quick], {
    cwd: here,
    env: { ...process.env, ...environment },
  });
}

it('the Slurm array and the Kubernetes Job measure shards that join to the whole', async () => {
  const whole = await printed(here, 'eval', ...asked, '--recipe', 'fp32', '--rounds', '0', '--json');
  const slurm = /^#!\/bin\/bash\n[^`]*/m.exec(page)![0];
  for (const id of ['0', '1'])
    await run(slurm, {
      SLURM_ARRAY_TASK_ID: id,
      SLURM_ARRAY_TASK_COUNT: '2',
      SLURM_CPUS_PER_TASK: '1',
    });
  expect(await printed(here, 'eval', 'merge', 'part-0.json', 'part-1.json', '--json')).toBe(whole);

  const job = /- >-\n([\s\S]*?)\n +resources:/.exec(page)![1].replaceAll(/\s+/g, ' ').replace('/16', '/2');
  expect(Number(/completions: (\d+)/.exec(page)![1])).toBe(16);
  const inPod = job.replaceAll('part-', 'pod-');
  for (const index of ['0', '1']) await run(inPod, { JOB_COMPLETION_INDEX: index });
  expect(await printed(here, 'eval', 'merge', 'pod-0.json', 'pod-1.json', '--json')).toBe(whole);
});

it('every task is in its table, every option in the help', async () => {
  for (const task of taskNames) expect(page).toContain(`| \`${task}\` |`);
  const help = await printed(here, 'eval', '--help');
  const options = new Set(page.match(/(?<=[\s`])--[a-z]+(?![\w-])/g));
  for (const other of [
    '--job',
    '--array',
    '--cpus',
    '--mem',
    '--time',
    '--parsable',
    '--dependency',
    '--wrap',
    '--sshlogin',
  ])
    options.delete(other);
  expect(options.size).toBeGreaterThan(8);
  for (const option of options) expect(help).toContain(`${option} `);
});

it('--json has the keys that the page lists', async () => {
  const few = [...asked, '--recipe', 'fp32', '--rounds', '1', '--window', '64', '--limit', '64'];
  const { results, ...about } = await answer<{ results: Record<string, unknown>[] }>(here, 'eval', ...few);
  const tasks = Object.values(results[0].tasks as object).flatMap(task => Object.keys(task));
  for (const key of [...Object.keys(about), ...Object.keys(results[0]), ...tasks, 'acc', 'stderr'])
    expect(page).toContain(`"${key}"`);
});
