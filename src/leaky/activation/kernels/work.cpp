#include "work.hpp"

#include <unistd.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "pages.hpp"
#include "threads.hpp"

namespace leaky {

namespace {

// Outputs past three eighths of the last-level cache go past it; large caches are shared by more cores than two.
int64_t measured_streaming_bytes() {
    int64_t cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    return std::clamp<int64_t>(cache * 3 / 8, int64_t{8} << 20, int64_t{16} << 20);
}

}  // namespace

int64_t streaming_bytes = measured_streaming_bytes();

namespace {

constexpr int64_t ALONE = 3 << 18;       // elements below which a second thread costs more than it brings
constexpr int64_t ALONE_IN_SUMS = 1 << 16;  // of sums, for several cores have just written what they are of
constexpr int64_t PER_PART = 1 << 19;    // elements that are worth a part of their own
constexpr int64_t MOST_PARTS = 16;       // enough for threads that are delayed to matter little
constexpr int64_t SLAB_STEP = 16;        // what the kernels take at once
constexpr int64_t UNIT_STEP = 64;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the slabs and units are divided. It depends on the sizes alone, so that the sums are the same, to the last bit,
// for any number of threads.
struct Parts {
    int64_t slabs, units, slab_step, unit_step;

    explicit Parts(const Layout& layout) {
        const int64_t all = layout.outer * layout.samples * layout.middle;
        const int64_t elements = all * layout.units * layout.inner;
        const int64_t wanted = elements < ALONE_IN_SUMS ? 1 : std::clamp<int64_t>(elements / PER_PART, 2, MOST_PARTS);
        const int64_t step = layout.inner > 1 ? 1 : UNIT_STEP;
        // Each part of the slabs has sums of its own: no more of them than cost little to add up.
        const int64_t least = layout.units >= 2 * step ? 1 : 2;
        const int64_t affordable = std::max<int64_t>(least, all * layout.inner / (64 * SUM_ROWS));
        slab_step = divide_up(all, std::min(wanted, affordable));
        if (slab_step > SLAB_STEP) slab_step = divide_up(slab_step, SLAB_STEP) * SLAB_STEP;
        slabs = divide_up(all, slab_step);
        unit_step = divide_up(divide_up(layout.units, divide_up(wanted, slabs)), step) * step;
        units = divide_up(layout.units, unit_step);
    }
};

int64_t size_of(Type type) { return type == FLOAT64 ? 8 : type == FLOAT32 ? 4 : 2; }

constexpr int64_t CHUNK_BYTES = 512 << 10;  // what a thread takes at once
constexpr int64_t ALIGNMENT = 64;           // of columns where a task begins, in elements: whole words of bit planes

// Whether stores should go past the cache. With bit planes a stretch cannot begin at any element that is aligned.
template <class Call>
Writing elementwise_writing(const Call& call, bool fresh, bool any_start) {
    const int64_t size = size_of(call.type);
    if (fresh || call.rows * call.length * size < streaming_bytes) return CACHED;
    const bool aligned = ((uintptr_t)call.target | (uintptr_t)(call.rows > 1 ? call.length * size : 0)) % 64 == 0;
    return aligned || (any_start && call.length >= 4096 && (uintptr_t)call.target % size == 0) ? STREAMED : CACHED;
}

// A row in tasks. Where memory is fresh, each is a huge page: two threads that meet the same one would both clear it.
struct Columns {
    int64_t length, chunk, first;

    Columns(const void* target, int64_t length, int64_t size, bool fresh) : length(length) {
        chunk = (fresh ? HUGE_PAGE : CHUNK_BYTES) / size;
        const int64_t left = (HUGE_PAGE - (int64_t)((uintptr_t)target % HUGE_PAGE)) / size / ALIGNMENT * ALIGNMENT;
        first = fresh && left ? left : chunk;
    }
    int64_t tasks() const { return length <= first ? 1 : 1 + divide_up(length - first, chunk); }
    Range at(int64_t task) const {
        const int64_t begin = task ? first + (task - 1) * chunk : 0;
        return {begin, std::min(length, first + task * chunk)};
    }
};

// Divides rows among tasks, or single rows where they are long.
template <class Call, class Kernel>
void run_rows(const Call& call, bool fresh, int threads, Kernel kernel) {
    const int64_t elements = call.rows * call.length, size = size_of(call.type);
    if (elements == 0) return;
    if (fresh) ask_for_huge_pages(call.target, elements * size);
    if (elements < ALONE || threads <= 1) return kernel(call, Range{0, call.rows}, Range{0, call.length});
    const Columns columns(call.target, call.length, size, fresh && call.rows == 1);
    const int64_t together = std::max<int64_t>(1, (fresh ? HUGE_PAGE : CHUNK_BYTES) / (call.length * size));
    const int64_t across = columns.tasks();
    run_tasks(divide_up(call.rows, together) * across, threads, [&](int64_t task) {
        const int64_t row = task / across * together;
        kernel(call, Range{row, std::min(row + together, call.rows)}, columns.at(task % across));
    });
}

void clear(double* sums, Range columns, int64_t units) {
    for (int row = 0; row < SUM_ROWS; ++row) {
        const double start = row == MINIMUM   ? std::numeric_limits<double>::infinity()
                             : row == MAXIMUM ? -std::numeric_limits<double>::infinity()
                                              : 0.0;
        std::fill(sums + row * units + columns.begin, sums + row * units + columns.end, start);
    }
}

void add(const double* part, double* sums, int64_t units, bool bounded) {
    for (int row = 0; row < SUM_ROWS; ++row) {
        const int region = row % 4;
        if (!bounded && row < MINIMUM && (region == BEYOND_LOW || region == BEYOND_HIGH)) {
            const double* nothing = part + row * units;
            if (std::all_of(nothing, nothing + units, [](double value) { return value == 0; })) continue;
        }
        const double* from = part + row * units;
        double* to = sums + row * units;
        for (int64_t u = 0; u < units; ++u) {
            if (row == MINIMUM) {
                to[u] = std::min(to[u], from[u]);
            } else if (row == MAXIMUM) {
                to[u] = std::max(to[u], from[u]);
            } else {
                to[u] += from[u];
            }
        }
    }
}

// Memory that a thread keeps from call to call: fresh pages would cost more than the sums.
struct Scratch {
    std::vector<double> sums, before;
    std::vector<float> shifts;
    std::vector<uint8_t> flags;
};

// Where each element is a sample of its own, a unit fired as often as it was counted above its threshold.
void copy_above(const double* sums, int64_t units, std::vector<double>& above) {
    above.resize(units);
    for (int64_t u = 0; u < units; ++u) {
        above[u] = sums[(COUNTS + LINEAR) * units + u] + sums[(COUNTS + BEYOND_HIGH) * units + u];
    }
}

void count_elements(const std::vector<double>& before, double* sums, int64_t units, int64_t batch) {
    for (int64_t u = 0; u < units; ++u) {
        const double fired =
            sums[(COUNTS + LINEAR) * units + u] + sums[(COUNTS + BEYOND_HIGH) * units + u] - before[u];
        sums[FIRED * units + u] += fired;
        if (fired > 0) sums[LAST_FIRED * units + u] = std::max(sums[LAST_FIRED * units + u], (double)batch);
    }
}

// A long row that is streamed must begin where a vector may be stored whole; what is written by tiles finds its own way.
Writing writing_of(const Statistics& call, bool fresh) {
    if (!call.target) return NOTHING;
    if (fresh) return CACHED;
    const Layout& layout = call.layout;
    const int64_t size = size_of(call.type);
    const int64_t bytes = layout.outer * layout.samples * layout.middle * layout.units * layout.inner * size;
    const bool aligned = ((uintptr_t)call.target | (uintptr_t)(layout.inner * size)) % 64 == 0;
    const bool anywhere = layout.inner < LONG_ROW && (uintptr_t)call.target % size == 0;
    return (aligned || anywhere) && bytes >= streaming_bytes ? STREAMED : CACHED;
}

// Runs all parts; the first adds to `sums` itself, the others to scratch that is then added in order.
void gather_parts(const Kernels& kernels, const Statistics& call, double* sums, int threads, Scratch& scratch) {
    const int64_t all = call.layout.outer * call.layout.samples * call.layout.middle, units = call.layout.units;
    const Parts parts(call.layout);
    scratch.sums.resize((parts.slabs - 1) * SUM_ROWS * units);
    scratch.shifts.assign(parts.slabs * units, 0.0f);
    double* others = scratch.sums.data();
    float* shifts = scratch.shifts.data();
    run_tasks(parts.slabs * parts.units, threads, [&](int64_t task) {
        const int64_t i = task / parts.units, j = task % parts.units;
        const Range slabs = {i * parts.slab_step, std::min((i + 1) * parts.slab_step, all)};
        const Range columns = {j * parts.unit_step, std::min((j + 1) * parts.unit_step, units)};
        const Part part = {i ? others + (i - 1) * SUM_ROWS * units : sums, shifts + i * units};
        if (i) clear(part.sums, columns, units);
        kernels.statistics(call, slabs, columns, part);
    });
    const bool bounded = call.floor || call.cap;
    for (int64_t i = 1; i < parts.slabs; ++i) add(others + (i - 1) * SUM_ROWS * units, sums, units, bounded);
}

}  // namespace

void run_forward(const Kernels& kernels, Forward call, bool fresh, int threads) {
    call.writing = elementwise_writing(call, fresh, !call.linear);
    run_rows(call, fresh, threads, kernels.forward);
}

void run_backward(const Kernels& kernels, Backward call, bool fresh, int threads) {
    call.writing = elementwise_writing(call, fresh, false);
    run_rows(call, fresh, threads, kernels.backward);
}

void run_copy(const Kernels& kernels, const char* source, char* target, int64_t bytes, int threads) {
    constexpr int64_t STEP = CHUNK_BYTES;
    run_tasks(divide_up(bytes, STEP), threads, [&](int64_t task) {
        kernels.copy(source, target, {task * STEP, std::min((task + 1) * STEP, bytes)});
    });
}

void gather(const Kernels& kernels, Statistics call, double* sums, int64_t batch, bool fresh, int threads) {
    const Layout& layout = call.layout;
    const int64_t units = layout.units, elements = layout.outer * layout.samples * layout.middle * units * layout.inner;
    if (elements == 0) return;
    if (fresh && call.target) ask_for_huge_pages(call.target, elements * size_of(call.type));
    call.writing = writing_of(call, fresh);
    static thread_local Scratch scratch;
    const bool element_is_sample = layout.outer * layout.middle * layout.inner == 1;
    const bool own_flags = !call.fired && !element_is_sample;
    if (own_flags) {
        scratch.flags.assign(layout.samples * units, 0);
        call.fired = scratch.flags.data();
    }
    if (!call.fired) copy_above(sums, units, scratch.before);
    gather_parts(kernels, call, sums, threads, scratch);
    if (!call.fired) count_elements(scratch.before, sums, units, batch);
    if (own_flags) count_fired(call.fired, layout.samples, units, sums, batch);
}

void gather_gradient(const Kernels& kernels, const GradientStatistics& call, double* sums, int threads) {
    const int64_t all = call.layout.outer * call.layout.samples * call.layout.middle, units = call.layout.units;
    if (all * units * call.layout.inner == 0) return;
    const Parts parts(call.layout);
    static thread_local std::vector<double> scratch;
    scratch.assign((parts.slabs - 1) * GRADIENT_ROWS * units, 0.0);
    double* others = scratch.data();
    run_tasks(parts.slabs * parts.units, threads, [&](int64_t task) {
        const int64_t i = task / parts.units, j = task % parts.units;
        const Range slabs = {i * parts.slab_step, std::min((i + 1) * parts.slab_step, all)};
        const Range columns = {j * parts.unit_step, std::min((j + 1) * parts.unit_step, units)};
        kernels.gradient_statistics(call, slabs, columns, i ? others + (i - 1) * GRADIENT_ROWS * units : sums);
    });
    for (int64_t i = 1; i < parts.slabs; ++i) {
        const double* part = others + (i - 1) * GRADIENT_ROWS * units;
        for (int64_t k = 0; k < GRADIENT_ROWS * units; ++k) sums[k] += part[k];
    }
}

void count_fired(uint8_t* fired, int64_t samples, int64_t units, double* sums, int64_t batch) {
    double *totals = sums + FIRED * units, *last = sums + LAST_FIRED * units;
    static thread_local std::vector<int64_t> counts;
    counts.assign(units, 0);
    for (int64_t sample = 0; sample < samples; ++sample) {
        uint8_t* flags = fired + sample * units;
        for (int64_t u = 0; u < units; ++u) counts[u] += flags[u];
        std::fill(flags, flags + units, 0);
    }
    for (int64_t u = 0; u < units; ++u) {
        totals[u] += (double)counts[u];
        if (counts[u]) last[u] = std::max(last[u], (double)batch);
    }
}

}  // namespace leaky
