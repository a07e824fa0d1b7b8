/** What a file says of itself can stand in a sentence or a table: no character of it is a command to a terminal. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseJsonText, plain, show } from '../../src/formats/json.ts';
import { align } from '../../src/plan/render.ts';
import { COMMANDS } from './file.ts';

const anyText = fc.string({ unit: 'binary', maxLength: 300 });
/** Texts that are full of what must not come through. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom('\x1b]0;owned\x07', '\x9b31m', '\x7f', '\u202e', '\u2066', '\u2028', '\n'),
      anyText,
    ),
  )
  .map(parts => parts.join(''));

it('show and plain leave no command to a terminal, and are never long', () => {
  fc.assert(
    fc.property(hostile, text => {
      expect(show(text)).not.toMatch(COMMANDS);
      expect(plain(text)).not.toMatch(COMMANDS);
      expect(plain(text).length).toBeLessThanOrEqual(6 * 200 + 1);
      expect(show(text).length).toBeLessThanOrEqual(6 * 81 + 2);
    }),
  );
  expect(show('\x1b[31m\x9b\x7f\u202e')).toBe('"\\u001b[31m\\u009b\\u007f\\u202e"');
  expect(plain('a\x1b[31m\x9b\x7f\u202e\nb')).toBe('a\\u001b[31m\\u009b\\u007f\\u202e\\u000ab');
  expect(plain('Größe µ €')).toBe('Größe µ €');
});

it('show gives JSON of a short text', () => {
  const short = fc.string({ unit: 'binary', maxLength: 40 });
  fc.assert(
    fc.property(short, text => {
      expect(JSON.parse(show(text))).toBe(text);
    }),
  );
  expect(JSON.parse(show('\u{e0041}'))).toBe('\u{e0041}');
});

it('the complaint of JSON.parse is a sentence', () => {
  fc.assert(
    fc.property(hostile, text => {
      expect(() => parseJsonText(`${text}]`, 'x')).toThrow(/^x: [^\p{Cc}\p{Bidi_Control}]*$/u);
    }),
  );
});

it('a name in a table stays in its cell', () => {
  const table = align([
    ['tensor', 'bytes'],
    ['a\nquamba: all is well \x9b31m', '1'],
    ['x'.repeat(3e6), '2'],
  ]);
  expect(table.split('\n')).toHaveLength(3);
  expect(table.replaceAll('\n', '')).not.toMatch(COMMANDS);
  expect(table.length).toBeLessThan(10_000);
});
