// Quick sums (quick.hpp) where a unit's positions lie side by side in memory.
#pragma once

#include "quick.hpp"
#include "statistics_rows.hpp"
#include "tiles.hpp"

namespace LEAKY_NAMESPACE {

constexpr int64_t FEW = 32;                      // elements below which sums in doubles cost nothing
constexpr int64_t FAR = 4096;                    // bytes that are fetched ahead, one row being followed alone
constexpr int64_t STRETCH = 2 * CHAIN * FLOATS;  // elements that two chains take before they are merged in doubles

template <leaky::Writing WRITING, Kind KIND, bool SHIFTED>
struct QuickRow {
    floats threshold, shift;
    Constants<floats> constants;
    int64_t ahead;

    // `range` has the extremes: one for both chains, or the registers of 32 bytes would not hold them all.
    LEAKY_INLINE int whole(const float* source, float* target, QuickSums& sums, QuickSums& range) const {
        const floats z = load<floats>(source);
        fetch(source + ahead);
        if constexpr (WRITING == leaky::CACHED) store(target, activate<KIND>(z, constants));
        if constexpr (WRITING == leaky::STREAMED) stream(target, activate<KIND>(z, constants));
        const chosen_floats linear = above(z, threshold);
        sums.add_all(SHIFTED ? z - shift : z, linear);
        range.least = min_of(range.least, z);
        range.most = max_of(range.most, z);
        return count_of(linear);
    }

    LEAKY_INLINE int part(const float* source, float* target, int count, QuickSums& sums) const {
        const floats z = load_first<floats>(source, count);
        if constexpr (WRITING != leaky::NOTHING) store_first(target, activate<KIND>(z, constants), count);
        const chosen_floats valid = first_floats(count), linear = above(z, threshold) & valid;
        sums.add(SHIFTED ? z - shift : z, without(valid, linear), linear);
        sums.least = min_where(valid, sums.least, z);
        sums.most = max_where(valid, sums.most, z);
        return count_of(linear);
    }

    // At most a STRETCH; returns how many were above the threshold.
    LEAKY_INLINE int64_t along(const float* source, float* target, int64_t count, QuickSums& even,
                               QuickSums& odd) const {
        int64_t i = 0, linear = 0;
        for (; i + 2 * FLOATS <= count; i += 2 * FLOATS) {
            linear += whole(source + i, target + i, even, even);
            linear += whole(source + i + FLOATS, target + i + FLOATS, odd, REGISTER_BYTES == 64 ? odd : even);
        }
        if (i + FLOATS <= count) {
            linear += whole(source + i, target + i, even, even);
            i += FLOATS;
        }
        if (i < count) linear += part(source + i, target + i, (int)(count - i), odd);
        return linear;
    }
};

// The sums of many stretches, in doubles.
struct StretchSums {
    doubles below = {}, linear = {}, below_squares = {}, linear_squares = {};
    floats least = every<floats>(__builtin_inff()), most = every<floats>(-__builtin_inff());

    LEAKY_INLINE void take(QuickSums& even, QuickSums& odd) {
        even.merge(odd);
        below += widen(low_half(even.below)) + widen(high_half(even.below));
        linear += widen(low_half(even.linear)) + widen(high_half(even.linear));
        below_squares += widen(low_half(even.below_squares)) + widen(high_half(even.below_squares));
        linear_squares += widen(low_half(even.linear_squares)) + widen(high_half(even.linear_squares));
        least = min_of(least, even.least);
        most = max_of(most, even.most);
        even = odd = QuickSums{};
    }
    LEAKY_INLINE double minimum() const { return least_of(widen(min_of(low_half(least), high_half(least)))); }
    LEAKY_INLINE double maximum() const { return most_of(widen(max_of(low_half(most), high_half(most)))); }
};

template <leaky::Writing WRITING, Kind KIND, bool SHIFTED>
LEAKY_INLINE uint32_t quick_unit(const Statistics& call, const Group& group, int64_t unit, int64_t ahead, float shift,
                                 StretchSums& sums, int64_t& linear) {
    const Layout& layout = call.layout;
    QuickRow<WRITING, KIND, SHIFTED> row;
    row.threshold = every<floats>((float)call.threshold);
    row.shift = every<floats>(shift);
    row.ahead = ahead;
    row.constants = constants_of<floats, float>(call.activation);
    if (KIND == GENERAL && call.activation.slopes) {
        row.constants = with_slopes(row.constants, every<floats>(((const float*)call.activation.slopes)[unit]));
    }
    QuickSums even, odd;
    uint32_t fired = 0;
    int64_t room = STRETCH;
    for (int64_t slab = group.slabs.begin; slab < group.slabs.end; ++slab) {
        const int64_t offset = (slab * layout.units + unit) * layout.inner, before = linear;
        const float* source = (const float*)call.source + offset;
        float* target = (float*)call.target + offset;
        for (int64_t i = 0; i < layout.inner;) {
            const int64_t left = layout.inner - i, count = left < room ? left : room;
            linear += row.along(source + i, target + i, count, even, odd);
            i += count;
            // A part of a vector takes a whole one's place in the chain.
            room -= (count + 2 * FLOATS - 1) / (2 * FLOATS) * (2 * FLOATS);
            if (room <= 0) {
                sums.take(even, odd);
                room = STRETCH;
            }
        }
        fired |= (uint32_t)(linear > before) << (slab - group.slabs.begin);
    }
    sums.take(even, odd);
    return fired;
}

template <leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void quick_unit_of_slabs(const Statistics& call, const Group& group, int64_t unit, int64_t ahead,
                                      const Part& part) {
    const int64_t units = call.layout.units, elements = group.size() * call.layout.inner;
    double* place = part.sums + unit;
    const float shift = part.shifts[unit];
    StretchSums sums;
    int64_t linear = 0;
    const uint32_t fired = shift == 0 ? quick_unit<WRITING, KIND, false>(call, group, unit, ahead, shift, sums, linear)
                                      : quick_unit<WRITING, KIND, true>(call, group, unit, ahead, shift, sums, linear);
    BlockSums<double> block = {total_of(sums.below),          total_of(sums.linear), total_of(sums.below_squares),
                               total_of(sums.linear_squares), (double)elements,      (double)linear,
                               shift};
    if (__builtin_expect(!trustworthy(block), 0)) {
        unit_of_slabs<float, false, leaky::NOTHING, LEAKY>(call, group, unit, part);
        return;
    }
    if (shift != 0) block.unshift();
    place[(leaky::SUMS + leaky::BELOW) * units] += block.below;
    place[(leaky::SUMS + leaky::LINEAR) * units] += block.linear;
    place[(leaky::SQUARES + leaky::BELOW) * units] += block.below_squares;
    place[(leaky::SQUARES + leaky::LINEAR) * units] += block.linear_squares;
    place[(leaky::COUNTS + leaky::BELOW) * units] += block.count - block.linear_count;
    place[(leaky::COUNTS + leaky::LINEAR) * units] += block.linear_count;
    double &minimum = place[leaky::MINIMUM * units], &maximum = place[leaky::MAXIMUM * units];
    const double least = sums.minimum(), most = sums.maximum();
    minimum = least < minimum ? least : minimum;
    maximum = most > maximum ? most : maximum;
    if (call.fired) group.mark_slabs(unit, fired);
}

template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void rows_of_group(const Statistics& call, const Group& group, Range units, int64_t ahead,
                                const Part& part) {
    constexpr bool QUICK = sizeof(T) == 4 && !BOUNDED;
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
        if (QUICK && group.size() * call.layout.inner >= FEW) {
            quick_unit_of_slabs<WRITING, KIND>(call, group, unit, ahead, part);
        } else {
            unit_of_slabs<T, BOUNDED, WRITING, KIND>(call, group, unit, part);
        }
    }
}

template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
void statistics_of_rows(const Statistics& call, Range slabs, Range units, const Part& part) {
    const int64_t inner = call.layout.inner;
    int64_t together = (ENOUGH + inner - 1) / inner;
    if (together > MOST_SLABS) together = MOST_SLABS;
    const int64_t width = tile_width(together * inner * (int64_t)sizeof(T), 1);
    const bool along = together == 1 && !in_place(call);
    constexpr leaky::Writing PLACE = WRITING == leaky::NOTHING ? leaky::CACHED : WRITING;
    for (int64_t slab = slabs.begin; slab < slabs.end; slab += together) {
        const Group group(call, {slab, slab + together < slabs.end ? slab + together : slabs.end});
        if (along || WRITING == leaky::NOTHING) {
            rows_of_group<T, BOUNDED, WRITING, KIND>(call, group, units, FAR / sizeof(T), part);
            continue;
        }
        for (int64_t unit = units.begin; unit < units.end; unit += width) {
            const Range tile = {unit, unit + width < units.end ? unit + width : units.end};
            if (!in_place(call)) write_rows<T, PLACE, KIND>(call, group.slabs, tile);
            rows_of_group<T, BOUNDED, leaky::NOTHING, LEAKY>(call, group, tile, width * inner, part);
            if (in_place(call)) write_rows<T, PLACE, KIND>(call, group.slabs, tile);
        }
    }
    if (WRITING == leaky::STREAMED) finish_streams();
}

}  // namespace LEAKY_NAMESPACE
