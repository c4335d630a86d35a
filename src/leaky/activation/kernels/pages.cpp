#include "pages.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>
#endif

namespace leaky {
namespace {

constexpr int64_t WORTHWHILE = HUGE_PAGE;  // bytes: less cannot hold one

}  // namespace

#if defined(__linux__) && defined(MADV_HUGEPAGE)

bool gives_huge_pages() {
    static const bool gives = [] {
        std::string setting;
        std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
        std::getline(file, setting);
        return setting.find("[madvise]") != std::string::npos || setting.find("[always]") != std::string::npos;
    }();
    return gives;
}

void ask_for_huge_pages(void* begin, int64_t bytes) {
    if (bytes < WORTHWHILE || !gives_huge_pages()) return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t first = ((uintptr_t)begin + page - 1) / page * page;
    const uintptr_t last = ((uintptr_t)begin + (uintptr_t)bytes) / page * page;
    madvise((void*)first, last - first, MADV_HUGEPAGE);  // refused or not, the memory is as good as it was
}

#else

bool gives_huge_pages() { return false; }
void ask_for_huge_pages(void*, int64_t) { (void)WORTHWHILE; }

#endif

}  // namespace leaky
