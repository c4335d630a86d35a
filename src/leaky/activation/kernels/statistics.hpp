// Activation and per-unit statistics in one pass over memory; every sum is a sum of doubles.
//
// A float's square is exact in double, so Σz and Σz² keep the 1e-12 that a variance at mean/std = 1e4 needs. The fast
// loops take every element for finite; NaN and infinity show in the sum of squares, and then the same elements are
// gone through again one by one.
#pragma once

#include "activate.hpp"

namespace LEAKY_NAMESPACE {

using leaky::Layout;
using leaky::Part;
using leaky::Range;
using leaky::Statistics;

// The sample of a slab, one [units][inner] block of the layout.
LEAKY_INLINE int64_t sample_of(const Layout& layout, int64_t slab) { return slab / layout.middle % layout.samples; }

template <class T>
struct VectorOf;
template <>
struct VectorOf<float> {
    typedef half_floats type;
};
template <>
struct VectorOf<double> {
    typedef doubles type;
};

template <int REGION>
struct Fixed {
    constexpr operator int() const { return REGION; }
};

// Calls `visit` with each region that can hold an element, unrolled by the compiler.
template <bool BOUNDED, class Visit>
LEAKY_INLINE void each_region(Visit visit) {
    if constexpr (BOUNDED) visit(Fixed<leaky::BEYOND_LOW>{});
    visit(Fixed<leaky::BELOW>{});
    visit(Fixed<leaky::LINEAR>{});
    if constexpr (BOUNDED) visit(Fixed<leaky::BEYOND_HIGH>{});
}

// The edges of the regions in every lane.
struct Edges {
    doubles threshold, floor, cap;
};

template <bool BOUNDED>
struct Lanes {
    chosen of[4];
};

template <bool BOUNDED>
LEAKY_INLINE Lanes<BOUNDED> split(doubles z, const Edges& edges, chosen valid) {
    Lanes<BOUNDED> lanes;
    chosen linear = above(z, edges.threshold) & valid;
    if constexpr (BOUNDED) {
        chosen high = above(z, edges.cap) & valid, low = below(z, edges.floor) & valid;
        lanes.of[leaky::BEYOND_LOW] = without(low, high);
        lanes.of[leaky::BEYOND_HIGH] = high;
        linear = without(linear, high | low);
        lanes.of[leaky::BELOW] = without(valid, linear | high | low);
    } else {
        lanes.of[leaky::BELOW] = without(valid, linear);
    }
    lanes.of[leaky::LINEAR] = linear;
    return lanes;
}

// Sums over vectors: one accumulator a lane and region.
template <bool BOUNDED>
struct Sums {
    doubles sums[4] = {}, squares[4] = {};
    doubles least = every<doubles>(__builtin_inf()), most = every<doubles>(-__builtin_inf());

    LEAKY_INLINE void add(doubles z, const Lanes<BOUNDED>& lanes) {
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            sums[region] = add_where(lanes.of[region], sums[region], z);
            squares[region] = add_square_where(lanes.of[region], squares[region], z);
        });
    }
    LEAKY_INLINE void merge(const Sums& other) {
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            sums[region] += other.sums[region];
            squares[region] += other.squares[region];
        });
        least = min_of(least, other.least);
        most = max_of(most, other.most);
    }
    LEAKY_INLINE doubles energy() const {
        doubles total = squares[leaky::BELOW] + squares[leaky::LINEAR];
        if constexpr (BOUNDED) total += squares[leaky::BEYOND_LOW] + squares[leaky::BEYOND_HIGH];
        return total;
    }
};

LEAKY_INLINE double total_of(doubles lanes) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_pd((__m512d)lanes);
#else
    double total = 0;
    for (int i = 0; i < DOUBLES; ++i) total += lanes[i];
    return total;
#endif
}

LEAKY_INLINE double least_of(doubles lanes) {
#if defined(__AVX512F__)
    return _mm512_reduce_min_pd((__m512d)lanes);
#else
    double least = lanes[0];
    for (int i = 1; i < DOUBLES; ++i) least = lanes[i] < least ? lanes[i] : least;
    return least;
#endif
}

LEAKY_INLINE double most_of(doubles lanes) { return -least_of(-lanes); }

LEAKY_INLINE bool is_finite(double value) { return value - value == 0; }

LEAKY_INLINE void mark(uint8_t* fired) { __atomic_store_n(fired, (uint8_t)1, __ATOMIC_RELAXED); }

// One element of one unit, whatever it is: the slow path that knows NaN and infinity.
inline bool add_one(const Statistics& call, int64_t unit, double z, double* sums) {
    const int64_t units = call.layout.units;
    if (!is_finite(z)) {
        sums[leaky::NONFINITE * units + unit] += 1;
        return false;
    }
    int region = z > call.threshold ? leaky::LINEAR : leaky::BELOW;
    if (call.floor && z < call.floor[unit]) region = leaky::BEYOND_LOW;
    if (call.cap && z > call.cap[unit]) region = leaky::BEYOND_HIGH;
    sums[(leaky::COUNTS + region) * units + unit] += 1;
    sums[(leaky::SUMS + region) * units + unit] += z;
    sums[(leaky::SQUARES + region) * units + unit] += z * z;
    double &least = sums[leaky::MINIMUM * units + unit], &most = sums[leaky::MAXIMUM * units + unit];
    if (z < least) least = z;
    if (z > most) most = z;
    return region >= leaky::LINEAR;
}

template <class Call>
LEAKY_INLINE Edges edges_at(const Call& call, int64_t unit) {
    return {every<doubles>(call.threshold), every<doubles>(call.floor ? call.floor[unit] : -__builtin_inf()),
            every<doubles>(call.cap ? call.cap[unit] : __builtin_inf())};
}

}  // namespace LEAKY_NAMESPACE
