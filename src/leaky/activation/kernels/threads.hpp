// Threads that share one call's tasks: no more than asked for, and still right in a child process after fork().
#pragma once

#include <cstdint>
#include <functional>

namespace leaky {

// Runs task(0) … task(count − 1), each once, in any order, on the caller and up to `threads` − 1 helpers.
//
// The helpers are torch's own OpenMP threads where torch is loaded: those go on spinning for milliseconds after each of
// torch's operations, and helpers beside them would share their cores. Elsewhere, and in a forked child, which torch's
// threads do not survive, they are a pool of our own; there the caller never waits for a helper that has not begun, and
// a second caller at the same time runs its tasks alone.
void run_tasks(int64_t count, int threads, const std::function<void(int64_t)>& task);

}  // namespace leaky
