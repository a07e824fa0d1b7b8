/** Pages of Markdown: the parts that the generated pages are made of. */

export const cell = (text: string): string => text.replaceAll('|', '\\|');
export const row = (cells: readonly unknown[]): string => `| ${cells.join(' | ')} |`;
/** A table; `align` has `---:` for a column that is set to the right. */
export const table = (
  head: readonly unknown[],
  rows: readonly (readonly unknown[])[],
  align: readonly string[] = head.map(() => '---'),
): string => [head, align, ...rows].map(row).join('\n');

export const code = (text: unknown): string => `\`${text}\``;
export const fenced = (text: string): string => `\`\`\`text\n${text}\n\`\`\``;
export const list = (names: readonly string[]): string => names.map(code).join(', ');

/** What may stand in a list of parts; what is empty is left out. */
export type Part = string | false | undefined;
/** Joins the parts, one empty line between. */
export const page = (parts: readonly Part[]): string => `${parts.filter(Boolean).join('\n\n')}\n`;
/** A part of a page, without the line break at its end. */
export const block = (parts: readonly Part[]): string => page(parts).trimEnd();
export const section = (title: string, ...parts: readonly Part[]): Part =>
  parts.some(Boolean) && block([`## ${title}`, ...parts]);

/** Where a page links to inside of the project. */
export const linksIn = (text: string): string[] =>
  [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, path]) => path);
