/**
 * How a text is cut into added tokens and the pieces that BPE merges: normalizer, added tokens and pre-tokenizer of a tokenizer.json,
 * with the same result as Hugging Face's `tokenizers` in Rust (0.23.2; goldens in golden/tokenizer-ids).
 *
 * JavaScript's \s, \d, \w and trim are other sets of characters than Rust's and Oniguruma's, so none of them is used here. White
 * space is Unicode's White_Space (it has U+0085, and not U+FEFF), a digit is \p{N}, a word is Rust's \w.
 */
import { ByteLevelPreTokenizer, SplitPreTokenizer } from './huggingface.ts';
import { array, isObject, type JsonObject, object, oneOf, show, string, unexpected } from './json.ts';

/** An added token's id, or a piece spelt in the alphabet of bytes. */
export type Piece = number | string;

/**
 * @param json the parsed tokenizer.json
 * @throws Error naming the file and the field that is wrong, or that this version does not do.
 */
export function readCutting(json: JsonObject, file: string): (text: string) => Piece[] {
  const normalize = readNormalizer(json.normalizer, `${file}: normalizer`);
  const cut = readPreTokenizer(json.pre_tokenizer, `${file}: pre_tokenizer`);
  const added = array(json.added_tokens ?? [], `${file}: added_tokens`).map(token => token as AddedToken);
  const normalized = (token: AddedToken) => token.normalized ?? token.special !== true;
  const asWritten = finder(added.filter(token => !normalized(token)));
  const inNormal = finder(
    added.filter(normalized).map(token => ({ ...token, content: normalize(token.content) })),
  );
  return text =>
    asWritten(text).flatMap(part =>
      typeof part === 'number'
        ? part
        : inNormal(normalize(part)).flatMap((piece): Piece | Piece[] =>
            typeof piece === 'number' ? piece : cut(piece),
          ),
    );
}

interface AddedToken {
  readonly content: string;
  readonly id: number;
  readonly special?: boolean;
  readonly normalized?: boolean;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

const WORD_BEFORE = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const WORD_AFTER = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const SPACE = /\p{White_Space}/u;

/** Finds the first and longest of the tokens, one after the other, and gives their ids with the texts between them. */
function finder(tokens: readonly AddedToken[]): (text: string) => Piece[] {
  const byContent = new Map(tokens.map(token => [token.content, token]));
  const lengths = new Map<string, number[]>();
  for (const { length, 0: first } of [...byContent.keys()].sort((a, b) => b.length - a.length))
    if (length > 0) {
      const known = lengths.get(first) ?? [];
      if (known.at(-1) !== length) lengths.set(first, [...known, length]);
    }
  const longestAt = (text: string, at: number): AddedToken | undefined => {
    for (const length of lengths.get(text[at]) ?? []) {
      const token = byContent.get(text.slice(at, at + length));
      if (token) return token;
    }
    return undefined;
  };
  return text => {
    const pieces: Piece[] = [];
    let done = 0;
    for (let at = 0; at < text.length; at++) {
      const token = longestAt(text, at);
      if (!token) continue;
      let [start, end] = [at, at + token.content.length];
      at = end - 1;
      // Two code units hold a whole character.
      const before = text.slice(Math.max(start - 2, 0), start);
      if (token.single_word && (WORD_BEFORE.test(before) || WORD_AFTER.test(text.slice(end, end + 2))))
        continue;
      if (token.lstrip) while (start > done && SPACE.test(text[start - 1])) start--;
      if (token.rstrip) while (end < text.length && SPACE.test(text[end])) end++;
      if (start > done) pieces.push(text.slice(done, start));
      pieces.push(token.id);
      done = end;
    }
    if (done < text.length) pieces.push(text.slice(done));
    return pieces;
  };
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');

interface Step {
  readonly step: JsonObject;
  readonly where: string;
}

/** Far more than any published tokenizer has (six). */
const MOST_STEPS = 32;

/** The steps of a (nested) Sequence, in order. */
export function stepsOf(value: unknown, where: string, key: string): Step[] {
  const steps: Step[] = [];
  const add = (value: unknown, where: string): void => {
    const step = object(value, where);
    if (step.type === 'Sequence')
      for (const [i, inner] of array(step[key], `${where}.${key}`).entries())
        add(inner, `${where}.${key}[${i}]`);
    else steps.push({ step, where });
  };
  if (value !== undefined && value !== null) add(value, where);
  return steps.length <= MOST_STEPS ? steps : unexpected(where, `at most ${MOST_STEPS} steps`, steps.length);
}

/** The most code units that a normalizer makes of one; published ones of byte-level tokenizers make no more than NFKC does. */
const MOST_GROWTH = 64;

function readNormalizer(value: unknown, where: string): (text: string) => string {
  let growth = 1;
  const grow = (by: number, content: string, where: string): void => {
    growth *= Math.max(by, 1);
    if (growth > MOST_GROWTH)
      unexpected(where, `a text that makes an input at most ${MOST_GROWTH} times as long`, content);
  };
  const steps = stepsOf(value, where, 'normalizers').map(({ step, where }): ((text: string) => string) => {
    switch (step.type) {
      case 'NFC':
      case 'NFD':
      case 'NFKC':
      case 'NFKD': {
        const form = step.type;
        return text => text.normalize(form);
      }
      case 'Lowercase': // a character at a time: String.toLowerCase looks at the neighbours of Σ
        return text => Array.from(text, char => char.toLowerCase()).join('');
      case 'StripAccents':
        return text => text.replace(/\p{M}/gu, '');
      case 'Strip': {
        const [left, right] = [step.strip_left, step.strip_right];
        return text => {
          let [start, end] = [0, text.length];
          if (left) while (start < end && SPACE.test(text[start])) start++;
          if (right) while (end > start && SPACE.test(text[end - 1])) end--;
          return text.slice(start, end);
        };
      }
      case 'Prepend': {
        const prepend = string(step.prepend, `${where}.prepend`);
        grow(1 + prepend.length, prepend, `${where}.prepend`);
        return text => (text === '' ? '' : prepend + text);
      }
      case 'Replace': {
        const content = string(step.content, `${where}.content`);
        const { pattern, shortest } = readPattern(step.pattern, `${where}.pattern`);
        grow(shortest ? content.length / shortest : 1 + content.length, content, `${where}.content`);
        return text => {
          let end = 0;
          return text.replace(pattern, (match, at: number) => {
            if (text === '' || (match === '' && at === end && at > 0)) return '';
            end = at + match.length;
            return content;
          });
        };
      }
      default:
        return unexpected(
          `${where}.type`,
          'NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend, Replace or Sequence',
          step.type,
        );
    }
  });
  return text => steps.reduce((text, normalize) => normalize(text), text);
}

type Cut = (piece: string) => string[];

/** What `tokenizers` writes into its byte-level step: GPT-2's pattern. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const PUNCTUATION = /[\p{P}$+<=>^`|~]/gu;

function readPreTokenizer(value: unknown, where: string): Cut {
  const gpt2 = compile(GPT2);
  const toBytes = new ByteLevelPreTokenizer({ use_regex: false });
  const steps = stepsOf(value, where, 'pretokenizers').map(({ step, where }): Cut => {
    switch (step.type) {
      case 'ByteLevel': {
        const { add_prefix_space: prefix = false, use_regex: cuts = true } = step;
        return piece => {
          const text = prefix && !piece.startsWith(' ') ? ` ${piece}` : piece;
          return (cuts ? split(text, gpt2, 'Isolated') : [text]).flatMap(part =>
            toBytes.pre_tokenize_text(part),
          );
        };
      }
      case 'Split': {
        const { pattern } = readPattern(step.pattern, `${where}.pattern`);
        const behavior = oneOf(step.behavior, `${where}.behavior`, BEHAVIORS);
        return piece => split(piece, pattern, behavior, step.invert === true);
      }
      case 'Digits':
        return piece => split(piece, /\p{N}/gu, step.individual_digits ? 'Isolated' : 'Contiguous');
      case 'Punctuation': {
        const behavior = oneOf(step.behavior ?? 'Isolated', `${where}.behavior`, BEHAVIORS);
        return piece => split(piece, PUNCTUATION, behavior);
      }
      default:
        return unexpected(`${where}.type`, 'ByteLevel, Split, Digits, Punctuation or Sequence', step.type);
    }
  });
  return piece => steps.reduce((pieces, cut) => pieces.flatMap(cut), [piece]);
}

const BEHAVIORS = ['Isolated', 'Removed', 'Contiguous', 'MergedWithPrevious', 'MergedWithNext'] as const;
type Behavior = (typeof BEHAVIORS)[number];

/** Cuts a text at the matches of a pattern. `invert`: what does not match counts as a match, and the other way round. */
function split(text: string, pattern: RegExp, behavior: Behavior, invert = false): string[] {
  const parts: { text: string; match: boolean }[] = [];
  const add = (text: string, match: boolean) => text !== '' && parts.push({ text, match: match !== invert });
  let end = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    add(text.slice(end, index), false);
    add(match, true);
    end = index + match.length;
  }
  add(text.slice(end), false);

  const joins = (before: boolean, after: boolean): boolean =>
    behavior === 'Contiguous'
      ? before === after
      : behavior === 'MergedWithPrevious'
        ? after && !before
        : behavior === 'MergedWithNext' && before && !after;
  const pieces: string[] = [];
  for (const [i, { text, match }] of parts.entries()) {
    if (behavior === 'Removed' && match) continue;
    if (i > 0 && joins(parts[i - 1].match, match)) pieces[pieces.length - 1] += text;
    else pieces.push(text);
  }
  return pieces;
}

/** `shortest`: a lower bound of the length of a match, in code units. */
function readPattern(value: unknown, where: string): { pattern: RegExp; shortest: number } {
  if (isObject(value) && typeof value.String === 'string')
    return { pattern: new RegExp(escaped(value.String), 'gu'), shortest: value.String.length };
  const regex = isObject(value) ? value.Regex : undefined;
  if (typeof regex !== 'string') return unexpected(where, '{ "String": … } or { "Regex": … }', value);
  if (regex.length > MOST_PATTERN || !LINEAR.test(regex))
    unexpected(`${where}.Regex`, 'a pattern that takes no longer than its text (docs/real-models.md)', regex);
  try {
    const pattern = compile(regex);
    return { pattern, shortest: WIDTHLESS.test(regex) || pattern.test('') ? 0 : 1 };
  } catch (error) {
    throw new Error(`${where}.Regex: ${show(regex)} cannot be used (${(error as Error).message})`, {
      cause: error,
    });
  }
}

/** From Oniguruma's syntax. The library folds ASCII only: in `(?i:…)` it leaves out ſ and the Kelvin sign, which are s and k. */
function compile(regex: string): RegExp {
  const foldedClass = (text: string) =>
    text.replace(/\\[pP]\{[^}]*\}|\\.|[sk]/gi, part => part + (FOLDS_TO[part.toLowerCase()] ?? ''));
  const folded = regex.replace(/\(\?i:[^()]*\)/g, group =>
    group.replace(/\\[pP]\{[^}]*\}|\\.|\[[^\]]*\]|[sk]/gi, part =>
      part.length === 1 ? `[${foldedClass(part)}]` : part.startsWith('[') ? foldedClass(part) : part,
    ),
  );
  return new SplitPreTokenizer({ pattern: { Regex: folded }, invert: true }).pattern;
}
const FOLDS_TO: Readonly<Record<string, string>> = { s: '\u017f', k: '\u212a' };

/**
 * Patterns whose time grows as their text does, as a pattern of their own syntax. JavaScript's RegExp goes back when something fails
 * after a repeat, and that can take for ever. So in each branch a repeat without end is of one character or class, and after it
 * comes only what may be missing. Before it a choice may be made twice. What published patterns have beyond that is named: it
 * goes back over white space or over a word.
 *
 * This pattern reads every text in one way at most, so that it does not go back itself.
 */
const LINEAR = (() => {
  const inner = String.raw`\[(?:\\.|[^\\\[\]])*\]`;
  const atom = String.raw`(?:\\[pPx]\{[^{}]*\}|\\[^0-9gkGKRXpPx]|\\x[0-9a-fA-F]{2}|\[(?:\\.|${inner}|[^\\\[\]])+\]|[^\\()[\]{}*+?|])`;
  const fixed = String.raw`(?:${atom}(?:\{\d\})?|\(\?<?[=!]${atom}\))*`;
  const group = String.raw`\(\?i?:(?:${atom}|\|)*\)`;
  const choice = String.raw`(?:${atom}(?:\?|\{\d,\d\})|${group}\??)`;
  const missable = String.raw`(?:${atom}(?:\*[+?]?|\?)|${group}\?)*`;
  const published = [
    String.raw`\s*[\r\n]+`,
    String.raw`\s*[\r\n]`,
    String.raw`\s+(?!\S)`,
    String.raw`\s+$`,
    String.raw`[^\r\n\p{L}\p{N}]?+\p{L}+`,
    String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`,
  ].map(escaped);
  const repeat = `(?:${[...published, `${atom}[*+][+?]?`].join('|')})`;
  const branch = `${fixed}(?:${choice}${fixed}){0,2}(?:${repeat}${missable})?`;
  return new RegExp(`^${branch}(?:\\|${branch})*$`, 'u');
})();
const MOST_PATTERN = 2000;
/** What can hold without a character. */
const WIDTHLESS = /\(\?<?[=!]|\\[AbBzZ]|\$|(?<!\[)\^/;
