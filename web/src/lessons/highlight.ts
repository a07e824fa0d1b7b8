/** TypeScript with its comments, strings, words and numbers told apart. */
const TOKEN =
  /(?<comment>\/\*[\s\S]*?\*\/|\/\/[^\n]*)|(?<string>'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|(?<keyword>\b(?:as|const|else|export|extends|for|from|function|if|import|in|interface|let|new|of|readonly|return|throw|type|typeof|while)\b)|(?<digits>\b\d[\d_.]*(?:e[+-]?\d+)?\b)/g;

export interface Piece {
  /** A group of TOKEN; undefined for what lies between. */
  readonly kind: string | undefined;
  readonly text: string;
}

/** Pieces that make up the source. */
export function highlighted(source: string): readonly Piece[] {
  const pieces: Piece[] = [];
  const add = (text: string, kind?: string) => text && pieces.push({ kind, text });
  let done = 0;
  for (const { 0: text, index, groups } of source.matchAll(TOKEN)) {
    add(source.slice(done, index));
    add(text, Object.entries(groups!).find(([, found]) => found !== undefined)![0]);
    done = index + text.length;
  }
  add(source.slice(done));
  return pieces;
}
