// A kernel's threads on one thread of a CPU: each has a stack of its own and runs until it has to wait for others.
#pragma once

#include <cstddef>
#include <functional>

#include "cuda_runtime_api.h"

namespace emulated {

/** Runs a kernel to its end. `together`: its blocks run side by side and may wait for each other; else one after another. */
void run(const char* name, const Config& config, bool together, const std::function<void()>& kernel);

/** Says, with the kernel and the thread, what the present launch violates, and aborts. */
[[noreturn]] void fail(const char* format, ...);

/** Waits for all threads of the block that have not ended. */
void barrier();

/**
 * Waits until all lanes of `mask` that have not ended have come, each with something of its own; the last one then calls
 * `whole` for all of them: by lane, null where none has come. `what` names the operation.
 */
using Whole = void (*)(void* const (&lanes)[32]);
void meet(const char* what, unsigned mask, void* own, Whole whole);

/** In a loop that waits for others: lets them run. */
void yield();
/** Others may have waited for what this thread has done. */
void progress();

/** Where the present thread is in its warp. */
int lane();

/** The block's variable of a declaration; its memory of the size that the launch says. */
void* shared(int declaration, size_t bytes, size_t alignment);
void* dynamicShared();
template <class T>
T& shared(int declaration, size_t alignment) {
  return *static_cast<T*>(shared(declaration, sizeof(T), alignment));
}

/** Copies (zeros where `from` is null) that this thread begins, makes a group, and waits for but for the youngest groups. */
void copyAsync(void* to, const void* from, size_t bytes);
void commitCopies();
void waitForCopies(size_t youngest);

}  // namespace emulated
