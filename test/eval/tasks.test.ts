/** Task items: what is asked of a model, in the words of lm-eval 0.4.2; which files they are read from; how they are scored. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { likelihoods, MOST_TOKENS, request } from '../../src/eval/likelihood.ts';
import { readItems } from '../../src/eval/task-files.ts';
import { type Item, scoreItem, type TaskName, taskFigures } from '../../src/eval/tasks.ts';
import { surprise } from '../../src/text/logits.ts';
import { models } from './toy.ts';

const read = (task: TaskName, ...rows: readonly unknown[]): Item[] =>
  readItems(task, { name: 'f', text: rows.map(row => JSON.stringify(row)).join('\n') });
/** Context and continuation of each choice, and the right one. */
const asked = ({ choices, gold }: Item) => ({
  gold,
  choices: choices.map(({ context, continuation }) => [context, continuation]),
});

describe('prompts', () => {
  it('lambada: the last word, with its space, after the rest', () => {
    expect(read('lambada', { text: 'He said\n\n"No,  never" again' }).map(asked)).toEqual([
      { gold: 0, choices: [['He said\n\n"No,  never"', ' again']] },
    ]);
  });

  it('hellaswag: activity, both contexts, brackets gone, the second capitalized as Python does it', () => {
    const item = {
      activity_label: 'Making tea',
      ctx_a: 'A pot. [header] How [title] Boil it.',
      ctx_b: 'the Cup',
      endings: ['breaks  [step] now.', ' is [title] full. '],
      label: '1',
    };
    expect(read('hellaswag', item).map(asked)).toEqual([
      {
        gold: 1,
        choices: [
          ['Making tea: A pot. How. Boil it. The cup', ' breaks  now.'],
          ['Making tea: A pot. How. Boil it. The cup', ' is. full.'],
        ],
      },
    ]);
  });

  it('piqa and arc: Question and Answer', () => {
    expect(read('piqa', { goal: 'g', sol1: 'a', sol2: 'b', label: 1 }).map(asked)).toEqual([
      { gold: 1, choices: [['Question: g\nAnswer:', ' a'], ['Question: g\nAnswer:', ' b']] }, // biome-ignore format: pairs
    ]);
    const arc = { question: 'q', choices: { text: ['a', 'b', 'c'], label: ['1', '2', '3'] }, answerKey: '3' };
    for (const task of ['arc_easy', 'arc_challenge'] as const)
      expect(asked(read(task, arc)[0])).toEqual({
        gold: 2,
        choices: ['a', 'b', 'c'].map(text => ['Question: q\nAnswer:', ` ${text}`]),
      });
  });

  it('winogrande: the option in the context, what follows the blank as continuation', () => {
    const item = { sentence: 'Ann thanked _ because she left.', option1: 'Eve', option2: 'Joe', answer: '2' };
    expect(read('winogrande', item).map(asked)).toEqual([
      {
        gold: 1,
        choices: [
          ['Ann thanked Eve', ' because she left.'],
          ['Ann thanked Joe', ' because she left.'],
        ],
      },
    ]);
  });
});

describe('files', () => {
  const hf = {
    question: 'Q?',
    choices: { text: ['yes', 'no', 'it is'], label: ['A', 'B', 'C'] },
    answerKey: 'C',
  };
  const want = read('arc_easy', hf);

  it("ARC's own form and LLM-Adapters' read as Hugging Face's", () => {
    const choices = hf.choices.text.map((text, i) => ({ text, label: hf.choices.label[i] }));
    expect(read('arc_easy', { question: { stem: 'Q?', choices }, answerKey: 'C' })).toEqual(want);
    const instruction =
      'Please choose the correct answer to the question: Q?\n\nAnswer1: yes Answer2: no Answer3: it is\n\nAnswer format: answer1/answer2/answer3';
    const text = JSON.stringify([{ instruction, input: '', output: '', answer: 'answer3' }]);
    expect(readItems('arc_easy', { name: 'f', text })).toEqual(want);
  });

  it("LLM-Adapters' piqa and winogrande, and an answer that speaks of other answers", () => {
    const piqa =
      'Please choose the correct solution to the question: g\n\nSolution1: a b Solution2: c\n\nAnswer format: solution1/solution2';
    expect(read('piqa', { instruction: piqa, answer: 'solution2' })).toEqual(
      read('piqa', { goal: 'g', sol1: 'a b', sol2: 'c', label: 1 }),
    );
    const arc =
      'the question: Q?\n\nAnswer1: see Answer3: it Answer2: see Answer1: or Answer2: it\nAnswer3: no\n\nAnswer format: a';
    expect(read('arc_easy', { instruction: arc, answer: 'answer2' })).toEqual(
      read('arc_easy', {
        question: 'Q?',
        choices: { text: ['see Answer3: it', 'see Answer1: or Answer2: it', 'no'], label: ['A', 'B', 'C'] },
        answerKey: 'B',
      }),
    );
    const sentence = 'Ann thanked _ because she left.';
    const winogrande = `Please choose the correct answer to fill in the blank to complete the given sentence: ${sentence}\n\nOption1: Eve Option2: Joe Answer format: option1/option2`;
    expect(read('winogrande', { instruction: winogrande, answer: 'option1' })).toEqual(
      read('winogrande', { sentence, option1: 'Eve', option2: 'Joe', answer: '1' }),
    );
  });

  it("piqa's labels in a file of their own", () => {
    const row = { goal: 'g', sol1: 'a', sol2: 'b' };
    const text = `${JSON.stringify(row)}\n${JSON.stringify(row)}\n`;
    const items = readItems('piqa', { name: 'f', text, labels: '1\n0\n' });
    expect(items.map(({ gold }) => gold)).toEqual([1, 0]);
    expect(() => readItems('piqa', { name: 'f', text, labels: '1\n' })).toThrow(
      'f: expected a label for each of 2 items; got 1',
    );
  });

  it('HellaSwag as six lines: the border of the contexts is found again where the second is there', () => {
    const text =
      'Tea: A pot. the Cup\n1\na.\nb.\nc.\nd.\nHow: How to rest. Sit down. Lie.\n0\na.\nb.\nc.\nd.\n';
    const items = readItems('hellaswag', { name: 'f', text });
    expect(items.map(({ choices: [{ context }], gold }) => [context, gold])).toEqual([
      ['Tea: A pot. The cup', 1],
      ['How: How to rest. Sit down. Lie.', 0],
    ]);
  });

  it.each<[TaskName, string, string]>([
    ['piqa', '{"goal":"g","sol1":"a","label":0}', 'f: item 1: sol2 expected a text; got nothing'],
    [
      'piqa',
      '{"goal":"g","sol1":"a","sol2":"b","label":""}',
      'f: item 1: label expected a whole number 0 … 1; got ""',
    ],
    [
      'piqa',
      '{"goal":"g","sol1":"a","sol2":"b"}',
      'f: item 1: label expected a whole number 0 … 1; got nothing',
    ],
    ['lambada', '{"text":"a b"}\n{', 'f: line 2: expected JSON; '],
    ['lambada', '[1]', 'f: item 1 expected an object; got 1'],
    ['lambada', 'prose', 'f: expected JSON lines or a JSON array; got other text'],
    ['lambada', '[]', 'f: expected items of lambada; got none'],
    ['hellaswag', 'a: b\n0\nc', 'f: expected six lines an item (context, label, four endings); got 3 lines'],
    [
      'hellaswag',
      '{"activity_label":"a","ctx_a":"a","ctx_b":"","endings":["x"],"label":0}',
      'f: item 1: endings expected two or more texts; got ["x"]',
    ],
    [
      'arc_easy',
      '{"question":"q","choices":{"text":["a","b"],"label":["A","B"]},"answerKey":"C"}',
      'f: item 1: answerKey expected one of ["A", "B"]; got "C"',
    ],
    [
      'winogrande',
      '{"sentence":"s","option1":"a","option2":"b","answer":"1"}',
      'f: item 1: sentence expected a blank (_); got "s"',
    ],
    [
      'winogrande',
      '{"sentence":"_","option1":"a","option2":"b","answer":"3"}',
      'f: item 1: answer expected a whole number 1 … 2; got "3"',
    ],
  ])('%s refuses %s', (task, text, sentence) => {
    expect(() => readItems(task, { name: 'f', text })).toThrow(sentence);
  });
});

describe('log-likelihoods', () => {
  const { fp32: model } = models;
  const { tokenizer } = model;

  it('spaces at the end of a context go over to the continuation; an empty context is the token that ends texts', () => {
    const bytes = (text: string) => Array.from(Buffer.from(text));
    expect(request(tokenizer, 'ab  ', 'c')).toEqual({ ids: Int32Array.from(bytes('ab  c')), scored: 3 });
    expect(request(tokenizer, '', ' c')).toEqual({ ids: Int32Array.of(256, ...bytes(' c')), scored: 2 });
    expect(() => request(tokenizer, 'a', '')).toThrow('the continuation expected 1 … 2048 tokens; got 0');
    expect(() => request({ ...tokenizer, eosTokenId: undefined }, '', 'c')).toThrow(/names no eos_token/);
  });

  it('a context that is too long loses its beginning: 2048 tokens are read', () => {
    const { ids, scored } = request(tokenizer, 'x'.repeat(3000), ' yz');
    expect([ids.length, scored]).toEqual([MOST_TOKENS + 1, 3]);
    expect(Buffer.from(ids.slice(-4)).toString()).toBe('x yz');
    expect(() => request(tokenizer, 'a', 'y'.repeat(2049))).toThrow(/1 … 2048 tokens; got 2049/);
  });

  it('what is read once for all choices gives the bits of each read alone', async () => {
    const word = fc.string({ minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 4 }),
        word,
        async (choices, begin) => {
          const requests = choices.map(([context, continuation]) =>
            request(tokenizer, `${begin}${context}`.trimEnd(), ` ${continuation}`),
          );
          const alone = requests.map(({ ids, scored }) => {
            const { data, shape } = model.session().feed(ids.subarray(0, -1));
            const rows = Array.from({ length: scored }, (_, t) => {
              const row = ids.length - 1 - scored + t;
              return data.subarray(row * shape[1], (row + 1) * shape[1]);
            });
            const targets = ids.subarray(-scored);
            return {
              ll: rows.reduce((sum, row, t) => sum - surprise(row, targets[t]), 0),
              greedy: rows.every((row, t) => row.indexOf(Math.max(...row)) === targets[t]),
            };
          });
          expect(await likelihoods(model.session(), requests)).toEqual(alone);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('greedy is what greedy decoding would write', async () => {
    const session = model.session();
    const likely = (ids: number[]) => {
      session.reset();
      const { data } = session.feed(ids, { logits: 'last' });
      return data.indexOf(Math.max(...data));
    };
    const ids = [104, 105];
    const greedy = [likely(ids), likely([...ids, likely(ids)])];
    const of = async (...next: number[]) =>
      (await likelihoods(session, [{ ids: Int32Array.of(...ids, ...next), scored: next.length }]))[0].greedy;
    expect(await of(...greedy)).toBe(true);
    expect(await of(greedy[0], (greedy[1] + 1) % 256)).toBe(false);
    const other = (greedy[0] + 1) % 256;
    expect(await of(other, likely([...ids, other]))).toBe(false);
  });
});

describe('scores', () => {
  const choice = (length?: number) => ({ context: 'c', continuation: ' x', length });
  const score = (gold: number, lls: number[], lengths: (number | undefined)[]) =>
    scoreItem(
      0,
      { gold, choices: lengths.map(choice) },
      lls.map(ll => ({ ll, greedy: false })),
    );

  it('the likeliest choice, and the likeliest for its length in characters', () => {
    expect(score(0, [-3, -4], [3, 8])).toMatchObject({ acc: 1, acc_norm: 0 });
    expect(score(1, [-3, -4], [3, 8])).toMatchObject({ acc: 0, acc_norm: 1 });
    expect(score(0, [-3, -3], [4, 4])).toMatchObject({ acc: 1, acc_norm: 1 }); // the first of equals
    expect(score(1, [-3, -2], [undefined, undefined])).toEqual({ index: 0, lls: [-3, -2], acc: 1 });
    // characters, not UTF-16 units, nor bytes
    const [{ choices }] = read('piqa', { goal: 'g', sol1: 'é𝄞', sol2: 'b', label: 0 });
    expect(choices.map(({ length }) => length)).toEqual([2, 1]);
  });

  it('means, standard errors and perplexity are those of the formulas', () => {
    const bits = fc.array(fc.constantFrom<0 | 1>(0, 1), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(bits, list => {
        const scores = list.map((acc, index) => ({ index, acc, lls: [-index / 7] }));
        const { n, acc, stderr, acc_norm, perplexity } = taskFigures(scores);
        const mean = list.reduce((sum: number, x) => sum + x, 0) / n;
        // lm-eval: the sample's standard deviation over √n
        const deviation = Math.sqrt(list.reduce((sum: number, x) => sum + (x - mean) ** 2, 0) / (n - 1));
        expect({ n, acc, acc_norm }).toEqual({ n: list.length, acc: mean, acc_norm: null });
        expect(stderr).toBeCloseTo(deviation / Math.sqrt(n), 12);
        expect(perplexity).toBeCloseTo(Math.exp((n - 1) / 14), 9);
      }),
    );
  });
});
