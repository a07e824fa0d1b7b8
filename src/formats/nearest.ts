/** What somebody who mistyped a word may have meant. */

/** ` (did you mean quamba?)` for the word of a list that is near to this one, or nothing where none is. */
export function didYouMean(wrong: string, words: readonly string[]): string {
  const away = words.map(word => distance(wrong.toLowerCase(), word.toLowerCase()));
  const least = Math.min(...away);
  return least <= Math.min(2, wrong.length / 3) ? ` (did you mean ${words[away.indexOf(least)]}?)` : '';
}

/** Letters to put in, leave out, change or turn round: optimal string alignment. Only the first 40 count. */
function distance(a: string, b: string): number {
  const rows = [[...Array(Math.min(b.length, 40) + 1).keys()]];
  for (let i = 1; i <= Math.min(a.length, 40); i++) {
    const row = [i];
    for (let j = 1; j < rows[0].length; j++) {
      const change = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(row[j - 1] + 1, rows[i - 1][j] + 1, change);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
    }
    rows.push(row);
  }
  return rows.at(-1)!.at(-1)!;
}
