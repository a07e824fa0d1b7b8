/** TypeScript with its comments, strings, words and numbers told apart. */
const TOKEN =
  /(?<comment>\/\*[\s\S]*?\*\/|\/\/[^\n]*)|(?<string>'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`)|(?<keyword>\b(?:as|const|else|export|extends|for|from|function|if|import|in|interface|let|new|of|readonly|return|throw|type|typeof|while)\b)|(?<digits>\b\d[\d_.]*(?:e[+-]?\d+)?\b)/g;

export function highlighted(source: string): HTMLPreElement {
  const pre = document.createElement('pre');
  pre.className = 'source';
  let done = 0;
  for (const match of source.matchAll(TOKEN)) {
    pre.append(source.slice(done, match.index));
    const [kind] = Object.entries(match.groups!).find(([, text]) => text !== undefined)!;
    pre.append(Object.assign(document.createElement('span'), { className: kind, textContent: match[0] }));
    done = match.index + match[0].length;
  }
  pre.append(source.slice(done));
  return pre;
}
