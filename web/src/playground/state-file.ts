/**
 * A state as a file: what `session.snapshot` gives, a safetensors file, with the tokens of the text in its metadata, so that the text
 * comes back with it. `session.restore` reads it all the same.
 */
interface Header {
  readonly __metadata__: Readonly<Record<string, string>>;
}

export interface About {
  readonly position: number;
  /** Undefined in a file that was saved without them. */
  readonly tokens: readonly number[] | undefined;
}

/** Of bytes that a session has written, or restored. */
export function aboutState(bytes: Uint8Array): About {
  const { position, tokens = 'null' } = split(bytes).header.__metadata__;
  return { position: Number(position), tokens: tokensIn(tokens, Number(position)) };
}

function tokensIn(text: string, position: number): number[] | undefined {
  try {
    const tokens = JSON.parse(text);
    return Array.isArray(tokens) && tokens.length === position ? tokens : undefined;
  } catch {
    return undefined;
  }
}

export function withTokens(bytes: Uint8Array, tokens: readonly number[]): Blob {
  const { header, data } = split(bytes);
  const metadata = { ...header.__metadata__, tokens: JSON.stringify(tokens) };
  const text = new TextEncoder().encode(JSON.stringify({ ...header, __metadata__: metadata }));
  const padding = ' '.repeat((8 - (text.length % 8)) % 8);
  const size = new DataView(new ArrayBuffer(8));
  size.setBigUint64(0, BigInt(text.length + padding.length), true);
  return new Blob([size, text, padding, data as BlobPart]);
}

function split(bytes: Uint8Array): { readonly header: Header; readonly data: Uint8Array } {
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return {
    header: JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size))),
    data: bytes.subarray(8 + size),
  };
}
