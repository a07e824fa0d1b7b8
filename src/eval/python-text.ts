/** What Python's `str` does with a text, where JavaScript does something else. Checked against Python by test/eval/python-text.test.ts. */

/** Python's white space (`str.isspace`): it has U+001C … U+001F and U+0085, and not U+FEFF. */
const isSpace = (char: string) => /\p{White_Space}/u.test(char) || (char >= '\x1c' && char <= '\x1f');

export function rstrip(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1])) end--;
  return text.slice(0, end);
}

export function strip(text: string): string {
  let start = 0;
  while (start < text.length && isSpace(text[start])) start++;
  return rstrip(text.slice(start));
}

/** `str.capitalize`: the first character in title case, the rest in lower case. */
export function capitalize(text: string): string {
  const first = String.fromCodePoint(...(text === '' ? [] : [text.codePointAt(0)!]));
  // The whole text is made lower case, since a Σ looks at the letters before it.
  return titled(first) + text.toLowerCase().slice(first.toLowerCase().length);
}

/** The letters that have a title case of their own (ǅ), by themselves and by their small and large forms. */
const TITLED = new Map<string, string>();
for (let code = 0x1c5; code <= 0x1ffc; code++) {
  const title = String.fromCharCode(code);
  if (!/\p{Lt}/u.test(title)) continue;
  const small = title.toLowerCase();
  for (const form of [small.toUpperCase(), small, title]) TITLED.set(form, title);
}

/** Unicode's title case. JavaScript has only large letters: ß is SS there, and Ss here. Georgian has large letters, but no titles. */
function titled(char: string): string {
  const title = TITLED.get(char) ?? (/[\u10d0-\u10ff]/.test(char) ? char : undefined);
  if (title !== undefined || char === 'ŉ') return title ?? char.toUpperCase();
  const [first = '', ...rest] = char.toUpperCase();
  // An iota that is written below stays there (U+0345).
  return first + rest.map(letter => (letter === '\u0399' ? '\u0345' : letter.toLowerCase())).join('');
}
