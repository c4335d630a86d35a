// The backward pass and sums of the gradient, by the region of x that the forward pass's bit planes tell.
//
// Every sum is a sum of doubles. Gradients that are not finite enter no sum: they show in the squares, and then the same
// elements are gone through again one by one.
#pragma once

#include "statistics.hpp"

namespace LEAKY_NAMESPACE {

using leaky::GradientStatistics;

constexpr int64_t GRADIENT_ROWS_AT_ONCE = 64;

// The bit of an element, whose memory is seen as rows that each begin with a byte of their own.
LEAKY_INLINE int64_t bit_of(const GradientStatistics& call, int64_t element) {
    return element / call.plane_length * ((call.plane_length + 7) / 8 * 8) + element % call.plane_length;
}

// Up to eight bits from any place on; reads no byte that holds none of them.
LEAKY_INLINE uint32_t bits_at(const uint8_t* plane, int64_t bit, int count) {
    const int shift = (int)(bit % 8);
    uint32_t bits = plane[bit / 8];
    if (shift + count > 8) bits |= (uint32_t)plane[bit / 8 + 1] << 8;
    return bits >> shift;
}

LEAKY_INLINE chosen chosen_of(uint32_t bits) {
#if defined(__AVX512F__)
    return (chosen)bits;
#else
    return lanes_of(bits, doubles{});
#endif
}

struct GradientSums {
    doubles absolute[4] = {}, squares[4] = {};

    template <bool BOUNDED>
    LEAKY_INLINE void add(doubles g, uint32_t linear, uint32_t beyond, uint32_t valid) {
        const doubles size = g < doubles{} ? -g : g;
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            const bool above = region == leaky::LINEAR || region == leaky::BEYOND_HIGH;
            const bool outside = region == leaky::BEYOND_LOW || region == leaky::BEYOND_HIGH;
            const chosen lanes = chosen_of(valid & (above ? linear : ~linear) & (outside ? beyond : ~beyond));
            absolute[region] = add_where(lanes, absolute[region], size);
            squares[region] = add_square_where(lanes, squares[region], g);
        });
    }
    LEAKY_INLINE doubles energy() const { return squares[0] + squares[1] + squares[2] + squares[3]; }
};

// One vector of a row of memory: into the sums, and through the derivative if asked.
template <class T, bool BOUNDED, bool WRITING, Kind KIND>
LEAKY_INLINE void gradient_step(const GradientStatistics& call, int64_t element, int64_t bit, int count,
                                const Constants<typename VectorOf<T>::type>& constants, GradientSums& sums) {
    typedef typename VectorOf<T>::type V;
    const T* source = (const T*)call.source + element;
    const bool whole = count == DOUBLES;
    const V gradient = whole ? load<V>(source) : load_first<V>(source, count);
    const uint32_t linear = bits_at(call.linear, bit, count);
    const uint32_t beyond = BOUNDED ? bits_at(call.beyond, bit, count) : 0;
    sums.add<BOUNDED>(widen(gradient), linear, beyond, (1u << count) - 1u);
    if constexpr (WRITING) {
        const V result = pull_back<KIND>(gradient, lanes_of(linear, V{}), lanes_of(beyond, V{}), constants);
        T* target = (T*)call.target + element;
        whole ? store(target, result) : store_first(target, result, count);
    }
}

// One element, whatever it is.
template <class T>
inline void add_gradient(const GradientStatistics& call, int64_t element, int64_t unit, double* sums) {
    const double g = (double)((const T*)call.source)[element];
    if (!is_finite(g)) return;
    const int64_t bit = bit_of(call, element);
    const bool linear = bits_at(call.linear, bit, 1) & 1, beyond = call.beyond && (bits_at(call.beyond, bit, 1) & 1);
    const int region = beyond ? (linear ? leaky::BEYOND_HIGH : leaky::BEYOND_LOW) : (linear ? leaky::LINEAR : leaky::BELOW);
    sums[(leaky::ABSOLUTE + region) * call.layout.units + unit] += g < 0 ? -g : g;
    sums[(leaky::GRADIENT_SQUARES + region) * call.layout.units + unit] += g * g;
}

template <class T, bool BOUNDED, bool WRITING, Kind KIND>
void gradient_of_rows(const GradientStatistics& call, Range slabs, Range units, double* part) {
    typedef typename VectorOf<T>::type V;
    const int64_t inner = call.layout.inner, all = call.layout.units;
    Constants<V> constants = constants_of<V, T>(call.activation);
    for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
        for (int64_t unit = units.begin; unit < units.end; ++unit) {
            const int64_t start = (slab * all + unit) * inner, bit = bit_of(call, start);
            if (call.activation.slopes) {
                constants = with_slopes(constants, every<V>(((const T*)call.activation.slopes)[unit]));
            }
            GradientSums sums;
            int64_t i = 0;
            for (; i + DOUBLES <= inner; i += DOUBLES) {
                gradient_step<T, BOUNDED, WRITING, KIND>(call, start + i, bit + i, DOUBLES, constants, sums);
            }
            if (i < inner) {
                gradient_step<T, BOUNDED, WRITING, KIND>(call, start + i, bit + i, (int)(inner - i), constants, sums);
            }
            if (!is_finite(total_of(sums.energy()))) {
                for (i = 0; i < inner; ++i) add_gradient<T>(call, start + i, unit, part);
                continue;
            }
            each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
                part[(leaky::ABSOLUTE + region) * all + unit] += total_of(sums.absolute[region]);
                part[(leaky::GRADIENT_SQUARES + region) * all + unit] += total_of(sums.squares[region]);
            });
        }
    }
}

// One vector of units over a few rows.
template <class T, bool BOUNDED, bool WRITING, Kind KIND>
LEAKY_INLINE void gradient_block(const GradientStatistics& call, Range rows, int64_t unit, int count, double* part) {
    typedef typename VectorOf<T>::type V;
    const int64_t all = call.layout.units;
    Constants<V> constants = constants_of<V, T>(call.activation);
    if (call.activation.slopes) {
        constants = with_slopes(constants, load_first<V>((const T*)call.activation.slopes + unit, count));
    }
    GradientSums sums;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
        const int64_t element = row * all + unit;
        gradient_step<T, BOUNDED, WRITING, KIND>(call, element, bit_of(call, element), count, constants, sums);
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

template <class T, bool BOUNDED, bool WRITING, Kind KIND>
void gradient_of_columns(const GradientStatistics& call, Range rows, Range units, double* part) {
    for (int64_t row = rows.begin; row < rows.end; row += GRADIENT_ROWS_AT_ONCE) {
        const Range block = {row, row + GRADIENT_ROWS_AT_ONCE < rows.end ? row + GRADIENT_ROWS_AT_ONCE : rows.end};
        int64_t unit = units.begin;
        for (; unit + DOUBLES <= units.end; unit += DOUBLES) {
            gradient_block<T, BOUNDED, WRITING, KIND>(call, block, unit, DOUBLES, part);
        }
        if (unit < units.end) {
            gradient_block<T, BOUNDED, WRITING, KIND>(call, block, unit, (int)(units.end - unit), part);
        }
    }
}

template <class T, bool BOUNDED, bool WRITING, Kind KIND>
void gradient_as(const GradientStatistics& call, Range slabs, Range units, double* part) {
    auto run = call.layout.inner > 1 ? gradient_of_rows<T, BOUNDED, WRITING, KIND>
                                     : gradient_of_columns<T, BOUNDED, WRITING, KIND>;
    run(call, slabs, units, part);
}

template <class T, bool BOUNDED>
void gradient_bounded(const GradientStatistics& call, Range slabs, Range units, double* part) {
    if (!call.target) return gradient_as<T, BOUNDED, false, LEAKY>(call, slabs, units, part);
    switch (kind_of(call.activation)) {
        case LEAKY: return gradient_as<T, BOUNDED, true, LEAKY>(call, slabs, units, part);
        case RELU: return gradient_as<T, BOUNDED, true, RELU>(call, slabs, units, part);
        case GENERAL: return gradient_as<T, BOUNDED, true, GENERAL>(call, slabs, units, part);
    }
}

template <class T>
void gradient_of(const GradientStatistics& call, Range slabs, Range units, double* part) {
    (call.beyond ? gradient_bounded<T, true> : gradient_bounded<T, false>)(call, slabs, units, part);
}

}  // namespace LEAKY_NAMESPACE
