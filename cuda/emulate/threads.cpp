#include "threads.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <vector>

#include "cuda_runtime.h"
#include "shared-memory.h"
#include "stack.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#ifdef __x86_64__
asm(R"(
.text
.local quambaSwitchStack
quambaSwitchStack:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret
)");
#endif

namespace emulated {

namespace {

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  int group;
};

struct Block;

struct Thread {
  Stack stack;
  Context context;
  Block* block;
  uint3 index;
  unsigned number;  // in the block
  Thread* next;     // in its queue
  std::vector<Copy> copies;
  int group;  // of the copies to come
};

class Queue {
 public:
  void push(Thread* thread) {
    thread->next = nullptr;
    (first ? last->next : first) = thread;
    last = thread;
  }
  Thread* pop() {
    Thread* thread = first;
    if (first) first = first->next;
    return thread;
  }

 private:
  Thread *first = nullptr, *last = nullptr;
};

/** Lanes that wait for the others of a mask. */
struct Meeting {
  const char* what;
  unsigned mask, come = 0;
  Whole whole;
  void* lanes[32];
  Queue waiting;
};

struct Warp {
  unsigned live, open = 0;  // lanes that have not ended; meetings that have begun
  Meeting meetings[32];     // by the lowest lane of the mask

  /** Whether it ends, because all have come. */
  bool endMeeting(Meeting& meeting);
};

struct Block {
  uint3 index;
  unsigned live, atBarrier;
  Queue waiting;  // at the barrier
  std::vector<Warp> warps = std::vector<Warp>(32);
  SharedMemory shared;

  bool endBarrier();
};

/** Threads start in the opposite order, and copies are done when they begin, not when they are waited for. */
const bool reversed = std::getenv("QUAMBA_EMULATE_REVERSED");

std::mutex oneLaunch;
const char* kernelName = "(none)";
const std::function<void()>* kernelBody;
std::deque<Thread> threads;
std::deque<Block> blocks;
Context host;
Thread* current;
Queue ready;
size_t alive, idle;  // threads that have not ended; yields since anything happened

void release(Queue& waiting) {
  while (Thread* thread = waiting.pop()) ready.push(thread);
  idle = 0;
}

bool Block::endBarrier() {
  if (atBarrier < live) return false;
  atBarrier = 0;
  release(waiting);
  return true;
}

bool Warp::endMeeting(Meeting& meeting) {
  if (meeting.come != (meeting.mask & live)) return false;
  meeting.come = 0;
  open &= ~(1u << (&meeting - meetings));
  meeting.whole(meeting.lanes);
  release(meeting.waiting);
  return true;
}

void become(Thread* thread) {
  current = thread;
  threadIdx = thread->index;
  blockIdx = thread->block->index;
}

/** Goes on with the next thread that can, with the host where there is none. */
void leave() {
  Thread* me = current;
  Thread* next = ready.pop();
  if (next == me) return;
  if (next) become(next);
  me->context.goTo(next ? next->context : host);
}

/** A thread from its beginning to its end. */
void live() {
  (*kernelBody)();
  Block& block = *current->block;
  Warp& warp = block.warps[current->number / 32];
  warp.live &= ~(1u << lane());
  block.live--, alive--, idle = 0;
  for (unsigned open = warp.open; open; open &= open - 1) warp.endMeeting(warp.meetings[__builtin_ctz(open)]);
  if (block.atBarrier) block.endBarrier();
  leave();
}

/** The threads of a block, ready to run. */
void enter(Block& block, size_t firstThread, uint3 index, const Config& config) {
  const dim3 size = config.block;
  const unsigned count = size.x * size.y * size.z;
  block.index = index;
  block.live = count, block.atBarrier = 0;
  for (unsigned w = 0; 32 * w < count; w++) block.warps[w].live = count - 32 * w >= 32 ? ~0u : (1u << count % 32) - 1;
  block.shared.reset(config.shared);
  if (threads.size() < firstThread + count) threads.resize(firstThread + count);
  for (unsigned i = 0; i < count; i++) {
    const unsigned number = reversed ? count - 1 - i : i;
    Thread& thread = threads[firstThread + number];
    thread.block = &block;
    thread.index = {number % size.x, number / size.x % size.y, number / size.x / size.y};
    thread.number = number;
    thread.copies.clear(), thread.group = 0;
    thread.stack.begin(thread.context, number % 32 * 128, live);
    ready.push(&thread);
  }
  alive += count;
}

[[noreturn]] void failDeadlock() {
  for (auto& block : blocks) {
    blockIdx = block.index;
    for (auto& warp : block.warps)
      for (auto& meeting : warp.meetings)
        if (meeting.come)
          fail("deadlock: lanes %08x of a warp wait at %s for lanes %08x", meeting.come, meeting.what, meeting.mask);
  }
  for (auto& block : blocks) {
    blockIdx = block.index;
    if (block.atBarrier) fail("deadlock: %u of %u threads wait at __syncthreads", block.atBarrier, block.live);
  }
  fail("deadlock");
}

void runAll(size_t running) {
  become(ready.pop());
  host.goTo(current->context);
  if (alive > 0) failDeadlock();
  for (size_t b = 0; b < running; b++)
    if (!blocks[b].shared.isIntact()) fail("a write beyond the end of a variable in shared memory");
}

}  // namespace

void fail(const char* format, ...) {
  va_list values;
  va_start(values, format);
  std::fprintf(stderr, "emulated kernel %s, block (%u, %u, %u), thread (%u, %u, %u): ", kernelName, blockIdx.x, blockIdx.y,
               blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
  std::vfprintf(stderr, format, values);
  std::fprintf(stderr, "\n");
  std::abort();
}

void run(const char* name, const Config& config, bool together, const std::function<void()>& kernel) {
  const std::lock_guard<std::mutex> only(oneLaunch);
  kernelName = name, kernelBody = &kernel;
  gridDim = config.grid, blockDim = config.block;
  const size_t count = size_t{1} * gridDim.x * gridDim.y * gridDim.z;
  const size_t size = size_t{1} * blockDim.x * blockDim.y * blockDim.z;
  const size_t running = together ? count : 1;
  if (blocks.size() < running) blocks.resize(running);
  alive = 0, idle = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t b = reversed ? count - 1 - i : i;
    Block& block = blocks[together ? b : 0];
    enter(block, together ? b * size : 0,
          {static_cast<unsigned>(b % gridDim.x), static_cast<unsigned>(b / gridDim.x % gridDim.y),
           static_cast<unsigned>(b / gridDim.x / gridDim.y)},
          config);
    if (!together) runAll(running);
  }
  if (together) runAll(running);
}

void barrier() {
  Block& block = *current->block;
  block.atBarrier++;
  if (block.endBarrier()) return;
  block.waiting.push(current);
  leave();
}

void meet(const char* what, unsigned mask, void* own, Whole whole) {
  Warp& warp = current->block->warps[current->number / 32];
  if (!(mask >> lane() & 1)) fail("%s with mask %08x, in which lane %d is not", what, mask, lane());
  Meeting& meeting = warp.meetings[__builtin_ctz(mask)];
  if (!meeting.come) {
    meeting.what = what, meeting.mask = mask, meeting.whole = whole;
    std::memset(meeting.lanes, 0, sizeof meeting.lanes);
    warp.open |= mask & -mask;
  } else if (meeting.mask != mask || meeting.whole != whole) {
    fail("%s with mask %08x, while other lanes wait at %s with mask %08x", what, mask, meeting.what, meeting.mask);
  }
  meeting.come |= 1u << lane();
  meeting.lanes[lane()] = own;
  if (warp.endMeeting(meeting)) return;
  meeting.waiting.push(current);
  leave();
}

void yield() {
  if (idle++ > 10000 * alive) fail("deadlock: all wait for each other in loops");
  ready.push(current);
  leave();
}

void progress() { idle = 0; }

int lane() { return current->number % 32; }

void* shared(int declaration, size_t bytes, size_t alignment) {
  return current->block->shared.find(declaration, bytes, alignment);
}

void* dynamicShared() { return current->block->shared.start(); }

static void perform(const Copy& copy) {
  if (copy.from) std::memcpy(copy.to, copy.from, copy.bytes);
  else std::memset(copy.to, 0, copy.bytes);
}

void copyAsync(void* to, const void* from, size_t bytes) {
  current->copies.push_back({to, from, bytes, current->group});
  if (reversed) perform(current->copies.back());
}

void commitCopies() { current->group++; }

void waitForCopies(size_t youngest) {
  auto& copies = current->copies;
  size_t done = 0;
  for (; done < copies.size() && copies[done].group + static_cast<int>(youngest) < current->group; done++)
    if (!reversed) perform(copies[done]);
  copies.erase(copies.begin(), copies.begin() + done);
}

}  // namespace emulated
