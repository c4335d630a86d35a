// Divides a call's work among threads: parts, their order, and the sums of the parts.
#pragma once

#include "kernels.hpp"

namespace leaky {

// y from x, and dx from dy. `fresh` says that the target was never written to: its pages are then made as it is written,
// in huge ones where those are to be had, and streaming would send them through memory twice.
void run_forward(const Kernels& kernels, Forward call, bool fresh, int threads);
void run_backward(const Kernels& kernels, Backward call, bool fresh, int threads);

// Copies bytes with streaming stores; `target` is aligned to 64 bytes.
void run_copy(const Kernels& kernels, const char* source, char* target, int64_t bytes, int threads);

// Adds one call's statistics to `sums`, [ROWS][units].
void gather(const Kernels& kernels, Statistics call, double* sums, int64_t batch, bool fresh, int threads);

// Adds one call's sums of the gradient to `sums`, [GRADIENT_ROWS][units].
void gather_gradient(const Kernels& kernels, const GradientStatistics& call, double* sums, int threads);

// Adds a batch's flags, [samples][units], to the rows FIRED and LAST_FIRED of `sums` and clears them.
void count_fired(uint8_t* fired, int64_t samples, int64_t units, double* sums, int64_t batch);

// Bytes of output from which streaming stores pay; see `python -m benchmarks.activation`.
extern int64_t streaming_bytes;

}  // namespace leaky
