// Tiles of memory that fit a core's second-level cache: written in the order of memory, then summed in the order of units.
//
// Sums by unit jump from row to row, which neither the prefetcher nor the stores like. So the output of a tile is
// written first, straight along, and the sums then find the input in the cache. Where the output goes over the input,
// a tile is written last: sums that turn out not to be trustworthy are taken again.
#pragma once

#include "elementwise.hpp"
#include "statistics.hpp"

namespace LEAKY_NAMESPACE {

constexpr int64_t TILE_BYTES = 256 << 10;

LEAKY_INLINE bool in_place(const Statistics& call) { return call.source == call.target; }

// y of elements side by side in memory; `slopes` is one a column, or null.
template <class T, leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void write_run(const Statistics& call, int64_t offset, int64_t count,
                            const Constants<typename Elements<T>::V>& constants, const T* slopes) {
    const Span<T> span = {(const T*)call.source + offset, (T*)call.target + offset, count, constants, slopes};
    forward_span<T, KIND, WRITING>(span);
}

// A tile where the units lie side by side: some rows, and of those some units.
template <class T, leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void write_columns(const Statistics& call, Range rows, Range units) {
    const auto constants = constants_of<typename Elements<T>::V, T>(call.activation);
    const int64_t all = call.layout.units, count = units.end - units.begin;
    const T* slopes = KIND == GENERAL ? (const T*)call.activation.slopes : nullptr;
    if (count == all && !slopes) {
        write_run<T, WRITING, KIND>(call, rows.begin * all, (rows.end - rows.begin) * all, constants, nullptr);
        return;
    }
    for (int64_t row = rows.begin; row < rows.end; ++row) {
        write_run<T, WRITING, KIND>(call, row * all + units.begin, count, constants,
                                    slopes ? slopes + units.begin : nullptr);
    }
}

// A tile where a unit's positions lie side by side: some slabs, and of those some units.
template <class T, leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void write_rows(const Statistics& call, Range slabs, Range units) {
    typedef typename Elements<T>::V V;
    const auto constants = constants_of<V, T>(call.activation);
    const int64_t inner = call.layout.inner;
    const T* slopes = KIND == GENERAL ? (const T*)call.activation.slopes : nullptr;
    for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
        const int64_t offset = (slab * call.layout.units + units.begin) * inner;
        if (!slopes) {
            write_run<T, WRITING, KIND>(call, offset, (units.end - units.begin) * inner, constants, nullptr);
            continue;
        }
        for (int64_t unit = units.begin; unit < units.end; ++unit) {
            write_run<T, WRITING, KIND>(call, offset + (unit - units.begin) * inner, inner,
                                        with_slopes(constants, every<V>(slopes[unit])), nullptr);
        }
    }
}

// Fetches what comes next, while the processor is busy with sums and memory is not.
LEAKY_INLINE void fetch(const float* source) { __builtin_prefetch(source, 0, 2); }

// How far ahead what comes after these units of a tile lies: beside them, or, after the last ones, where the next begins.
LEAKY_INLINE int64_t beside_or_below(int64_t unit, Range units, int64_t step, int64_t next) {
    return unit + 2 * step <= units.end ? step : next - (unit - units.begin);
}

// How many units of `bytes` each make a tile.
LEAKY_INLINE int64_t tile_width(int64_t bytes, int64_t step) {
    const int64_t width = TILE_BYTES / bytes / step * step;
    return width > step ? width : step;
}

}  // namespace LEAKY_NAMESPACE
