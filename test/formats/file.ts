/** Files for the tests of formats, made without the code under test. */

/** Safetensors bytes from a header, as a value or as text, and the data after it. */
export function safetensors(header: unknown, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** Safetensors bytes with zeros for every tensor, of F32 unless said. */
export function zerosFile(
  shapes: Readonly<Record<string, readonly number[]>>,
  dtype: 'F32' | 'F16' | 'I8' = 'F32',
): Uint8Array {
  const width = { F32: 4, F16: 2, I8: 1 }[dtype];
  let offset = 0;
  const header = Object.entries(shapes).map(([name, shape]) => {
    const begin = offset;
    offset += shape.reduce((size, extent) => size * extent, width);
    return [name, { dtype, shape, data_offsets: [begin, offset] }];
  });
  return safetensors(Object.fromEntries(header), new Uint8Array(offset));
}

export const concat = (chunks: Iterable<Uint8Array>): Uint8Array =>
  new Uint8Array(Buffer.concat([...chunks]));
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What a call threw; fails where it threw nothing. */
export function thrown(call: () => unknown): Error {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected an error; the call returned');
}

/** What a terminal takes as a command, or what turns its line around. A line break is one: text of a file makes no lines. */
export const COMMANDS = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u;
