/**
 * The worker that owns a child process: a frame in, the child's frame out. It is kept as text so that the same one runs from
 * dist, from the sources and in a test; plain JavaScript, and nothing of this package.
 *
 *   request   { hello: true }  |  { frame, most }  |  { end: true }      most: bytes of data that the answer may have
 *   reply     { header, data }  |  { failure }  |  {}                    both as bytes
 *
 * `signal` counts the replies; it is raised when one is on its way.
 */
export const EXEC_WORKER = String.raw`
const { workerData: { command, timeout, signal, port } } = require('node:worker_threads');
const { spawn } = require('node:child_process');
const { writeSync } = require('node:fs');

const MOST_HEADER = 1 << 20;
const HELLO = Buffer.from('{"hello":1}');

let child;        // the running one
let death;        // how it ended while nobody waited
let waiting;      // who waits for a frame: { most, settle }
let chunks = [];  // what came of the next frame
let size = 0;

function start() {
  const own = spawn(command[0], command.slice(1), { stdio: 'pipe', windowsHide: true });
  let words = '';
  child = own;
  death = undefined;
  chunks = [];
  size = 0;
  own.stdin.on('error', () => {}); // that it ended is told below
  own.stdout.on('data', chunk => {
    if (own !== child) return;
    chunks.push(chunk);
    size += chunk.length;
    if (waiting) read();
  });
  own.stderr.on('data', chunk => {
    words = (words + chunk).slice(-4096);
    try {
      writeSync(2, chunk); // its author wants to read it, and the main thread is waiting
    } catch {}
  });
  const gone = how => {
    if (own !== child) return;
    child = undefined;
    const last = words.trimEnd().split('\n').pop().trim();
    death = how + (last ? '; the last line on its stderr: ' + last : '');
    if (waiting) fail(death);
  };
  own.on('error', error => gone('cannot be started (' + (error.code || error.message) + ')'));
  own.on('close', (code, by) => gone(by ? 'was ended by ' + by : 'ended with exit code ' + code));
}

function fail(failure) {
  const { settle } = waiting;
  death = waiting = undefined;
  settle({ failure });
}

/** A child that cannot be trusted any more. The next request starts another. */
function giveUp(failure) {
  const own = child;
  child = undefined;
  own.kill('SIGKILL');
  fail(failure);
}

function read() {
  if (size < 8) return;
  if (chunks[0].length < 8) chunks = [Buffer.concat(chunks)];
  const header = chunks[0].readUInt32LE(0);
  const data = chunks[0].readUInt32LE(4);
  if (header > MOST_HEADER)
    return giveUp('sent what is no frame, beginning with ' + JSON.stringify(chunks[0].toString('latin1', 0, 24)));
  if (data > waiting.most)
    return giveUp('answered with ' + data + ' bytes of data where there can be at most ' + waiting.most);
  if (size < 8 + header + data) return;
  const frame = Buffer.concat(chunks);
  if (size > 8 + header + data)
    return giveUp('sent ' + (size - 8 - header - data) + ' bytes more than its answer');
  chunks = [];
  size = 0;
  const { settle } = waiting;
  waiting = undefined;
  settle({ header: new Uint8Array(frame.subarray(8, 8 + header)), data: new Uint8Array(frame.subarray(8 + header)) });
}

/** Sends a frame and waits for the answer. */
function exchange(pieces, most) {
  return new Promise(resolve => {
    const timer = setTimeout(() => giveUp('did not answer within ' + timeout / 1000 + ' s'), timeout);
    waiting = {
      most,
      settle: reply => {
        clearTimeout(timer);
        resolve(reply);
      },
    };
    if (death) return fail(death + ', after its last answer');
    if (size) return giveUp('sent ' + size + ' bytes that nobody asked for');
    for (const piece of pieces) child.stdin.write(piece);
  });
}

/** Where no child runs, one is started and greeted. A death that nobody heard of is told first. */
async function greeted() {
  if (child || death) return {};
  start();
  return exchange([Uint8Array.of(HELLO.length, 0, 0, 0, 0, 0, 0, 0), HELLO], 0);
}

/** It ends at the end of its stdin, or is made to. */
async function end() {
  const own = child;
  if (!own || own.exitCode !== null || own.signalCode !== null) return {};
  await new Promise(resolve => {
    own.on('exit', resolve);
    own.stdin.end();
    setTimeout(() => own.kill('SIGKILL'), 1000);
  });
  return {};
}

async function answer({ hello, frame, most, end: ending }) {
  if (ending) return end();
  const greeting = await greeted();
  return hello || greeting.failure ? greeting : exchange([frame], most);
}

port.on('message', async request => {
  const reply = await answer(request);
  port.postMessage(reply, reply.data ? [reply.header.buffer, reply.data.buffer] : []);
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
});
`;
