// The reference's bits: the four lanes of q · k are a vector's, keys come in its order, and the sums of a page, which is a block of
// the definition, are added page by page.
//
// A unit is some query heads of one key head, for some rows of a turn: they share what they read. It goes over the pages twice: for
// the scores, which stay in own scratch; and, when their maximum is known, for the weights and the values.
import { Attention, Keep, QUERIES, STATE_F16, STATE_F32, STATE_I8_DYNAMIC } from '../src/backends/wasm/instruction-formats';
import { PAGE_TOKENS } from '../src/backends/wasm/sync';
import { dequantizeRow } from './dequantize';
import { keptBytes, measuredStep, readState, writeState } from './kept-state';
import { add, exp, mul, rowBytes, splat, sub, sumLanes, zero } from './numerics';
import { endOf, firstOf, own, threadCount } from './share';
import { endRow, firstRow, pageOf, positionOf, turnCount } from './turns';

/** The bytes of so many values of a state. */
@inline function bytesOf(type: i32, values: i32): usize { return type == STATE_F32 ? <usize>values << 2 : keptBytes(type, values >> 2); }

/** Own scratch: the step of a row. */
export function keep(at: usize, rows: i32): void {
  const op = changetype<Keep>(at), type = op.type, groups = op.groups, p = op.p, row = rowBytes(groups * p), each = bytesOf(type, p);
  for (let turn = 0, turns = turnCount(); turn < turns; turn++)
    for (let t = max(firstRow(turn), firstOf(rows)), end = min(endRow(turn), endOf(rows)); t < end; t++) {
      const position = positionOf(turn, t), page = pageOf(turn, position / PAGE_TOKENS) + op.state;
      for (let head = 0; head < groups; head++) {
        const i = head * PAGE_TOKENS + position % PAGE_TOKENS, x = op.x + row * t + (<usize>(head * p) << 2), to = page + each * i;
        if (type == STATE_F32) {
          for (let c: usize = 0; c < each; c += 16) v128.store(to + c, v128.load(x + c));
          continue;
        }
        if (type == STATE_I8_DYNAMIC) {
          v128.store(own(), measuredStep(x, p >> 2));
          store<f32>(page + each * (groups * PAGE_TOKENS) + (<usize>i << 2), load<f32>(own()));
        }
        writeState(type, x, own(), to, p >> 2);
      }
    }
}

export function attention(at: usize, _rows: i32): void {
  const op = changetype<Attention>(at), groups = op.groups, shared = op.heads / groups, turns = turnCount();
  let heads = min(shared, QUERIES), tiles = 0;
  const rows = QUERIES / heads;
  for (let turn = 0; turn < turns; turn++) tiles += (endRow(turn) - firstRow(turn) + rows - 1) / rows;
  while (heads > 1 && tiles * groups * ((shared + heads - 1) / heads) < threadCount()) heads = (heads + 1) >> 1;
  const parts = (shared + heads - 1) / heads, units = tiles * groups * parts, end = endOf(units);
  for (let unit = firstOf(units); unit < end; ) {
    const group = unit / tiles / parts, head = unit / tiles % parts * heads;
    for (let turn = 0, tile = unit / tiles * tiles; turn < turns && unit < end; turn++)
      for (let t = firstRow(turn), stop = endRow(turn); t < stop && unit < end; t += rows, tile++) {
        if (tile != unit) continue;
        attend(op, turn, t, min(rows, stop - t), group, group * shared + head, min(heads, shared - head));
        unit++;
      }
  }
}

/**
 * Own scratch: a page's keys or values in f32; queries, sums of values; of each query its greatest score, the sum of its weights, and how
 * many keys it sees, in a vector; scores. Their rows are not a power of two apart, so that they do not meet in the same lines of a cache.
 */
function attend(op: Attention, turn: i32, first: i32, rows: i32, group: i32, head: i32, heads: i32): void {
  const p = op.p, bytes = <usize>p << 2, width = bytes * heads, row = rowBytes(op.heads * p), count = rows * heads;
  const page = own(), queries = page + bytes * PAGE_TOKENS, values = queries + bytes * QUERIES, facts = values + bytes * QUERIES;
  const scores = facts + 16 * QUERIES, keys = positionOf(turn, first + rows), pages = (keys + PAGE_TOKENS - 1) / PAGE_TOKENS;
  const stride = (<usize>(pages * PAGE_TOKENS) << 2) + 64, scale = splat(op.scale);
  for (let t = 0; t < rows; t++) {
    const q = op.q + row * (first + t) + (<usize>(head * p) << 2);
    for (let c: usize = 0; c < width; c += 16) {
      v128.store(queries + width * t + c, v128.load(q + c));
      v128.store(values + width * t + c, zero());
    }
  }
  for (let b = 0; b < pages; b++) {
    const n = min(PAGE_TOKENS, keys - b * PAGE_TOKENS), K = pageAsF32(op.KType, pageOf(turn, b) + op.K, group, op.groups, p, n, page);
    for (let s = 0; s < n; s += 4)
      scoresOf(queries, count, K + bytes * s, bytes, scores + (<usize>(b * PAGE_TOKENS + s) << 2), stride, scale);
  }
  for (let i = 0; i < count; i++) {
    const fact = facts + (<usize>i << 4), seen = positionOf(turn, first + i / heads) + 1;
    store<f32>(fact, greatest(scores + stride * i, seen));
    store<f32>(fact, 0, 4);
    store<i32>(fact, seen, 8);
  }
  for (let b = 0; b < pages; b++) {
    const n = min(PAGE_TOKENS, keys - b * PAGE_TOKENS), V = pageAsF32(op.VType, pageOf(turn, b) + op.V, group, op.groups, p, n, page);
    for (let i = 0; i < count; i++) {
      const fact = facts + (<usize>i << 4), seen = min(n, load<i32>(fact, 8) - b * PAGE_TOKENS);
      if (seen <= 0) continue;
      const weights = scores + stride * i + (<usize>(b * PAGE_TOKENS) << 2);
      store<f32>(fact, load<f32>(fact, 4) + weightsOf(weights, seen, v128.load32_splat(fact)), 4);
      addValues(weights, seen, V, bytes, values + bytes * i);
    }
  }
  for (let i = 0; i < count; i++) {
    const y = op.y + row * (first + i / heads) + (<usize>((head + i % heads) * p) << 2);
    const sum = v128.load32_splat(facts + (<usize>i << 4), 4);
    for (let c: usize = 0; c < bytes; c += 16) v128.store(y + c, f32x4.div(v128.load(values + bytes * i + c), sum));
  }
}

/** The first n rows of a head in a page, and what fills a vector of keys: where they are, or in `to`. */
function pageAsF32(type: i32, state: usize, head: i32, heads: i32, p: i32, n: i32, to: usize): usize {
  const each = bytesOf(type, p), from = state + each * (head * PAGE_TOKENS);
  if (type == STATE_F32) {
    touch(from, each * n, to);
    return from;
  }
  n = (n + 3) & ~3;
  if (type == STATE_F16) readState(type, from, 0, to, n * (p >> 2));
  else {
    const steps = state + each * (heads * PAGE_TOKENS) + (<usize>(head * PAGE_TOKENS) << 2), bytes = <usize>p << 2;
    for (let s = 0; s < n; s++) dequantizeRow(from + each * s, steps + (<usize>s << 2), to + bytes * s, bytes);
  }
  return to;
}

/**
 * Reads a word of each cache line. Lines that lie in memory come all at once then, and not a few at a time while others are multiplied:
 * attention to 4,096 keys takes a token 1.3 to 1.6 times as long without (measured). Of what is read, something is stored at `to`, or a compiler would leave it out.
 */
function touch(from: usize, bytes: usize, to: usize): void {
  let all: i64 = 0;
  for (const end = from + bytes; from < end; from += 64) all |= load<i64>(from);
  store<i64>(to, all);
}

/** The scores of all queries with four keys, two queries at a time. */
function scoresOf(q: usize, count: i32, k: usize, bytes: usize, to: usize, stride: usize, scale: v128): void {
  const k1 = k + bytes, k2 = k1 + bytes, k3 = k2 + bytes;
  for (; count >= 2; count -= 2, q += bytes + bytes, to += stride + stride) {
    const r = q + bytes;
    let a0 = splat(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
    for (let i: usize = 0; i < bytes; i += 16) {
      const x = v128.load(q + i), y = v128.load(r + i);
      let key = v128.load(k + i);
      a0 = add(a0, mul(x, key)); b0 = add(b0, mul(y, key));
      key = v128.load(k1 + i);
      a1 = add(a1, mul(x, key)); b1 = add(b1, mul(y, key));
      key = v128.load(k2 + i);
      a2 = add(a2, mul(x, key)); b2 = add(b2, mul(y, key));
      key = v128.load(k3 + i);
      a3 = add(a3, mul(x, key)); b3 = add(b3, mul(y, key));
    }
    v128.store(to, mul(scale, sumLanes(a0, a1, a2, a3)));
    v128.store(to + stride, mul(scale, sumLanes(b0, b1, b2, b3)));
  }
  if (!count) return;
  let a0 = splat(0), a1 = a0, a2 = a0, a3 = a0;
  for (let i: usize = 0; i < bytes; i += 16) {
    const x = v128.load(q + i);
    a0 = add(a0, mul(x, v128.load(k + i))); a1 = add(a1, mul(x, v128.load(k1 + i)));
    a2 = add(a2, mul(x, v128.load(k2 + i))); a3 = add(a3, mul(x, v128.load(k3 + i)));
  }
  v128.store(to, mul(scale, sumLanes(a0, a1, a2, a3)));
}

/** The maximum of n scores, which NaN is not. */
function greatest(scores: usize, n: i32): f32 {
  let most = splat(-Infinity);
  const whole = scores + (<usize>(n & ~3) << 2), end = scores + (<usize>n << 2);
  for (; scores < whole; scores += 16) most = f32x4.pmax(most, v128.load(scores));
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
  most = f32x4.pmax(most, v128.shuffle<f32>(most, most, 1, 0, 3, 2));
  for (; scores < end; scores += 4) most = f32x4.pmax(most, v128.load32_splat(scores));
  return f32x4.extract_lane(most, 0);
}

/** Weights in place of n scores, and of what fills the last vector. Their sum, key by key. */
function weightsOf(scores: usize, n: i32, most: v128): f32 {
  let sum: f32 = 0;
  for (; n >= 4; n -= 4, scores += 16) {
    const w = exp(sub(v128.load(scores), most));
    v128.store(scores, w);
    sum = sum + f32x4.extract_lane(w, 0) + f32x4.extract_lane(w, 1) + f32x4.extract_lane(w, 2) + f32x4.extract_lane(w, 3);
  }
  if (n) v128.store(scores, exp(sub(v128.load(scores), most)));
  for (; n > 0; n--, scores += 4) sum += load<f32>(scores);
  return sum;
}

/** Adds the sum of n rows of `bytes` bytes by their weights to the row `to`, 32 values at a time. */
function addValues(weights: usize, n: i32, rows: usize, bytes: usize, to: usize): void {
  const end = weights + (<usize>n << 2);
  let c: usize = 0;
  for (; c + 128 <= bytes; c += 128) {
    let a0 = splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
    for (let at = weights, v = rows + c; at < end; at += 4, v += bytes) {
      const w = v128.load32_splat(at);
      a0 = add(a0, mul(w, v128.load(v))); a1 = add(a1, mul(w, v128.load(v, 16)));
      a2 = add(a2, mul(w, v128.load(v, 32))); a3 = add(a3, mul(w, v128.load(v, 48)));
      a4 = add(a4, mul(w, v128.load(v, 64))); a5 = add(a5, mul(w, v128.load(v, 80)));
      a6 = add(a6, mul(w, v128.load(v, 96))); a7 = add(a7, mul(w, v128.load(v, 112)));
    }
    const y = to + c;
    v128.store(y, add(v128.load(y), a0)); v128.store(y, add(v128.load(y, 16), a1), 16);
    v128.store(y, add(v128.load(y, 32), a2), 32); v128.store(y, add(v128.load(y, 48), a3), 48);
    v128.store(y, add(v128.load(y, 64), a4), 64); v128.store(y, add(v128.load(y, 80), a5), 80);
    v128.store(y, add(v128.load(y, 96), a6), 96); v128.store(y, add(v128.load(y, 112), a7), 112);
  }
  for (; c < bytes; c += 16) {
    let a = splat(0);
    for (let at = weights, v = rows + c; at < end; at += 4, v += bytes) a = add(a, mul(v128.load32_splat(at), v128.load(v)));
    v128.store(to + c, add(v128.load(to + c), a));
  }
}
