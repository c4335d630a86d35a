// Statistics where a unit's positions lie side by side in memory: (N, C, H, W), (N, C, L), (C, L).
#pragma once

#include "quick.hpp"

namespace LEAKY_NAMESPACE {

constexpr int64_t ENOUGH = leaky::LONG_ROW;  // elements over which one horizontal reduction is spread
constexpr int64_t MOST_SLABS = 16;

// Neighbouring slabs, and where each one's sample keeps its flags.
struct Group {
    Range slabs;
    uint8_t* fired[MOST_SLABS];

    LEAKY_INLINE Group(const Statistics& call, Range slabs) : slabs(slabs) {
        for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
            fired[slab - slabs.begin] = call.fired + sample_of(call.layout, slab) * call.layout.units;
        }
    }
    LEAKY_INLINE int64_t size() const { return slabs.end - slabs.begin; }

    // Marks the samples of those slabs whose bit is set.
    LEAKY_INLINE void mark_slabs(int64_t unit, uint32_t passed) const {
        for (int64_t i = 0; i < size(); ++i) {
            if (passed >> i & 1) mark(fired[i] + unit);
        }
    }
};

// Counts of the regions that are not "below"; that one follows from the number of elements.
struct RowCounts {
    int64_t of[4] = {};
};

// One vector of one row: look, and write if asked.
template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
struct RowStep {
    typedef typename VectorOf<T>::type V;
    const Edges& edges;
    const Constants<V>& constants;

    LEAKY_INLINE void operator()(const T* source, T* target, Sums<BOUNDED>& sums, RowCounts& counts) const {
        V x = load<V>(source);
        if constexpr (WRITING == leaky::CACHED) store(target, activate<KIND>(x, constants));
        if constexpr (WRITING == leaky::STREAMED) stream(target, activate<KIND>(x, constants));
        doubles z = widen(x);
        add(z, first(DOUBLES), sums, counts);
        sums.least = min_of(sums.least, z);
        sums.most = max_of(sums.most, z);
    }

    LEAKY_INLINE void part(const T* source, T* target, int count, Sums<BOUNDED>& sums, RowCounts& counts) const {
        V x = load_first<V>(source, count);
        if constexpr (WRITING != leaky::NOTHING) store_first(target, activate<KIND>(x, constants), count);
        doubles z = widen(x);
        chosen valid = first(count);
        add(z, valid, sums, counts);
        sums.least = min_where(valid, sums.least, z);
        sums.most = max_where(valid, sums.most, z);
    }

    LEAKY_INLINE void add(doubles z, chosen valid, Sums<BOUNDED>& sums, RowCounts& counts) const {
        auto lanes = split<BOUNDED>(z, edges, valid);
        sums.add(z, lanes);
        counts.of[leaky::LINEAR] += count_of(lanes.of[leaky::LINEAR]);
        if constexpr (BOUNDED) {
            counts.of[leaky::BEYOND_LOW] += count_of(lanes.of[leaky::BEYOND_LOW]);
            counts.of[leaky::BEYOND_HIGH] += count_of(lanes.of[leaky::BEYOND_HIGH]);
        }
    }
};

// One row of `count` elements, in two independent chains of sums.
template <class Step, class T, bool BOUNDED>
LEAKY_INLINE void go_along(const Step& step, const T* source, T* target, int64_t count,
                           Sums<BOUNDED>& even, Sums<BOUNDED>& odd, RowCounts& counts) {
    int64_t i = 0;
    for (; i + 2 * DOUBLES <= count; i += 2 * DOUBLES) {
        step(source + i, target + i, even, counts);
        step(source + i + DOUBLES, target + i + DOUBLES, odd, counts);
    }
    if (i + DOUBLES <= count) {
        step(source + i, target + i, even, counts);
        i += DOUBLES;
    }
    if (i < count) step.part(source + i, target + i, (int)(count - i), odd, counts);
}

template <bool BOUNDED>
LEAKY_INLINE void fold_row(const Sums<BOUNDED>& sums, const RowCounts& counts, double elements, int64_t units,
                           double* part) {
    double below = elements;
    each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
        part[(leaky::SUMS + region) * units] += total_of(sums.sums[region]);
        part[(leaky::SQUARES + region) * units] += total_of(sums.squares[region]);
        if (region == leaky::BELOW) return;
        part[(leaky::COUNTS + region) * units] += (double)counts.of[region];
        below -= (double)counts.of[region];
    });
    part[(leaky::COUNTS + leaky::BELOW) * units] += below;
    double least = least_of(sums.least), most = most_of(sums.most);
    double &minimum = part[leaky::MINIMUM * units], &maximum = part[leaky::MAXIMUM * units];
    minimum = least < minimum ? least : minimum;
    maximum = most > maximum ? most : maximum;
}

// One unit of a few neighbouring slabs, so that the horizontal sums are spread over many elements.
template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
LEAKY_INLINE void unit_of_slabs(const Statistics& call, const Group& group, int64_t unit, const Part& part) {
    typedef typename VectorOf<T>::type V;
    const Layout& layout = call.layout;
    const Edges edges = edges_at(call, unit);
    Constants<V> constants = constants_of<V, T>(call.activation);
    if (KIND == GENERAL && call.activation.slopes) {
        constants = with_slopes(constants, every<V>(((const T*)call.activation.slopes)[unit]));
    }
    const RowStep<T, BOUNDED, WRITING, KIND> step = {edges, constants};
    Sums<BOUNDED> even, odd;
    RowCounts counts;
    uint32_t fired = 0;
    for (int64_t slab = group.slabs.begin; slab < group.slabs.end; ++slab) {
        const int64_t offset = (slab * layout.units + unit) * layout.inner, before = counts.of[leaky::LINEAR];
        const int64_t beyond = counts.of[leaky::BEYOND_HIGH];
        go_along(step, (const T*)call.source + offset, (T*)call.target + offset, layout.inner, even, odd, counts);
        bool passed = counts.of[leaky::LINEAR] > before || counts.of[leaky::BEYOND_HIGH] > beyond;
        fired |= (uint32_t)passed << (slab - group.slabs.begin);
    }
    even.merge(odd);
    if (!is_finite(total_of(even.energy()))) {
        fired = 0;
        for (int64_t slab = group.slabs.begin; slab < group.slabs.end; ++slab) {
            const T* row = (const T*)call.source + (slab * layout.units + unit) * layout.inner;
            for (int64_t i = 0; i < layout.inner; ++i) {
                fired |= (uint32_t)add_one(call, unit, (double)row[i], part.sums) << (slab - group.slabs.begin);
            }
        }
    } else {
        const double elements = (double)(group.size() * layout.inner);
        fold_row(even, counts, elements, layout.units, part.sums + unit);
        part.shifts[unit] = shift_for(
            elements, (double)counts.of[leaky::LINEAR],
            total_of(even.sums[leaky::BELOW] + even.sums[leaky::LINEAR]), total_of(even.energy()));
    }
    if (call.fired) group.mark_slabs(unit, fired);
}

}  // namespace LEAKY_NAMESPACE
