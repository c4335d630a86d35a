// Quick sums (quick.hpp) where the units lie side by side in memory.
#pragma once

#include "quick.hpp"
#include "statistics_columns.hpp"
#include "tiles.hpp"

namespace LEAKY_NAMESPACE {

constexpr int64_t SHORT = 16;          // rows of a block in doubles
constexpr int64_t TALL = MOST_ROWS;    // rows of a block in float32, merged every CHAIN rows

// One vector of units over a block of rows.
template <bool SHIFTED>
struct QuickColumns {
    const Statistics& call;
    int64_t ahead;
    floats threshold, shift;

    LEAKY_INLINE QuickColumns(const Statistics& call, int64_t ahead, floats shift)
        : call(call), ahead(ahead), threshold(every<floats>((float)call.threshold)), shift(shift) {}

    LEAKY_INLINE uint32_t step(int64_t offset, QuickSums& chain) const {
        const float* source = (const float*)call.source + offset;
        const floats z = load<floats>(source);
        fetch(source + ahead);
        const chosen_floats linear = above(z, threshold);
        chain.add_all(SHIFTED ? z - shift : z, linear);
        chain.least = min_of(chain.least, z);
        chain.most = max_of(chain.most, z);
        chain.counts = count_where(linear, chain.counts);
        return bits_of(linear);
    }
};

// Half a vector of units' sums, in doubles.
LEAKY_INLINE BlockSums<doubles> in_doubles(const QuickSums& sums, double rows, floats shift, bool high) {
    auto half = [&](floats value) LEAKY_ALWAYS { return widen(high ? high_half(value) : low_half(value)); };
    return {half(sums.below),  half(sums.linear),     half(sums.below_squares), half(sums.linear_squares),
            every<doubles>(rows), half(__builtin_convertvector(sums.counts, floats)), half(shift)};
}

LEAKY_INLINE void add_to(double* place, doubles value) { store(place, load<doubles>(place) + value); }

LEAKY_INLINE void fold_units(const BlockSums<doubles>& block, doubles least, doubles most, int64_t units,
                             double* place) {
    add_to(place + (leaky::SUMS + leaky::BELOW) * units, block.below);
    add_to(place + (leaky::SUMS + leaky::LINEAR) * units, block.linear);
    add_to(place + (leaky::SQUARES + leaky::BELOW) * units, block.below_squares);
    add_to(place + (leaky::SQUARES + leaky::LINEAR) * units, block.linear_squares);
    add_to(place + (leaky::COUNTS + leaky::BELOW) * units, block.count - block.linear_count);
    add_to(place + (leaky::COUNTS + leaky::LINEAR) * units, block.linear_count);
    double *minimum = place + leaky::MINIMUM * units, *maximum = place + leaky::MAXIMUM * units;
    store(minimum, min_of(load<doubles>(minimum), least));
    store(maximum, max_of(load<doubles>(maximum), most));
}

// Sums the vector's units over the block in doubles instead, and learns their shifts from that.
inline void sum_in_doubles(const Statistics& call, const RowBlock& rows, int64_t unit, const Part& part) {
    const int64_t units = call.layout.units;
    auto gather = [&](int64_t u, int first_row) {
        const double* place = part.sums + first_row * units + u;
        return place[leaky::BELOW * units] + place[leaky::LINEAR * units];
    };
    double before[4][FLOATS];
    for (int i = 0; i < FLOATS; ++i) {
        before[0][i] = gather(unit + i, leaky::COUNTS);
        before[1][i] = part.sums[(leaky::COUNTS + leaky::LINEAR) * units + unit + i];
        before[2][i] = gather(unit + i, leaky::SUMS);
        before[3][i] = gather(unit + i, leaky::SQUARES);
    }
    columns_of_block<float, false>(call, rows, {unit, unit + FLOATS}, part);
    for (int i = 0; i < FLOATS; ++i) {
        part.shifts[unit + i] =
            shift_for(gather(unit + i, leaky::COUNTS) - before[0][i],
                      part.sums[(leaky::COUNTS + leaky::LINEAR) * units + unit + i] - before[1][i],
                      gather(unit + i, leaky::SUMS) - before[2][i], gather(unit + i, leaky::SQUARES) - before[3][i]);
    }
}

// Ends a block for one vector of units.
LEAKY_INLINE void finish_columns(const Statistics& call, const RowBlock& rows, int64_t unit, const QuickSums& sums,
                                 floats shift, bool shifted, const uint32_t* passed, const Part& part) {
    const int64_t units = call.layout.units;
    const double size = (double)rows.size();
    BlockSums<doubles> low = in_doubles(sums, size, shift, false);
    BlockSums<doubles> high = in_doubles(sums, size, shift, true);
    constexpr uint32_t ALL = (1u << DOUBLES) - 1u;
    if (__builtin_expect((trustworthy_lanes(low) & trustworthy_lanes(high)) != ALL, 0)) {
        sum_in_doubles(call, rows, unit, part);
        return;
    }
    if (shifted) {
        low.unshift();
        high.unshift();
    }
    fold_units(low, widen(low_half(sums.least)), widen(low_half(sums.most)), units, part.sums + unit);
    fold_units(high, widen(high_half(sums.least)), widen(high_half(sums.most)), units, part.sums + unit + DOUBLES);
    if (call.fired) rows.mark_samples(passed, unit);
}

// Vectors of units that are taken together, a cache line of each row or more: lines whose rows are a power of two apart
// drive each other out of the cache. Their chains are followed at once where the registers hold both.
constexpr int TOGETHER = 2;
constexpr bool AT_ONCE = REGISTER_BYTES == 64;

template <bool SHIFTED, bool FLAGGED>
LEAKY_INLINE void quick_units(const Statistics& call, const RowBlock& rows, int64_t unit, int64_t ahead,
                              const floats* shifts, const Part& part) {
    const int64_t units = call.layout.units;
    QuickSums sums[TOGETHER];
    uint32_t passed[TOGETHER][MOST_ROWS];
    for (int64_t i = 0; i < rows.size();) {
        QuickSums chains[TOGETHER];
        const int64_t end = i + CHAIN < rows.size() ? i + CHAIN : rows.size();
        auto step = [&](int64_t row, int k) LEAKY_ALWAYS {
            const QuickColumns<SHIFTED> column(call, ahead, shifts[k]);
            const uint32_t bits = column.step((rows.rows.begin + row) * units + unit + k * FLOATS, chains[k]);
            if constexpr (FLAGGED) passed[k][row] = bits;
        };
        if constexpr (AT_ONCE) {
            for (int64_t row = i; row < end; ++row) step(row, 0), step(row, 1);
        } else {
            for (int64_t row = i; row < end; ++row) step(row, 0);
            for (int64_t row = i; row < end; ++row) step(row, 1);
        }
        for (int k = 0; k < TOGETHER; ++k) sums[k].merge(chains[k]);
        i = end;
    }
    for (int k = 0; k < TOGETHER; ++k) {
        finish_columns(call, rows, unit + k * FLOATS, sums[k], shifts[k], SHIFTED, passed[k], part);
    }
}

template <bool SHIFTED>
LEAKY_INLINE void quick_units_of(const Statistics& call, const RowBlock& rows, int64_t unit, int64_t ahead,
                                 const floats* shifts, const Part& part) {
    if (call.fired) return quick_units<SHIFTED, true>(call, rows, unit, ahead, shifts, part);
    quick_units<SHIFTED, false>(call, rows, unit, ahead, shifts, part);
}

// Units by vectors in float32; returns the first that is left over. `next` is where the next tile lies.
LEAKY_INLINE int64_t quick_columns(const Statistics& call, const RowBlock& rows, Range units, int64_t next,
                                   const Part& part) {
    int64_t unit = units.begin;
    for (; unit + TOGETHER * FLOATS <= units.end; unit += TOGETHER * FLOATS) {
        const int64_t ahead = beside_or_below(unit, units, TOGETHER * FLOATS, next);
        floats shifts[TOGETHER];
        integers any = {};
        for (int k = 0; k < TOGETHER; ++k) {
            shifts[k] = load<floats>(part.shifts + unit + k * FLOATS);
            any |= (integers)(shifts[k] != floats{});
        }
        if (__builtin_expect(bits_of(any) != 0, 0)) {
            quick_units_of<true>(call, rows, unit, ahead, shifts, part);
        } else {
            quick_units_of<false>(call, rows, unit, ahead, shifts, part);
        }
    }
    return unit;
}

template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
void statistics_of_columns(const Statistics& call, Range rows, Range units, const Part& part) {
    constexpr bool QUICK = sizeof(T) == 4 && !BOUNDED;
    const int64_t height = QUICK ? TALL : SHORT;
    const int64_t width = tile_width(height * (int64_t)sizeof(T), 2 * FLOATS);
    for (int64_t row = rows.begin; row < rows.end; row += height) {
        const RowBlock block(call, {row, row + height < rows.end ? row + height : rows.end});
        for (int64_t unit = units.begin; unit < units.end; unit += width) {
            const Range tile = {unit, unit + width < units.end ? unit + width : units.end};
            if (WRITING != leaky::NOTHING && !in_place(call)) write_columns<T, WRITING, KIND>(call, block.rows, tile);
            int64_t left = unit;
            if constexpr (QUICK) {
                const int64_t below = height * call.layout.units - (unit - units.begin);
                const int64_t next = tile.end < units.end ? width : below;
                if (block.size() >= SHORT) left = quick_columns(call, block, tile, next, part);
            }
            columns_of_block<T, BOUNDED>(call, block, {left, tile.end}, part);
            if (WRITING != leaky::NOTHING && in_place(call)) write_columns<T, WRITING, KIND>(call, block.rows, tile);
        }
    }
    if (WRITING == leaky::STREAMED) finish_streams();
}

}  // namespace LEAKY_NAMESPACE
