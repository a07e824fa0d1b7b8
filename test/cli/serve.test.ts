/** `quamba serve` as a process: what it prints, what it outlives, how it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answer, bin, complaint, envOf, workFolder } from './run.ts';

const cwd = workFolder();
let served: ChildProcess;
let address: string;

beforeAll(async () => {
  served = spawn(process.execPath, [bin, 'serve', '--port', '0', '--model', `books=${MODEL}`], {
    ...{ cwd, env: envOf(cwd), stdio: ['ignore', 'pipe', 'inherit'] },
  });
  const [line] = await once(createInterface({ input: served.stdout! }), 'line');
  address = /^books at (http:\/\/127\.0\.0\.1:\d+)$/.exec(line)![1];
});
afterAll(() => void served.kill('SIGKILL'));

const MODEL = new URL('../../models/mamba-books-15m', import.meta.url).pathname;
const complete = (body: object) =>
  fetch(`${address}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'The old man', seed: 7, ...body }),
  });
const hashOf = async (response: Response) => (await response.json()).quamba.answer_sha256[0] as string;

describe('quamba serve', () => {
  it('answers with the hash that quamba generate prints', async () => {
    const how = ['--seed', '7', '--temperature', '1', '--top-p', '1', '--max-tokens', '6'];
    const { answerHash } = await answer<{ answerHash: string }>(
      ...[cwd, 'generate', '--prompt', 'The old man', ...how, '--json'],
    );
    expect(await hashOf(await complete({ max_tokens: 6 }))).toBe(answerHash);
  });

  it.skipIf(process.platform !== 'linux')('goes on when the process of the model is killed', async () => {
    const before = await hashOf(await complete({ max_tokens: 6 }));
    const asked = complete({ max_tokens: 4000 });
    await new Promise(done => setTimeout(done, 200));
    const children = readFileSync(`/proc/${served.pid}/task/${served.pid}/children`, 'utf8');
    process.kill(Number(children.trim()), 'SIGKILL');
    const lost = await asked;
    expect([lost.status, (await lost.json()).error.code]).toEqual([503, 'model_lost']);
    while (!(await fetch(`${address}/health`)).ok) await new Promise(done => setTimeout(done, 100));
    expect(await hashOf(await complete({ max_tokens: 6 }))).toBe(before);
    const metrics = await (await fetch(`${address}/metrics`)).text();
    expect(metrics).toContain('quamba_restarts{model="books"} 1');
  });

  it('ends with 0 after SIGTERM, when the answers that it began are whole', async () => {
    const asked = complete({ max_tokens: 300 });
    await new Promise(done => setTimeout(done, 200));
    const ended = once(served, 'exit');
    served.kill('SIGTERM');
    expect((await (await asked).json()).usage.completion_tokens).toBe(300);
    expect(await ended).toEqual([0, null]);
  });

  it('says what is wrong before anything is loaded', async () => {
    const usage = (...args: string[]) => complaint(2, cwd, 'serve', ...args);
    expect(await usage('--port', '70000')).toContain("expected a port of 0 … 65535; got '70000'");
    expect(await usage('--cache-memory', 'much')).toContain(
      "expected bytes, such as 512MiB or 2GB; got 'much'",
    );
    expect(await usage('--model', MODEL, MODEL)).toContain("got 'mamba-books-15m' twice");
    expect(await complaint(1, cwd, 'serve', '--model', `${cwd}/none`)).toContain('none');
  });
});
