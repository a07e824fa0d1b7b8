/** The doc comment at the head of an op file, as Markdown. */
import { block, fenced } from '../markdown.ts';

const WORDS = ['Shapes', 'State', 'Numerics', 'Errors', 'Example', 'Source'] as const;
type Word = (typeof WORDS)[number];

export interface DocComment {
  readonly summary: string;
  /** What stands between the summary and the first section, as blocks of Markdown. */
  readonly rest: readonly string[];
  /** The lines of each section. */
  readonly sections: Readonly<Partial<Record<Word, readonly string[]>>>;
}

/** The first doc comment of a file: what stands before its sections, and each section by its word. */
export function docComment(source: string): DocComment {
  const [, comment] = /\/\*\*\n([\s\S]*?)\n \*\//.exec(source)!;
  const lines = comment.split('\n').map(line => line.replace(/^ \* ?/, ''));
  const starts = (line: string) => WORDS.find(word => line.startsWith(`${word} `));
  const first = lines.findIndex(starts);
  const sections: Partial<Record<Word, string[]>> = {};
  let current: Word;
  for (const line of lines.slice(first)) {
    current = starts(line) ?? current!;
    (sections[current] ??= []).push(line.slice(9));
  }
  const [summary, ...rest] = paragraphs(lines.slice(0, first));
  return { summary, rest, sections };
}

/** Lines as Markdown blocks: indented ones as they stand, others as text. */
function paragraphs(lines: readonly string[]): string[] {
  const blocks: { readonly kind?: 'picture' | 'text'; readonly lines: string[] }[] = [];
  for (const line of lines) {
    const kind = line === '' ? undefined : line.startsWith('  ') ? 'picture' : 'text';
    const last = blocks.at(-1);
    if (last && (last.kind === kind || (last.kind === 'picture' && kind === undefined)))
      last.lines.push(line);
    else blocks.push({ kind, lines: [line] });
  }
  return blocks.flatMap(({ kind, lines: all }) => {
    if (kind === undefined) return [];
    if (kind === 'text') return [all.join('\n')];
    const indent = Math.min(...all.filter(Boolean).map(line => line.search(/[^ ]|$/)));
    return [
      fenced(
        all
          .map(line => line.slice(indent))
          .join('\n')
          .trimEnd(),
      ),
    ];
  });
}

/** The lines of a section as sentences of their own, with a link to what they name. */
export function sentences(lines: readonly string[] | undefined): string | undefined {
  if (!lines) return undefined;
  const text = block(paragraphs(lines)).replaceAll(/(of|by) numerics\.ts/g, '$1 [Numerics](numerics.md)');
  const first = /^[a-z]{2,}\b(?! =| \w+\[|[./-])/.test(text) ? text[0].toUpperCase() : text[0]; // a name keeps its case
  return text && `${first}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}
