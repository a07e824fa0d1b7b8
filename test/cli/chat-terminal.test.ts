/** `quamba chat` as someone sees it who sits at a terminal: keys in, among them Ctrl-C; prompts, answers and sentences out. */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it, onTestFinished } from 'vitest';
import type { ChatMessage } from '../../src/open/chat.ts';
import { configs } from '../../src/random/shapes.ts';
import { writeCheckpoint } from '../../src/random/write-checkpoint.ts';
import { bin, envOf, workFolder } from './run.ts';
import { byteTokenizer, json, toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const inHere = (name: string) => join(here, name);
const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{{ m.content + '.' }}{% endfor %}";
/** No token ends an answer. */
const tokenizer = {
  'tokenizer.json': json(byteTokenizer()),
  'tokenizer_config.json': json({ chat_template: TEMPLATE }),
};
const hybrid = {
  ...configs['granite-4.0-h-350m'],
  ...{ num_hidden_layers: 2, hidden_size: 16, vocab_size: 257, layer_types: ['mamba', 'attention'] },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, shared_intermediate_size: 12, eos_token_id: null },
  ...{ mamba_n_heads: 4, mamba_d_head: 8, mamba_d_state: 8 },
};

beforeAll(async () => {
  writeFolder(inHere('toy'), { ...toyFiles({ text: true }), ...tokenizer });
  mkdirSync(inHere('hybrid'));
  await writeCheckpoint(inHere('hybrid'), hybrid, { seed: 1, type: 'f32' });
  writeFolder(inHere('hybrid'), tokenizer);
  writeFileSync(inHere('none.json'), '{"a": 1}');
  writeFileSync(inHere('cut.json'), '[{"role": "user"');
  writeFileSync(inHere('bytes.json'), Uint8Array.of(0, 255, 128));
  writeFileSync(inHere('tool.json'), '[{"role": "tool", "content": "a"}]');
});

/** node takes its pipes for a terminal. */
const AS_TERMINAL =
  'data:text/javascript,for(const s of[process.stdin,process.stdout])Object.defineProperty(s,"isTTY",{value:true})';
const [CTRL_C, CTRL_D, UP] = ['\x03', '\x04', '\x1b[A'];

/** Types each of these when the text before it has been seen since the last; returns all that was shown, and the exit code. */
function typed(args: string, steps: readonly (readonly [seen: string | RegExp, keys: string])[]) {
  const program = ['--import', AS_TERMINAL, bin, 'chat', ...args.split(' ')];
  const child = spawn(process.execPath, program, { cwd: here, env: { ...envOf(here), TERM: 'xterm' } });
  onTestFinished(() => void child.kill());
  return new Promise<{ readonly code: number; readonly shown: string }>((resolve, reject) => {
    let [shown, from, step] = ['', 0, 0];
    const see = (chunk: Buffer) => {
      shown += chunk;
      for (; step < steps.length; step++) {
        const [wanted, keys] = steps[step];
        const rest = shown.slice(from);
        const [found] =
          typeof wanted === 'string' ? (rest.includes(wanted) ? [wanted] : []) : (wanted.exec(rest) ?? []);
        if (found === undefined) return;
        from += rest.indexOf(found) + found.length;
        child.stdin.write(keys);
      }
    };
    child.stdout.on('data', see);
    child.stderr.on('data', see);
    child.on('error', reject).on('close', code => {
      if (step === steps.length) resolve({ code: code!, shown });
      else reject(new Error(`ended with ${code} before ${steps[step][0]}; it showed\n${shown}`));
    });
  });
}
const saved = (name: string): ChatMessage[] => JSON.parse(readFileSync(inHere(name), 'utf8'));
const TOY = '--model toy --recipe fp32 --max-tokens 6 --temperature 2 --seed 5';

it('what goes wrong is told, and the chat goes on as it was', async () => {
  const { code } = await typed(TOY, [
    ['> ', 'ab\r'],
    ['> ', '/save one.json\r'],
    ['one.json: 2 messages', '/sav one.json\r'],
    ['/sav: there is no such command (did you mean save?)', '/load none.json\r'],
    ['none.json expected an array; got an object', '/load cut.json\r'],
    ['cut.json: expected JSON; ', '/load bytes.json\r'],
    ['bytes.json: expected UTF-8 text', '/load missing.json\r'],
    ['missing.json: no such file or folder', '/save missing/one.json\r'],
    ['missing/one.json: no such file or folder', '/fork other\r'],
    ['* other: 2 messages', '/load tool.json\r'],
    ['tool.json: 1 messages', 'c\r'],
    ['toy/tokenizer_config.json: chat_template, line 1: no tools', '/save tools.json\r'],
    ['tools.json: 1 messages', '/reset\r'],
    ['0 messages', '/save empty.json\r'],
    ['/save: there are no messages yet', '/go main\r'],
    ['* main: 2 messages', '/save two.json\r'],
    ['two.json: 2 messages', CTRL_D],
  ]);
  expect(code).toBe(0);
  expect(saved('two.json')).toEqual(saved('one.json'));
  expect(saved('tools.json')).toEqual(saved('tool.json'));
});

it('Ctrl-C stops an answer; drops what is typed, of one line or of several; and leaves where nothing is', async () => {
  const { code, shown } = await typed('--model toy --recipe fp32 --max-tokens 1000000000 --temperature 0', [
    ['> ', 'ab\r'],
    [/ab\r\n[\s\S]{20}/, CTRL_C],
    ['> ', '/save one.json\r'],
    ['2 messages', '"""\r'],
    ['… ', 'in a block\r'],
    ['… ', 'unfinished'],
    ['unfinished', CTRL_C],
    ['> ', 'of one line'],
    ['of one line', CTRL_C],
    ['> ', '/save two.json\r'],
    ['2 messages', `${UP.repeat(4)}\r`], // what was entered before
    ['one.json: 2 messages', CTRL_C],
  ]);
  expect(code).toBe(0);
  expect(saved('two.json')).toEqual(saved('one.json'));
  expect(shown).toContain(`${saved('one.json')[1].content}\n`);
});

it('the end of input ends a message that has begun, and the chat', async () => {
  const { code, shown } = await typed(TOY, [
    ['> ', 'a\\\r'],
    ['… ', CTRL_D],
  ]);
  expect(code).toBe(0);
  expect(shown).toMatch(/… [\s\S]+\n\n$/);
});

it('a full context is told, and the chat kept', async () => {
  const { code } = await typed(
    '--model hybrid --recipe fp32 --context 24 --max-tokens 1000 --temperature 0',
    [
      ['> ', 'ab\r'],
      ['the text has all 24 tokens of its context; ', '/save one.json\r'],
      ['one.json: 2 messages', 'cd\r'],
      ['prompt: up to its end the text has ', ''],
      [' tokens, which leaves no room in the context of 24; ', '/save two.json\r'],
      ['two.json: 2 messages', '/undo\r'],
      ['0 messages', 'cd\r'],
      ['the text has all 24 tokens of its context; ', CTRL_D],
    ],
  );
  expect(code).toBe(0);
  expect(saved('two.json')).toEqual(saved('one.json'));
});

it.each([
  ['--template none.jinja', 'none.jinja: no such file'],
  [`--model hybrid --recipe fp32 --context 2`, 'prompt: up to its end the text has '],
])('what would fail at every message is told before one is typed: %s', async (args, sentence) => {
  const { code, shown } = await typed(args, [[sentence, '']]);
  expect(code).toBeGreaterThan(0);
  expect(shown).not.toContain('> ');
});
