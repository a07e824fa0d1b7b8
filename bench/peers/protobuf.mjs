/** Just enough of protobuf's wire format to write an ONNX file. A message is a list of Buffers; nothing is copied twice. */

const varint = value => {
  const bytes = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest < 0x80n) return Buffer.from([...bytes, low]);
    bytes.push(low | 0x80);
  }
};
const sizeOf = message => message.reduce((size, part) => size + part.length, 0);

/** field = an integer (wire type 0). */
export const int = (field, value) => [varint(field << 3), varint(value)];

/** field = an f32 (wire type 5). */
export const float = (field, value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return [varint((field << 3) | 5), bytes];
};

/** field = a text, bytes or a message (wire type 2). */
export const bytes = (field, content) => {
  const parts = Array.isArray(content) ? content : [Buffer.from(content)];
  return [varint((field << 3) | 2), varint(sizeOf(parts)), ...parts];
};
