// Memory that the system hands out afresh, page by page, at the first write.
#pragma once

#include <stdint.h>

namespace leaky {

constexpr int64_t HUGE_PAGE = 2 << 20;  // of the usual processors

// Whether the system gives huge pages to who asks for them.
bool gives_huge_pages();

// Asks for huge pages behind memory that is to be written for the first time: one fault for each in place of 512.
// Nothing but time depends on it. Small outputs are left alone, which the allocator serves from memory it has.
void ask_for_huge_pages(void* begin, int64_t bytes);

}  // namespace leaky
