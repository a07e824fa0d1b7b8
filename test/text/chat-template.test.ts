/** Templates in the forms of published models; every failure says its line; what a template of a stranger cannot do. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chatTemplate } from '../../src/text/chat-template.ts';
import { sentenceFault } from '../sentence.ts';
import rendered from './rendered.json' with { type: 'json' };
import { CHATML, GRANITE, LLAMA, LLAMA3, MISTRAL, MIXED, QWEN } from './templates.ts';

const published = { CHATML, GRANITE, LLAMA3, MISTRAL, MIXED, QWEN };

const now = new Date(2024, 0, 5, 13, 4, 9);
const render = (source: string, variables: Record<string, unknown> = {}) =>
  chatTemplate(source, 't.jinja')(variables, now);
const failure = (source: string, variables: Record<string, unknown> = {}): string => {
  try {
    return `no failure: ${render(source, variables)}`;
  } catch (error) {
    const { message } = error as Error;
    expect(sentenceFault(message), message).toBe('');
    return message;
  }
};

const system = { role: 'system', content: 'Be brief.' };
const user = { role: 'user', content: 'Hi ' };
const assistant = { role: 'assistant', content: 'Yes?' };
const add_generation_prompt = true;

describe('templates', () => {
  it('in the form of ChatML', () => {
    expect(render(CHATML, { messages: [system, user], add_generation_prompt })).toBe(
      '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n',
    );
    expect(render(CHATML, { messages: [user] })).toBe('<|im_start|>user\nHi<|im_end|>\n');
  });

  it('in the form of Granite, with tools and calls of them', () => {
    const says = (role: string, content: string) => `<|start_of_role|>${role}<|end_of_role|>${content}`;
    const turn = (role: string, content: string) => `${says(role, content)}<|end_of_text|>\n`;
    const tools = [{ type: 'function', function: { name: 'wetter', parameters: { stadt: 'Köln', n: 1.5 } } }];
    const tool_calls = [{ function: { name: 'wetter', arguments: { stadt: 'Köln' } } }];
    const messages = [
      system,
      user,
      { role: 'assistant', content: '', tool_calls },
      { role: 'tool', content: '7' },
    ];
    expect(render(GRANITE, { messages, tools, add_generation_prompt })).toBe(
      turn(
        'system',
        'Be brief.\nTools:\n{"type": "function", "function": {"name": "wetter", "parameters": {"stadt": "Köln", "n": 1.5}}}',
      ) +
        turn('user', 'Hi ') +
        turn('assistant', '<tool_call>\n{"name": "wetter", "arguments": {"stadt": "Köln"}}\n</tool_call>') +
        turn('tool', '7') +
        says('assistant', ''),
    );
    expect(render(GRANITE, { messages: [user], tools: null })).toBe(turn('user', 'Hi '));
  });

  const all = Object.entries(rendered.texts).flatMap(([name, texts]) =>
    Object.entries(texts).map(([of, text]): [string, string, string | { readonly fails: string }] => [
      name,
      of,
      text,
    ]),
  );
  it.each(all)('%s of %s is what Python makes of it', (name, of, text) => {
    const tokens = { bos_token: '<s>', eos_token: '</s>' };
    const given = { tools: null, documents: null, add_generation_prompt: false, ...tokens };
    const made = () =>
      chatTemplate(published[name as keyof typeof published], 't.jinja')(
        { ...given, ...rendered.cases[of as keyof typeof rendered.cases] },
        new Date(2026, 10, 3, 9, 8, 7),
      );
    if (typeof text === 'string') expect(made()).toBe(text);
    else expect(made).toThrow(text.fails);
  });

  it('in the form of Llama, which knows the special tokens', () => {
    const tokens = { bos_token: '<s>', eos_token: '</s>' };
    expect(render(LLAMA, { messages: [user, assistant, user], ...tokens })).toBe(
      '<s>[user]Hi </s>[assistant]Yes?</s>[user]Hi </s>',
    );
    expect(failure(LLAMA, { messages: [user, user], ...tokens })).toBe(
      't.jinja, line 3: Conversation roles must alternate user/assistant/user/assistant/...',
    );
  });

  it('know the day, in the same words everywhere', () => {
    expect(render("{{ strftime_now('%d %B %Y, %b %-d %A %a %m/%y %H:%I:%M:%S %p 100%%') }}")).toBe(
      '05 January 2024, Jan 5 Friday Fri 01/24 13:01:04:09 PM 100%',
    );
    expect(failure("{{ strftime_now('%Q') }}")).toBe('t.jinja, line 1: strftime_now() does not know "%Q"');
  });

  it('have the ranges of Python', () => {
    expect(
      render(
        '{{ range(3) | join }} {{ range(2, 8, 3) | join }} {{ range(3, 0, -1) | join }} {{ range(-2) | join }}',
      ),
    ).toBe('012 25 321 ');
  });

  it('of a thousand messages are rendered', () => {
    const messages = Array.from({ length: 1000 }, () => user);
    expect(render(GRANITE, { messages }).length).toBe(1000 * render(GRANITE, { messages: [user] }).length);
  });
});

describe('a template that fails says its line', () => {
  it.each<[string, string, string]>([
    ['in an expression', 'a\n\n{{ x.y + 1 }}', '3: Cannot perform operation + on undefined values'],
    ['in the test of an elif', "{% if x %}\n\n{% elif raise_exception('e') %}\n{% endif %}", '3: e'],
    [
      'in an else, after a text like a tag',
      "{% if x %}\n{% else %}\n{{ '{% it\\'s ' }}\n{{ raise_exception('e') }}{% endif %}",
      '4: e',
    ],
    [
      'in a macro, not where it is called',
      "{% macro f() %}\n{{ raise_exception('e') }}\n{% endmacro %}\n{{ f() }}",
      '2: e',
    ],
    [
      'after a macro was called',
      "{% macro f() %}\n\n{% set a = 1 %}{% endmacro %}\n\n{{ f() ~ raise_exception('e') }}",
      '5: e',
    ],
    [
      'in the else of a loop',
      "{% for a in [] %}\n{% else %}\n{{ raise_exception('e') }}{% endfor %}",
      '3: e',
    ],
    [
      'after a loop that was left',
      "{% for a in [1] %}{% break %}{% endfor %}\n{{ raise_exception('e') }}",
      '2: e',
    ],
    ['after a comment with tags', "{# {% if\n{{ #}\n{{- raise_exception('e') }}", '3: e'],
    [
      'inside of a generation block',
      "{% generation %}\n{{ raise_exception('e') }}\n{% endgeneration %}",
      '2: e',
    ],
    ['with a break outside of a loop', '\n{% break %}', '2: break or continue stands outside of a loop'],
    ['with an unknown statement', 'a\n{% foo %}', '2: Unknown statement type: foo'],
    ['with an end too much', 'a\n{% endif %}', '2: Unknown statement type: endif'],
    ['with a block that does not end', 'a\n\n{% if x %}\nb', '3: a block or an expression does not end'],
    ['with a strange character', 'a {{ 1 }}\n\n{{ x @ y }}\nb', '3: Unexpected character: @'],
    ['with an expression that does not end', 'a {{ 1 }}\n{{ x ', '2: Unexpected end of input'],
    ['with half an expression', '{{ 1 }}\n{{ x y }}', '2: Expected closing expression token'],
    ['with an unknown filter', '\n{{ [] | foo }}', '2: Unknown ArrayValue filter: foo'],
  ])('%s', (_, source, says) => {
    expect(failure(source)).toBe(`t.jinja, line ${says}`);
  });

  it('wherever that is', () => {
    const filler = [
      'text',
      '{# a {{ comment #}',
      "{{ 'a }} text' }}",
      '{% set a = {"b": {"c": 1}} %}',
      '{{- 1 -}}',
    ];
    const block = fc.constantFrom<readonly [string, string]>(
      ['{% if true %}', '{% endif %}'],
      ['{% if false %}{% else %}', '{% endif %}'],
      ['{%- for i in range(2) -%}', '{%- endfor -%}'],
      ['{% set t %}', '{% endset %}'],
    );
    const lines = fc.array(fc.constantFrom(...filler), { maxLength: 5 });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(lines, block), { maxLength: 4 }),
        lines,
        lines,
        (around, before, after) => {
          const opens = around.flatMap(([inside, [begin]]) => [...inside, begin]);
          const ends = around.map(([, [, end]]) => end).reverse();
          const all = [...opens, ...before, '{{ raise_exception("here") }}', ...after, ...ends];
          expect(failure(all.join('\n'))).toBe(`t.jinja, line ${opens.length + before.length + 1}: here`);
        },
      ),
    );
  });
});

describe('a template of a stranger', () => {
  it.each<[string, string]>([
    [
      'has no property of an object',
      '{{ messages.constructor }}{{ "".constructor }}{{ messages.__proto__ }}{{ range.call }}',
    ],
    ['has no name of the program', '{{ process }}{{ globalThis }}{{ require }}{{ console }}'],
  ])('%s', (_, source) => {
    expect(render(source, { messages: [] })).toBe('');
  });

  it.each<[string, string, string]>([
    [
      'counts no further than it needs',
      '{{ range(10 ** 9) }}',
      'range() expected at most 65536 numbers; got 1000000000',
    ],
    [
      'ends',
      `{% for i in range(2000) %}{{ [${'1,'.repeat(1000)}] | length }}{% endfor %}`,
      'takes more than 1048576 steps',
    ],
    [
      'that calls itself ends',
      '{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}',
      'nests, repeats or grows without end',
    ],
    [
      'that grows ends',
      "{% set ns = namespace(s='0123456789abcdef') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      'nests, repeats or grows without end',
    ],
  ])('%s', (_, source, says) => {
    expect(failure(source)).toBe(`t.jinja, line 1: ${says}`);
  });

  it('calls no constructor', () => {
    expect(() => render('{{ range.constructor("return 1")() }}')).toThrow(
      't.jinja, line 1: Cannot call something that is not a function: got UndefinedValue',
    );
  });

  it('fails in one sentence, whatever it is', () => {
    const parts = fc.constantFrom(
      ...'{% %} {{ }} {# #} - " \' \\ \n if for set in endif endfor macro ( ) [ ] { } . | : 1 x = ~ range raise_exception break is not'.split(
        ' ',
      ),
      ' ',
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 30 }), words => {
        failure(words.join(' '));
        failure(words.join(''));
      }),
      { numRuns: 500 },
    );
  });
});
