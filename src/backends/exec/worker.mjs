// @ts-check
/**
 * The worker that owns the process of a backend: a frame goes in, the program's frame comes back.
 *
 * It is JavaScript, so that Node can start this very file as a worker both from the sources (in a test) and from dist.
 * `signal` counts the replies. It is raised after a reply has been posted.
 */
import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

/**
 * @typedef {import('./index.ts').Request} Request
 * @typedef {import('./index.ts').Reply} Reply
 * @typedef {{ most: number, settle: (reply: Reply) => void }} Waiting
 */

/** @type {import('./index.ts').WorkerData} */
const { command, timeout, signal, port } = workerData;

const MOST_HEADER = 1 << 20;
const HELLO = Buffer.from('{"hello":1}');
/** How long a program may take to end after the end of its stdin, in milliseconds. */
const END_TIMEOUT = 1000;

/** @type {import('node:child_process').ChildProcessWithoutNullStreams | undefined} the running program */
let child;
/** @type {string | undefined} how it ended while nobody waited for an answer */
let death;
/** @type {Waiting | undefined} who waits for a frame */
let waiting;
/** @type {Buffer[]} what has come of the next frame */
let chunks = [];
let size = 0;

function start() {
  const own = spawn(command[0], command.slice(1), { stdio: 'pipe', windowsHide: true });
  let words = '';
  child = own;
  death = undefined;
  chunks = [];
  size = 0;
  own.stdin.on('error', () => {}); // the end of the program is reported by `close`
  own.stdout.on('data', chunk => {
    if (own !== child) return;
    chunks.push(chunk);
    size += chunk.length;
    if (waiting) read(waiting);
  });
  own.stderr.on('data', chunk => {
    words = (words + chunk).slice(-4096);
    try {
      writeSync(2, chunk); // at once, because the main thread is asleep and cannot print it
    } catch {}
  });
  /** @param {string} how */
  const gone = how => {
    if (own !== child) return;
    child = undefined;
    const last = words.trimEnd().split('\n').at(-1)?.trim();
    death = how + (last ? `; the last line on its stderr: ${last}` : '');
    if (waiting) fail(death);
  };
  own.on('error', error =>
    gone(`cannot be started (${/** @type {NodeJS.ErrnoException} */ (error).code || error.message})`),
  );
  own.on('close', (code, by) => gone(by ? `was ended by ${by}` : `ended with exit code ${code}`));
}

/** @param {string} failure */
function fail(failure) {
  death = undefined;
  waiting?.settle({ failure });
}

/**
 * Ends a program that cannot be trusted any more. The next request starts another.
 *
 * @param {string} failure
 */
function abandon(failure) {
  const own = child;
  child = undefined;
  own?.kill('SIGKILL');
  fail(failure);
}

/** @param {Waiting} asked */
function read({ most, settle }) {
  if (size < 8) return;
  if (chunks[0].length < 8) chunks = [Buffer.concat(chunks)];
  const header = chunks[0].readUInt32LE(0);
  const data = chunks[0].readUInt32LE(4);
  if (header > MOST_HEADER)
    return abandon(
      `sent what is no frame, beginning with ${JSON.stringify(chunks[0].toString('latin1', 0, 24))}`,
    );
  if (data > most) return abandon(`answered with ${data} bytes of data where there can be at most ${most}`);
  if (size < 8 + header + data) return;
  const frame = Buffer.concat(chunks);
  if (size > 8 + header + data) return abandon(`sent ${size - 8 - header - data} bytes more than its answer`);
  chunks = [];
  size = 0;
  settle({
    header: new Uint8Array(frame.subarray(8, 8 + header)),
    data: new Uint8Array(frame.subarray(8 + header)),
  });
}

/**
 * Sends a frame and waits for the answer.
 *
 * @param {readonly Uint8Array[]} pieces
 * @param {number} most bytes of data that the answer may have
 * @returns {Promise<Reply>}
 */
function exchange(pieces, most) {
  return new Promise(resolve => {
    const timer = setTimeout(() => abandon(`did not answer within ${timeout / 1000} s`), timeout);
    waiting = {
      most,
      settle: reply => {
        waiting = undefined;
        clearTimeout(timer);
        resolve(reply);
      },
    };
    if (death) return fail(`${death}, after its last answer`);
    if (size) return abandon(`sent ${size} bytes that nobody asked for`);
    for (const piece of pieces) child?.stdin.write(piece);
  });
}

/**
 * Starts and greets the program where none runs. One that ended unnoticed is reported first, by the next exchange.
 *
 * @returns {Promise<Reply>}
 */
async function greeted() {
  if (child || death) return {};
  start();
  return exchange([Uint8Array.of(HELLO.length, 0, 0, 0, 0, 0, 0, 0), HELLO], 0);
}

/** The program ends at the end of its stdin, or is killed. */
async function end() {
  const own = child;
  if (!own || own.exitCode !== null || own.signalCode !== null) return;
  await new Promise(resolve => {
    own.on('exit', resolve);
    own.stdin.end();
    setTimeout(() => own.kill('SIGKILL'), END_TIMEOUT);
  });
}

/**
 * @param {Request} request
 * @returns {Promise<Reply>}
 */
async function answer(request) {
  if ('end' in request) {
    await end();
    return {};
  }
  const greeting = await greeted();
  if ('hello' in request || greeting.failure) return greeting;
  return exchange([request.frame], request.most);
}

port.on('message', async request => {
  const reply = await answer(request);
  port.postMessage(reply, reply.header && reply.data ? [reply.header.buffer, reply.data.buffer] : []);
  Atomics.add(signal, 0, 1);
  Atomics.notify(signal, 0);
});
