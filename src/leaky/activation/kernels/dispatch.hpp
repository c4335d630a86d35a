// Which instruction set's kernels run: the best that the processor has, or the one asked for.
#pragma once

#include <string>
#include <vector>

#include "kernels.hpp"
#include "summaries.hpp"

namespace leaky {

// The kernels in use.
const Kernels& kernels();

// Their summaries.
const Summaries& summaries();

// What this build and this processor have, the best last.
std::vector<std::string> instruction_sets();

// Chooses by name, the best for an empty one; false if this build or processor has no such set.
bool use(const std::string& name);

}  // namespace leaky
