/** The parts of @huggingface/tokenizers that are used here, typed: its declarations name files without `.js`, where TypeScript finds nothing. */
import * as library from '@huggingface/tokenizers';

interface Parts {
  readonly BPE: new (
    config: object,
  ) => { readonly tokens_to_ids: ReadonlyMap<string, number>; encode(pieces: string[]): string[] };
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp };
  readonly ByteLevelPreTokenizer: new (config: object) => { pre_tokenize_text(text: string): string[] };
}
export const { BPE, SplitPreTokenizer, ByteLevelPreTokenizer } = library as unknown as Parts;
