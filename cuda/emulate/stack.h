// A stack to run on, and the switch to another.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstring>
#include <new>

#ifndef __x86_64__
#include <ucontext.h>
#else
// Keeps what a call may not change on the present stack, and returns on the other. swapcontext makes system calls: with it
// whole tests take twelve times as long.
extern "C" __attribute__((visibility("hidden"))) void quambaSwitchStack(void** from, void* to);
#endif

namespace emulated {

/** Something that has stopped, and can go on: by default what goes to another for the first time. */
class Context {
 public:
#ifdef __x86_64__
  /** It will begin with f, which does not return. */
  void begin(char* end, size_t, void (*f)()) {
    void** frame = reinterpret_cast<void**>(end) - 8;  // six registers, where to return to, and what aligns it
    std::memset(frame, 0, 8 * sizeof *frame);
    frame[6] = reinterpret_cast<void*>(f);
    stopped = frame;
  }
  void goTo(Context& other) { quambaSwitchStack(&stopped, other.stopped); }

 private:
  void* stopped;
#else
  void begin(char* end, size_t size, void (*f)()) {
    getcontext(&stopped);
    stopped.uc_stack.ss_sp = end - size;
    stopped.uc_stack.ss_size = size;
    makecontext(&stopped, f, 0);
  }
  void goTo(Context& other) { swapcontext(&stopped, &other.stopped); }

 private:
  ucontext_t stopped;
#endif
};

/** The page at its low end cannot be written, so that what grows beyond it ends there. Never freed. */
class Stack {
 public:
  static constexpr size_t SIZE = 256 * 1024;

  Stack() {
    void* memory = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, PAGE, PROT_NONE);
    low = static_cast<char*>(memory);
  }

  /** f is to begin so many bytes from its end: stacks that end at the same place of a page share few lines of the caches. */
  void begin(Context& context, size_t offset, void (*f)()) { context.begin(low + SIZE - offset, SIZE - PAGE - offset, f); }

 private:
  static constexpr size_t PAGE = 4096;
  char* low;
};

}  // namespace emulated
