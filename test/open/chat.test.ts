/** `model.chat`: a chat costs its new tokens, and its bits are those of one long prompt. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import type { ChatMessage, ChatOptions } from '../../src/open/chat.ts';
import { type ModelOptions, openModel } from '../../src/open/model.ts';
import type { GenerateOptions } from '../../src/text/generate.ts';
import { byteTokenizer, type Files, json, toyFiles } from '../cli/toy.ts';
import { sentenceFault } from '../sentence.ts';
import { CHATML, LLAMA } from '../text/templates.ts';
import { toy2 } from '../toy.ts';
import { alone, counted, ended } from './writing.ts';

/** A turn ends with the token that ends a text, as Granite's do. */
const TEMPLATE = `{% for m in messages %}
{{- m.role + ':' + m.content + '<|endoftext|>' -}}
{% endfor %}
{{- 'assistant:' }}`;
const about = { eos_token: '<|endoftext|>', bos_token: '<|endoftext|>' };
const files = {
  ...toyFiles({ text: true }),
  'tokenizer_config.json': json({ ...about, chat_template: TEMPLATE }),
};
const open = (more: Files = {}, options: ModelOptions = {}) =>
  openModel(folderOf('m', { ...files, ...more }), { recipe: 'fp32', ...options });

/** Letters and now and then the end: what the tokenizer makes of such a text is what was drawn. */
const letters: GenerateOptions['logitsProcessor'] = logits =>
  logits.map((logit, id) => (id === 256 ? 1 : id >= 97 && id < 123 ? 0.1 * logit : Number.NEGATIVE_INFINITY));

const says = (role: string, content: string): ChatMessage => ({ role, content });

describe('a chat', () => {
  it.each<[string, Files, ModelOptions]>([
    ['Mamba-1', {}, {}],
    ['Mamba-1, quantized, on two threads', {}, { recipe: 'dynamic-rotated', threads: 2 }],
    ['Mamba-2', toyFiles({ of: toy2(), text: true }), {}],
  ])('of 30 turns costs its new tokens, and is one long prompt: %s', async (_, more, options) => {
    const model = await open({ ...more, 'tokenizer_config.json': files['tokenizer_config.json'] }, options);
    const fed = counted(model);
    const messages: ChatMessage[] = [says('system', 'Be brief.')];
    const how = { maxTokens: 5, seed: 3, temperature: 1, repetitionPenalty: 1.3, logitsProcessor: letters };
    const reasons = new Set<string>();
    let before = 0;
    let sum = 0;
    for (let turn = 0; turn < 30; turn++) {
      messages.push(says('user', `turn ${turn}`));
      const {
        pieces: _,
        promptSeconds: __,
        decodeSeconds: ___,
        ...answer
      } = await ended(model.chat(messages, { ...how, hashLogits: true }));
      const cost = fed();
      expect(cost, `turn ${turn}`).toBe(answer.promptTokens.length + answer.tokens.length - before);
      expect(answer.keptTokens).toBe(before);
      reasons.add(answer.finishReason);
      sum += cost;
      before = answer.promptTokens.length + answer.tokens.length;
      messages.push(says('assistant', answer.text));
      if (turn % 7 < 5) continue;
      const { pieces: ____, ...whole } = await alone(model, answer.promptTokens, how);
      expect({ ...whole, keptTokens: answer.keptTokens }).toEqual(answer);
      fed();
    }
    expect(sum).toBe(before); // each token of the whole chat was fed once
    expect([...reasons].sort()).toEqual(['eos', 'length']);
    model.dispose();
  });

  it('with edits, forks, aborts and bytes that are no text has the bits of one long prompt', async () => {
    const model = await open();
    const fed = counted(model);
    const content = fc.string({ unit: fc.constantFrom('a', 'b', 'é', '\n'), maxLength: 3 });
    const step = fc.record({
      back: fc.nat({ max: 3 }),
      content,
      maxTokens: fc.nat({ max: 4 }),
      seed: fc.nat({ max: 2 }),
      hashLogits: fc.boolean(),
      leave: fc.option(fc.nat({ max: 3 })),
      onlyLetters: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async steps => {
        let messages: ChatMessage[] = [];
        for (const { back, content, maxTokens, seed, hashLogits, leave, onlyLetters } of steps) {
          messages = [...messages.slice(0, Math.max(0, messages.length - 2 * back)), says('user', content)];
          const how = { maxTokens, seed, temperature: 2, ...(onlyLetters && { logitsProcessor: letters }) };
          if (leave !== null) {
            let text = '';
            for await (const piece of model.chat(messages, { ...how, hashLogits })) {
              text += piece.text;
              if (text.length >= leave) break;
            }
          }
          fed();
          const {
            promptSeconds: _,
            decodeSeconds: __,
            ...answer
          } = await ended(model.chat(messages, { ...how, hashLogits }));
          expect(fed()).toBe(answer.promptTokens.length + answer.tokens.length - answer.keptTokens);
          if (leave !== null) expect(answer.keptTokens).toBe(answer.promptTokens.length);
          const whole = await alone(model, answer.promptTokens, how);
          const { logitsHash, ...rest } = { ...whole, keptTokens: answer.keptTokens };
          expect(answer).toEqual(hashLogits ? { ...rest, logitsHash } : rest);
          messages.push(says('assistant', answer.text));
        }
      }),
      { numRuns: 40 },
    );
    model.dispose();
  });

  it('goes back to the longest kept text where a turn is edited', async () => {
    const model = await open();
    const how = { maxTokens: 3, logitsProcessor: letters };
    const first = [says('user', 'one')];
    const one = await ended(model.chat(first, how));
    const second = [...first, says('assistant', one.text), says('user', 'two')];
    const two = await ended(model.chat(second, how));
    const edited = await ended(model.chat([...second.slice(0, 2), says('user', 'three')], how));
    // behind the end token that the template writes after the answer
    expect(edited.keptTokens).toBe(one.promptTokens.length + one.tokens.length + 1);
    expect((await ended(model.chat(second, how))).keptTokens).toBe(two.promptTokens.length);
    const other = await ended(model.chat([says('user', 'on')], how));
    expect(other.keptTokens).toBe(0);
    const changed = [...first, says('assistant', '-'), says('user', 'two')];
    expect((await ended(model.chat(changed, how))).keptTokens).toBe(one.promptTokens.length);
    model.dispose();
  });

  it('keeps what was written until it was aborted, or until the reader left', async () => {
    const model = await open();
    for (const [name, leaves] of [
      ['a', false],
      ['b', true],
    ] as const) {
      const abort = new AbortController();
      const how = { logitsProcessor: letters, temperature: 0, signal: abort.signal };
      let text = '';
      for await (const piece of model.chat([says('user', name)], how)) {
        text += piece.text;
        if (piece.position < 20) continue;
        if (leaves) break;
        abort.abort();
      }
      expect(text).toMatch(/^[a-z]{4,}$/);
      const then = [says('user', name), says('assistant', text), says('user', 'c')];
      const next = await ended(model.chat(then, { maxTokens: 1 }));
      expect(next.keptTokens, name).toBe('user:a.assistant:'.length + text.length);
    }
    model.dispose();
  });
});

describe('the prompt', () => {
  const promptOf = async (more: Files, options: ChatOptions = {}, messages = [says('user', 'Hi')]) => {
    const model = await open(more);
    const { promptTokens } = await ended(model.chat(messages, { ...options, maxTokens: 0 }));
    model.dispose();
    return model.tokenizer.decode(promptTokens, { skipSpecial: false });
  };
  const config = (more: object) => ({ 'tokenizer_config.json': json({ ...about, ...more }) });
  const file = (text: string) => ({ 'chat_template.jinja': new TextEncoder().encode(text) });

  it('is made by chat_template.jinja, or else by tokenizer_config.json, or by the template that is given', async () => {
    const listed = [
      { name: 'default', template: 'one' },
      { name: 'tool_use', template: '{{ tools | tojson }}' },
    ];
    expect(await promptOf(config({ chat_template: 'one' }))).toBe('one');
    expect(await promptOf({ ...config({ chat_template: 'one' }), ...file('two') })).toBe('two');
    expect(await promptOf({ ...config({}), ...file('two') }, { template: 'three' })).toBe('three');
    expect(await promptOf(config({ chat_template: listed }))).toBe('one');
    expect(await promptOf(config({ chat_template: listed }), { tools: [{ name: 'f' }] })).toBe(
      '[{"name": "f"}]',
    );
    expect(await promptOf(config({ chat_template: [listed[0]] }), { tools: [] })).toBe('one');
  });

  it('has what the template asks for', async () => {
    const template =
      "{{ bos_token }}{{ eos_token }}{{ pad_token }}|{{ tools is none }}|{{ documents | tojson }}|{{ deep }}|{{ strftime_now('%Y') }}|{{ add_generation_prompt }}|{{ missing }}";
    const tokens = { pad_token: { content: 'P' }, bos_token: 'B' };
    expect(
      await promptOf(
        {
          ...config({ chat_template: template, ...tokens }),
          'special_tokens_map.json': json({ pad_token: 'Q', cls_token: 'C' }),
        },
        { documents: [{ text: 'x' }], variables: { deep: 'yes', now: 1 }, now: new Date(1999, 3) },
      ),
    ).toBe('B<|endoftext|>P|true|[{"text": "x"}]|yes|1999|true|');
  });

  it('begins with the first token of the tokenizer once', async () => {
    const adds = (chat_template: string) => config({ chat_template, add_bos_token: true });
    expect(await promptOf(adds('x'))).toBe('<|endoftext|>x');
    expect(await promptOf(adds('{{ bos_token }}x'))).toBe('<|endoftext|>x');
    expect(await promptOf(config({ chat_template: '{{ bos_token }}x' }))).toBe('<|endoftext|>x');
    expect(await promptOf(config({ chat_template: LLAMA }))).toBe('<|endoftext|>[user]Hi<|endoftext|>');
    expect(await promptOf(config({ chat_template: 'x', add_bos_token: false }))).toBe('x');
  });

  it('is encoded with the special tokens that the template writes', async () => {
    const tokenizer = byteTokenizer();
    const added = [...(tokenizer.added_tokens as object[]), { id: 255, content: 'ÿ', special: true }];
    const spelt = JSON.stringify({ ...tokenizer, added_tokens: added }).replaceAll(
      '<|endoftext|>',
      '<|im_end|>',
    );
    const more = {
      'tokenizer.json': new TextEncoder().encode(spelt),
      'tokenizer_config.json': json({ eos_token: '<|im_end|>' }),
    };
    const model = await open({ ...more, ...file(CHATML) });
    const { promptTokens } = await ended(model.chat([says('user', 'Hi')], { maxTokens: 0 }));
    expect(promptTokens.filter(id => id === 256)).toHaveLength(1);
    const text = '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n';
    expect(promptTokens).toEqual(model.encode(text));
    model.dispose();
  });

  it.each<[string, Files, unknown, unknown, string]>([
    [
      'no template',
      config({}),
      undefined,
      undefined,
      'm: has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so it may be no chat model; the option template, or --template FILE on the command line, gives one',
    ],
    [
      'a template of no form',
      config({ chat_template: 5 }),
      undefined,
      undefined,
      'm/tokenizer_config.json: chat_template expected a string; got 5',
    ],
    [
      'no default',
      config({ chat_template: [{ name: 'rag', template: '' }] }),
      undefined,
      undefined,
      'm/tokenizer_config.json: chat_template: has no template named default',
    ],
    [
      'a file that fails',
      file('\n{{ raise_exception("no") }}'),
      undefined,
      undefined,
      'm/chat_template.jinja, line 2: no',
    ],
    [
      'a field that fails',
      config({ chat_template: '{{ x' }),
      undefined,
      undefined,
      'm/tokenizer_config.json: chat_template, line 1: Unexpected end of input',
    ],
    [
      'a file that is no text',
      { 'chat_template.jinja': Uint8Array.of(255) },
      undefined,
      undefined,
      'm/chat_template.jinja expected UTF-8 text of at most 1000000 bytes; got "other bytes"',
    ],
    ['an option that fails', {}, undefined, { template: '{%' }, 'chat: template, line 1: '],
    ['a text', {}, 'Hi', undefined, 'chat: messages expected an array; got "Hi"'],
    ['no messages', {}, [], undefined, 'chat: messages expected at least one message; got []'],
    [
      'a message that is none',
      {},
      ['Hi'],
      undefined,
      "chat: messages[0], such as { role: 'user', content: 'Hi' } expected an object; got \"Hi\"",
    ],
    [
      'a message of nobody',
      {},
      [{ content: 'Hi' }],
      undefined,
      'chat: messages[0].role expected a string; got nothing',
    ],
    [
      'what is no JSON',
      {},
      [{ role: 'user', content: 1n }],
      undefined,
      'chat: messages[0] expected what JSON can say; got ',
    ],
    ['tools that are none', {}, undefined, { tools: 'f' }, 'chat: tools expected an array; got "f"'],
    ['an option that is none', {}, undefined, { temprature: 1 }, "sampler: no setting 'temprature'"],
  ])('refuses %s', async (_, more, messages = [says('user', 'Hi')], options, says_) => {
    const model = await open(more);
    let message = '';
    try {
      model.chat(messages as ChatMessage[], options as ChatOptions);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message.startsWith(says_), message).toBe(true);
    expect(sentenceFault(message)).toBe('');
    model.dispose();
  });
});
