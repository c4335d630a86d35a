#include "dispatch.hpp"

namespace leaky_baseline {
extern const leaky::Kernels kernels;
extern const leaky::Summaries summaries;
}
#if defined(LEAKY_AVX2)
namespace leaky_avx2 {
extern const leaky::Kernels kernels;
extern const leaky::Summaries summaries;
}
#endif
#if defined(LEAKY_AVX512)
namespace leaky_avx512 {
extern const leaky::Kernels kernels;
extern const leaky::Summaries summaries;
}
#endif

namespace leaky {
namespace {

#if defined(LEAKY_AVX2) || defined(LEAKY_AVX512)
bool runs_avx2() {
    __builtin_cpu_init();
    // f16c has no name of its own in older compilers; every processor with AVX2 has it.
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}
#endif

std::vector<const Kernels*> available() {
    std::vector<const Kernels*> found = {&leaky_baseline::kernels};
#if defined(LEAKY_AVX2)
    if (runs_avx2()) found.push_back(&leaky_avx2::kernels);
#endif
#if defined(LEAKY_AVX512)
    if (runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        found.push_back(&leaky_avx512::kernels);
    }
#endif
    return found;
}

const Kernels* chosen = available().back();

}  // namespace

const Kernels& kernels() { return *chosen; }

const Summaries& summaries() {
#if defined(LEAKY_AVX512)
    if (chosen == &leaky_avx512::kernels) return leaky_avx512::summaries;
#endif
#if defined(LEAKY_AVX2)
    if (chosen == &leaky_avx2::kernels) return leaky_avx2::summaries;
#endif
    return leaky_baseline::summaries;
}

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (const Kernels* each : available()) names.push_back(each->name);
    return names;
}

bool use(const std::string& name) {
    for (const Kernels* each : available()) {
        if (name.empty() || name == each->name) {
            chosen = name.empty() ? available().back() : each;
            return true;
        }
    }
    return false;
}

}  // namespace leaky
