/** `quamba chat` on a toy model, through pipes: messages in, answers out. */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { conversation, lineReader } from '../../src/cli/conversation.ts';
import type { ChatMessage } from '../../src/open/chat.ts';
import { load } from '../../src/open/node.ts';
import { answer, bin, type Ended, envOf, quamba, workFolder } from './run.ts';
import { json, toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const inHere = (name: string) => join(here, name);
const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{{ m.role + ':' + m.content + '<|endoftext|>' }}{% endfor %}{{ 'assistant:' }}";

beforeAll(() => {
  writeFolder(inHere('plain'), toyFiles({ text: true }));
  writeFolder(inHere('toy'), {
    ...toyFiles({ text: true }),
    'tokenizer_config.json': json({ eos_token: '<|endoftext|>', chat_template: TEMPLATE }),
  });
  writeFileSync(inHere('upper.jinja'), '{% for m in messages %}\n{{ m.content | upper }}{% endfor %}');
  writeFileSync(inHere('wrong.jinja'), '\n\n{{ raise_exception("no") }}');
});

/** What `quamba chat` does with this on its standard input; `meanwhile` sees it run. */
const chat = (
  args: string,
  input: string,
  meanwhile?: (child: ReturnType<typeof spawn>, stdout: string) => void,
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, 'chat', ...args.split(' ')], { cwd: here, env: envOf(here) });
    const seen = { stdout: '', stderr: '' };
    child.stdout.on('data', chunk => {
      seen.stdout += chunk;
      meanwhile?.(child, seen.stdout);
    });
    child.stderr.on('data', chunk => {
      seen.stderr += chunk;
    });
    child.on('error', reject).on('close', code => resolve({ code: code!, ...seen }));
    if (meanwhile) child.stdin.write(input);
    else child.stdin.end(input);
  });
const TOY = '--model toy --recipe fp32 --max-tokens 6 --temperature 2 --seed 5';

interface Said {
  readonly content: string;
  readonly tokens: number[];
  readonly finishReason: string;
  readonly logitsHash: string;
  readonly answerHash: string;
  readonly promptTokens: number;
  readonly keptTokens: number;
}
const objects = ({ stdout }: Ended): Said[] =>
  stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line));
const user = (content: string): ChatMessage => ({ role: 'user', content });

describe('--json', () => {
  it('answers each line as the library does, from the states of the lines before', async () => {
    const lines = ['"ab"', '', '{"role":"user","content":"c"}', '{"role":"assistant","content":"d"}', '"é"'];
    const ended = await chat(`${TOY} --json --system S`, lines.join('\n'));
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const said = objects(ended);
    expect(said).toHaveLength(3);
    const model = await load(inHere('toy'), { recipe: 'fp32' });
    const messages: ChatMessage[] = [{ role: 'system', content: 'S' }];
    for (const [
      i,
      { content, tokens, finishReason, logitsHash, promptTokens, keptTokens },
    ] of said.entries()) {
      messages.push(user(['ab', 'c', 'é'][i]));
      if (i === 2) messages.splice(-1, 0, { role: 'assistant', content: 'd' });
      const pieces = model.chat(messages, { maxTokens: 6, temperature: 2, seed: 5, hashLogits: true });
      let next = await pieces.next();
      while (!next.done) next = await pieces.next();
      const own = next.value;
      expect({ content, tokens, finishReason, logitsHash, promptTokens, keptTokens }).toEqual({
        ...{ content: own.text, tokens: [...own.tokens], finishReason: own.finishReason },
        ...{ logitsHash: own.logitsHash, promptTokens: own.promptTokens.length, keptTokens: own.keptTokens },
      });
      expect(keptTokens > 0).toBe(i > 0);
      const ids = ['--tokens', [...own.promptTokens].join(',')];
      const whole = await answer<Said>(here, 'generate', ...TOY.split(' '), ...ids);
      expect([whole.tokens, whole.logitsHash, whole.answerHash]).toEqual([
        tokens,
        logitsHash,
        own.answerHash,
      ]);
      messages.push({ role: 'assistant', content });
    }
    expect(Object.keys(said[0]).sort()).toEqual(
      'answerHash backend content finishReason keptTokens logitsHash model promptTokens recipe seed tokens tokensPerSecond'.split(
        ' ',
      ),
    );
    model.dispose();
  });

  it('answers an array of messages once, on one line or on several', async () => {
    const messages = [{ role: 'system', content: 'S' }, user('ab')];
    const [once, ...none] = objects(await chat(`${TOY} --json`, JSON.stringify(messages)));
    expect(none).toEqual([]);
    const [spread] = objects(await chat(`${TOY} --json`, `\n${JSON.stringify(messages, undefined, 2)}\n`));
    const [lines] = objects(await chat(`${TOY} --json --system S`, '"ab"'));
    for (const other of [spread, lines])
      expect([other.tokens, other.logitsHash]).toEqual([once.tokens, once.logitsHash]);
  });

  it('answers a line before the next is there', async () => {
    let lines = 0;
    const ended = await chat(`${TOY} --json`, '"ab"\n', (child, stdout) => {
      if (stdout.split('\n').length - 1 === lines) return;
      if (++lines === 1) child.stdin!.write('"c"\n');
      else child.stdin!.end();
    });
    expect(objects(ended)).toHaveLength(2);
  });

  it.each<[number, string, string]>([
    [2, '', 'standard input: expected messages; got nothing'],
    [2, '"a', 'standard input, line 1: expected JSON; '],
    [2, '{"content":"a"}', 'standard input, line 1.role expected a string; got nothing'],
    [2, '["a"]', "standard input[0], such as { role: 'user', content: 'Hi' } expected an object; got \"a\""],
    [1, '{"role":"tool","content":"a"}', 'toy/tokenizer_config.json: chat_template, line 1: no tools'],
  ])('ends with %i for %j', async (code, input, sentence) => {
    const ended = await chat(`${TOY} --json`, input);
    expect({ ...ended, stderr: ended.stderr.slice(0, 8 + sentence.length) }).toEqual({
      ...{ code, stdout: '', stderr: `quamba: ${sentence}` },
    });
  });
});

describe('in words', () => {
  it('answers each message, and does what the commands say', async () => {
    const typed = [
      'ab',
      '/save one.json',
      '"""',
      '/no command',
      '',
      'c"""',
      'd\\',
      'e',
      '/save two.json',
      '/undo',
      '/undo',
      '/save three.json',
    ];
    const ended = await chat(`${TOY} --system S`, typed.join('\n'));
    expect(ended.code, ended.stderr).toBe(0);
    const saved = (name: string): ChatMessage[] => JSON.parse(readFileSync(inHere(`${name}.json`), 'utf8'));
    const [, , ...rest] = saved('two');
    expect(saved('one').slice(0, 2)).toEqual([{ role: 'system', content: 'S' }, user('ab')]);
    expect(saved('two').filter(({ role }) => role === 'user')).toEqual([
      user('ab'),
      user('/no command\n\nc'),
      user('d\ne'),
    ]);
    const answers = rest.filter(({ role }) => role === 'assistant').map(({ content }) => content);
    expect(ended.stdout).toBe(answers.map(text => `${text}\n`).join(''));
    expect(saved('three')).toEqual(saved('one'));
    const again = await chat(TOY, `/load one.json\n"""/no command\n\nc"""`);
    expect(again.stdout).toBe(`${answers[1]}\n`);
    const [{ content }] = objects(await chat(`${TOY} --json`, JSON.stringify(saved('two').slice(0, 4))));
    expect(content).toBe(answers[1]);
  });

  it('Ctrl-C stops an answer, and what was written stays', async () => {
    let isStopped = false;
    const endless = '--model toy --recipe fp32 --max-tokens 1000000000 --temperature 0';
    const ended = await chat(endless, 'ab\n', (child, stdout) => {
      if (isStopped || stdout.length < 20) return;
      isStopped = true;
      child.kill('SIGINT');
      child.stdin!.end('/save stopped.json\n');
    });
    expect(ended).toMatchObject({ code: 0, stderr: 'stopped.json: 2 messages\n' });
    const [, { content }] = JSON.parse(readFileSync(inHere('stopped.json'), 'utf8'));
    expect(ended.stdout).toBe(`${content}\n`);
  });

  it('takes a template of the user', async () => {
    const { stdout } = await chat(`${TOY.replace('toy', 'plain')} --template upper.jinja`, 'ab');
    const { text } = await answer<{ text: string }>(here, 'generate', ...TOY.split(' '), '--prompt', 'AB');
    expect(stdout).toBe(`${text}\n`);
  });

  it.each<[number, string, string]>([
    [1, '--model plain --recipe fp32', 'plain: has no chat template (chat_template.jinja, or '],
    [1, `${TOY} --template wrong.jinja`, 'chat: template, line 3: no'],
    [2, `${TOY} --template missing`, 'missing: no such file or folder'],
    [2, '--temperature 0 --top-k 5', 'chat: --top-k changes nothing with --temperature 0'],
  ])('ends with %i for %s', async (code, args, sentence) => {
    const ended = await chat(args, 'a\n');
    expect({ ...ended, stderr: ended.stderr.slice(0, 8 + sentence.length) }).toEqual({
      ...{ code, stdout: '', stderr: `quamba: ${sentence}` },
    });
  });

  it('is in the help', async () => {
    expect((await quamba(here, '--help')).stdout).toMatch(/^ {2}chat /m);
  });
});

describe('a conversation', () => {
  const talk = (system?: string) => {
    const made = conversation(system);
    const say = (text: string) => {
      made.add('user', text);
      made.add('assistant', text.toUpperCase());
    };
    return { made, say, texts: () => made.messages.map(({ content }) => content).join(' ') };
  };

  it('has forks that go on independently', async () => {
    const { made, say, texts } = talk('s');
    say('a');
    expect(await made.command('/fork other')).toEqual(['  main: 3 messages', '* other: 3 messages']);
    say('b');
    expect([made.name, texts()]).toEqual(['other', 's a A b B']);
    await made.command('/go main');
    expect([made.name, texts()]).toEqual(['main', 's a A']);
    say('c');
    await made.command('/undo');
    await made.command('/undo');
    await made.command('/undo');
    expect(texts()).toBe('s');
    await made.command('/go other');
    await made.command('/system t u');
    expect(texts()).toBe('t u a A b B');
    await made.command('/reset');
    expect(texts()).toBe('t u');
    await made.command('/system');
    expect(texts()).toBe('');
    expect((await made.command('/help')).join('\n')).toMatch(/^\/fork NAME /m);
  });

  it.each([
    [
      '/sav x',
      '/sav: there is no such command (did you mean save?); /help lists them, and """ begins a message with any text',
    ],
    ['/constructor', '/constructor: there is no such command; '],
    ['/', '/: there is no such command; '],
    ['/save', '/save: expected FILE'],
    ['/undo 2', '/undo: expected nothing after it; got 2'],
    ['/fork main', '/fork: main is there already; /go main goes there'],
    ['/go x', '/go: expected main; got x'],
    ['/load missing/x', 'missing/x: no such file or folder'],
  ])('refuses %s', async (line, sentence) => {
    await expect(conversation().command(line)).rejects.toThrow(sentence);
  });

  it('takes any text between two """, and lines as they are', () => {
    const line = fc.string({ unit: fc.constantFrom('a', '"', '\\', ' ', '/'), maxLength: 5 });
    const inBlock = line.filter(text => !text.endsWith('"""'));
    fc.assert(
      fc.property(fc.array(inBlock, { minLength: 1, maxLength: 4 }), fc.boolean(), (lines, isTight) => {
        fc.pre(!isTight || (lines[0] !== '' && lines.at(-1) !== '' && !/"$/.test(lines.at(-1)!)));
        const reader = lineReader();
        const all = isTight
          ? [...lines.slice(0, -1), `${lines.at(-1)}"""`].map((text, i) => (i === 0 ? `"""${text}` : text))
          : ['"""', ...lines, '"""'];
        const said = all.map(reader.push);
        expect(said.pop()).toEqual({ text: lines.join('\n'), isPlain: false });
        expect(said.filter(Boolean)).toEqual([]);
        expect(reader.isOpen).toBe(false);
      }),
    );
    fc.assert(
      fc.property(
        fc.array(
          line.filter(text => !text.startsWith('"""') && !text.endsWith('\\')),
          { minLength: 1, maxLength: 3 },
        ),
        lines => {
          const reader = lineReader();
          const said = lines.map((text, i) => reader.push(i < lines.length - 1 ? `${text}\\` : text));
          expect(said.at(-1)).toEqual({ text: lines.join('\n'), isPlain: lines.length === 1 });
          reader.push('begun\\');
          expect([reader.isOpen, reader.end(), reader.isOpen]).toEqual([true, 'begun', false]);
        },
      ),
    );
  });
});
