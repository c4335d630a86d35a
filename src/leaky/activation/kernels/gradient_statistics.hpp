// Sums of the gradient that arrives at a site, by the region of the value that the site saw. Nothing is written.
//
// Every sum here is a sum of doubles; quick_gradient.hpp has those in float32. Gradients that are not finite enter no sum but their own count: they show in the
// squares, and then the same elements are gone through again one by one.
#pragma once

#include "statistics.hpp"

namespace LEAKY_NAMESPACE {

using leaky::GradientStatistics;

constexpr int64_t GRADIENT_ROWS_AT_ONCE = 64;

struct GradientSums {
    doubles absolute[4] = {}, squares[4] = {};

    template <bool BOUNDED>
    LEAKY_INLINE void add(doubles g, const Lanes<BOUNDED>& lanes) {
        const doubles size = g < doubles{} ? -g : g;
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            absolute[region] = add_where(lanes.of[region], absolute[region], size);
            squares[region] = add_square_where(lanes.of[region], squares[region], g);
        });
    }
    LEAKY_INLINE doubles energy() const { return squares[0] + squares[1] + squares[2] + squares[3]; }
};

// One vector of a row of memory.
template <class T, bool BOUNDED>
LEAKY_INLINE void gradient_step(const GradientStatistics& call, int64_t element, int count, const Edges& edges,
                                GradientSums& sums) {
    typedef typename VectorOf<T>::type V;
    const T *source = (const T*)call.source + element, *value = (const T*)call.value + element;
    const bool whole = count == DOUBLES;
    const V gradient = whole ? load<V>(source) : load_first<V>(source, count);
    const V seen = whole ? load<V>(value) : load_first<V>(value, count);
    sums.add<BOUNDED>(widen(gradient), split<BOUNDED>(widen(seen), edges, first(count)));
}

// One element, whatever it is.
template <class T>
inline void add_gradient(const GradientStatistics& call, int64_t element, int64_t unit, double* sums) {
    const int64_t units = call.layout.units;
    const double g = (double)((const T*)call.source)[element], z = (double)((const T*)call.value)[element];
    if (!is_finite(g)) {
        sums[leaky::GRADIENT_NONFINITE * units + unit] += 1;
        return;
    }
    int region = z > call.threshold ? leaky::LINEAR : leaky::BELOW;
    if (call.floor && z < call.floor[unit]) region = leaky::BEYOND_LOW;
    if (call.cap && z > call.cap[unit]) region = leaky::BEYOND_HIGH;
    sums[(leaky::ABSOLUTE + region) * units + unit] += g < 0 ? -g : g;
    sums[(leaky::GRADIENT_SQUARES + region) * units + unit] += g * g;
}

// One row of positions.
template <class T, bool BOUNDED>
inline void gradient_row(const GradientStatistics& call, int64_t start, int64_t unit, double* part) {
    const int64_t inner = call.layout.inner, all = call.layout.units;
    const Edges edges = edges_at(call, unit);
    GradientSums sums;
    int64_t i = 0;
    for (; i + DOUBLES <= inner; i += DOUBLES) gradient_step<T, BOUNDED>(call, start + i, DOUBLES, edges, sums);
    if (i < inner) gradient_step<T, BOUNDED>(call, start + i, (int)(inner - i), edges, sums);
    if (!is_finite(total_of(sums.energy()))) {
        for (i = 0; i < inner; ++i) add_gradient<T>(call, start + i, unit, part);
        return;
    }
    each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
        part[(leaky::ABSOLUTE + region) * all + unit] += total_of(sums.absolute[region]);
        part[(leaky::GRADIENT_SQUARES + region) * all + unit] += total_of(sums.squares[region]);
    });
}

template <class T, bool BOUNDED>
void gradient_of_rows(const GradientStatistics& call, Range slabs, Range units, double* part) {
    const int64_t inner = call.layout.inner, all = call.layout.units;
    for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
        for (int64_t unit = units.begin; unit < units.end; ++unit) {
            gradient_row<T, BOUNDED>(call, (slab * all + unit) * inner, unit, part);
        }
    }
}

// One vector of units over a few rows.
template <class T, bool BOUNDED>
LEAKY_INLINE void gradient_block(const GradientStatistics& call, Range rows, int64_t unit, int count, double* part) {
    const int64_t all = call.layout.units;
    Edges edges = edges_at(call, unit);
    if constexpr (BOUNDED) {
        if (call.floor) edges.floor = load_first<doubles>(call.floor + unit, count);
        if (call.cap) edges.cap = load_first<doubles>(call.cap + unit, count);
    }
    GradientSums sums;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
        gradient_step<T, BOUNDED>(call, row * all + unit, count, edges, sums);
    }
    const doubles energy = sums.energy();
    if (bits_of((longs)(energy - energy == doubles{})) != (1u << DOUBLES) - 1u) {
        for (int64_t row = rows.begin; row < rows.end; ++row) {
            for (int64_t u = unit; u < unit + count; ++u) add_gradient<T>(call, row * all + u, u, part);
        }
        return;
    }
    each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
        double* absolute = part + (leaky::ABSOLUTE + region) * all + unit;
        double* squares = part + (leaky::GRADIENT_SQUARES + region) * all + unit;
        store_first(absolute, load_first<doubles>(absolute, count) + sums.absolute[region], count);
        store_first(squares, load_first<doubles>(squares, count) + sums.squares[region], count);
    });
}

template <class T, bool BOUNDED>
void gradient_of_columns(const GradientStatistics& call, Range rows, Range units, double* part) {
    for (int64_t row = rows.begin; row < rows.end; row += GRADIENT_ROWS_AT_ONCE) {
        const Range block = {row, row + GRADIENT_ROWS_AT_ONCE < rows.end ? row + GRADIENT_ROWS_AT_ONCE : rows.end};
        int64_t unit = units.begin;
        for (; unit + DOUBLES <= units.end; unit += DOUBLES) {
            gradient_block<T, BOUNDED>(call, block, unit, DOUBLES, part);
        }
        if (unit < units.end) gradient_block<T, BOUNDED>(call, block, unit, (int)(units.end - unit), part);
    }
}

template <class T, bool BOUNDED>
void gradient_bounded(const GradientStatistics& call, Range slabs, Range units, double* part) {
    (call.layout.inner > 1 ? gradient_of_rows<T, BOUNDED> : gradient_of_columns<T, BOUNDED>)(call, slabs, units, part);
}

}  // namespace LEAKY_NAMESPACE
