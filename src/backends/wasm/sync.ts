/**
 * What JavaScript and the kernels tell each other beside the instructions: words in linear memory, directly behind the data of the
 * kernels. threads.ts, machine.ts and assembly/, which imports this file, write them. What different threads write lies on
 * different cache lines.
 */
export const SYNC = 65536;
const SYNC_BYTES = 1024;

/** Changes when threads that sleep until an instruction is done are to look again. */
export const WAKE = SYNC + 128;
/** How many threads sleep. */
export const SLEEPERS = SYNC + 256;

/** How many jobs there have been. */
export const JOB = SYNC + 384;
/** The job: instructions from `AT` to `END` on `ROWS` rows, for `THREADS` threads. */
export const AT = SYNC + 388;
export const END = SYNC + 392;
export const ROWS = SYNC + 396;
export const THREADS = SYNC + 400;
/** The first thread's own scratch, and the bytes from one thread's to the next's. */
export const OWN = SYNC + 404;
export const OWN_BYTES = SYNC + 408;

/** How many threads have joined the first one. */
export const JOINED = SYNC + 512;
/** Not 0: all threads are to end. */
export const QUIT = SYNC + 516;
/** For how many seconds a thread waits for the others until it takes them for lost. */
export const TIMEOUT = SYNC + 520;
/** Whether the first thread may sleep: that of a page may not. */
export const MAY_SLEEP = SYNC + 524;

/** The instruction that met a NaN, or 0; and the index of that NaN, in row-major order. */
export const FAILED = SYNC + 640;
export const FAILED_INDEX = SYNC + 644;

/** What `run` returns when a thread did not come back. */
export const LOST = 1;

/**
 * The turns of a pass: how many there are, then for each of them where its sequence is, and which rows are its own. Only the
 * kernels that carry a state read them: to all others the rows of different sequences are alike.
 */
export const TURNS = SYNC + SYNC_BYTES;
/**
 * Of a turn: the bytes from the first place to that of its sequence, its first row, the end of its rows, the tokens of its text before
 * them, and the table of its pages; i32.
 */
export const TURN_BYTES = 20;
/** Tokens of a page of the states that grow: a block of the sums of attention. */
export const PAGE_TOKENS = 128;
/** Rows of one pass: enough that a tile of weights serves many, few enough that they stay in the cache. */
export const PASS_ROWS = 128;
export const TURNS_BYTES = 4096;
