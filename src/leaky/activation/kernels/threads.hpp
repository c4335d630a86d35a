// Threads that share one call's tasks: no more than asked for, and still right in a child process after fork().
#pragma once

#include <cstdint>
#include <functional>

namespace leaky {

// Runs task(0) … task(count − 1), each once, in any order, on the caller and up to `threads` − 1 helpers.
//
// The caller works too and never waits for a helper that has not begun: a helper that the system wakes late costs
// nothing but its help. A second caller at the same time runs its tasks alone.
void run_tasks(int64_t count, int threads, const std::function<void(int64_t)>& task);

}  // namespace leaky
