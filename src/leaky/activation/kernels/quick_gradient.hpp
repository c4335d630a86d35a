// Sums of a float32 gradient in float32: short chains, merged in doubles, as quick.hpp does for values.
//
// What is summed is never negative, so nothing cancels and no shift is needed. Where the data were not ordinary (NaN,
// infinity, squares that overflowed or lost their bits) the same elements are summed again in doubles.
#pragma once

#include "gradient_statistics.hpp"
#include "quick.hpp"
#include "tiles.hpp"

namespace LEAKY_NAMESPACE {

constexpr int64_t GRADIENT_BLOCK = 4 * CHAIN;              // rows of a block, where units lie side by side
constexpr int64_t GRADIENT_STRETCH = 2 * CHAIN * FLOATS;   // elements of two chains along a row
constexpr int64_t GRADIENT_AHEAD = 1024;                   // elements that are fetched ahead along a row
constexpr int64_t GRADIENT_FEW = 32;                       // positions below which doubles cost nothing

LEAKY_INLINE floats size_of_each(floats g) { return (floats)((unsigneds)g & 0x7fffffffu); }

struct QuickGradient {
    floats below = {}, linear = {}, below_squares = {}, linear_squares = {};

    LEAKY_INLINE void add(floats g, chosen_floats is_below, chosen_floats is_linear) {
        const floats size = size_of_each(g);
        linear = add_where(is_linear, linear, size);
        linear_squares = add_square_where(is_linear, linear_squares, g);
        below = add_where(is_below, below, size);
        below_squares = add_square_where(is_below, below_squares, g);
    }
    // The same where every lane holds an element.
    LEAKY_INLINE void add_all(floats g, chosen_floats is_linear) {
        add_apart(is_linear, size_of_each(g), linear, linear_squares, below, below_squares);
    }
};

// The sums of many chains: V is double, or doubles with a unit in each lane.
struct GradientTotals {
    doubles below = {}, linear = {}, below_squares = {}, linear_squares = {};

    LEAKY_INLINE void add(half_floats b, half_floats l, half_floats bs, half_floats ls) {
        below += widen(b);
        linear += widen(l);
        below_squares += widen(bs);
        linear_squares += widen(ls);
    }
    LEAKY_INLINE void add_low(const QuickGradient& s) {
        add(low_half(s.below), low_half(s.linear), low_half(s.below_squares), low_half(s.linear_squares));
    }
    LEAKY_INLINE void add_high(const QuickGradient& s) {
        add(high_half(s.below), high_half(s.linear), high_half(s.below_squares), high_half(s.linear_squares));
    }
};

inline bool trustworthy_gradient(double size, double squares) {
    return is_finite(squares) && (squares >= LEAST_SQUARES || size == 0);
}

// The lanes whose sums of one region are trustworthy.
LEAKY_INLINE longs trustworthy_gradients(doubles size, doubles squares) {
    return (longs)((squares - squares == doubles{}) & ((squares >= every<doubles>(LEAST_SQUARES)) | (size == doubles{})));
}

// One row of positions; false, and nothing added, where it must be summed in doubles.
inline bool quick_gradient_row(const GradientStatistics& call, int64_t start, int64_t unit, double* part) {
    const float *source = (const float*)call.source + start, *value = (const float*)call.value + start;
    const floats threshold = every<floats>((float)call.threshold);
    const int64_t inner = call.layout.inner, units = call.layout.units;
    GradientTotals totals;
    auto step = [&](int64_t i, QuickGradient& sums) LEAKY_ALWAYS {
        fetch(source + i + GRADIENT_AHEAD);
        fetch(value + i + GRADIENT_AHEAD);
        sums.add_all(load<floats>(source + i), above(load<floats>(value + i), threshold));
    };
    for (int64_t i = 0; i < inner;) {
        const int64_t end = i + GRADIENT_STRETCH < inner ? i + GRADIENT_STRETCH : inner;
        QuickGradient even, odd;
        for (; i + 2 * FLOATS <= end; i += 2 * FLOATS) {
            step(i, even);
            step(i + FLOATS, odd);
        }
        if (i + FLOATS <= end) {
            step(i, even);
            i += FLOATS;
        }
        if (i < end) {
            const int count = (int)(end - i);
            const chosen_floats valid = first_floats(count);
            const chosen_floats linear = above(load_first<floats>(value + i, count), threshold) & valid;
            odd.add(load_first<floats>(source + i, count), without(valid, linear), linear);
            i = end;
        }
        totals.add_low(even);
        totals.add_high(even);
        totals.add_low(odd);
        totals.add_high(odd);
    }
    const double below = total_of(totals.below), below_squares = total_of(totals.below_squares);
    const double linear = total_of(totals.linear), linear_squares = total_of(totals.linear_squares);
    if (!trustworthy_gradient(below, below_squares) || !trustworthy_gradient(linear, linear_squares)) return false;
    double* place = part + unit;
    place[(leaky::ABSOLUTE + leaky::BELOW) * units] += below;
    place[(leaky::ABSOLUTE + leaky::LINEAR) * units] += linear;
    place[(leaky::GRADIENT_SQUARES + leaky::BELOW) * units] += below_squares;
    place[(leaky::GRADIENT_SQUARES + leaky::LINEAR) * units] += linear_squares;
    return true;
}

LEAKY_INLINE bool fold_gradient(const GradientTotals& totals, int64_t unit, int64_t units, double* part) {
    const longs good = trustworthy_gradients(totals.below, totals.below_squares) &
                       trustworthy_gradients(totals.linear, totals.linear_squares);
    if (__builtin_expect(bits_of(good) != (1u << DOUBLES) - 1u, 0)) return false;
    auto add = [&](int row, doubles sums) LEAKY_ALWAYS {
        double* place = part + row * units + unit;
        store(place, load<doubles>(place) + sums);
    };
    add(leaky::ABSOLUTE + leaky::BELOW, totals.below);
    add(leaky::ABSOLUTE + leaky::LINEAR, totals.linear);
    add(leaky::GRADIENT_SQUARES + leaky::BELOW, totals.below_squares);
    add(leaky::GRADIENT_SQUARES + leaky::LINEAR, totals.linear_squares);
    return true;
}

// Some vectors of units over a block of rows; the halves that could not be trusted are summed in doubles. `ahead` is
// where the next ones lie.
template <int VECTORS>
LEAKY_INLINE void quick_gradient_block(const GradientStatistics& call, Range rows, int64_t unit, floats threshold,
                                       int64_t ahead, double* part) {
    const int64_t units = call.layout.units;
    GradientTotals low[VECTORS], high[VECTORS];
    for (int64_t row = rows.begin; row < rows.end;) {
        const int64_t end = row + CHAIN < rows.end ? row + CHAIN : rows.end;
        QuickGradient chains[VECTORS];
        for (; row < end; ++row) {
            const float* source = (const float*)call.source + row * units + unit;
            const float* value = (const float*)call.value + row * units + unit;
            for (int k = 0; k < VECTORS; ++k) {
                if (k * FLOATS % 16 == 0) {  // once a cache line
                    fetch(source + k * FLOATS + ahead);
                    fetch(value + k * FLOATS + ahead);
                }
                const chosen_floats linear = above(load<floats>(value + k * FLOATS), threshold);
                chains[k].add_all(load<floats>(source + k * FLOATS), linear);
            }
        }
        for (int k = 0; k < VECTORS; ++k) {
            low[k].add_low(chains[k]);
            high[k].add_high(chains[k]);
        }
    }
    for (int k = 0; k < VECTORS; ++k) {
        const int64_t first = unit + k * FLOATS;
        if (!fold_gradient(low[k], first, units, part)) gradient_block<float, false>(call, rows, first, DOUBLES, part);
        if (!fold_gradient(high[k], first + DOUBLES, units, part)) {
            gradient_block<float, false>(call, rows, first + DOUBLES, DOUBLES, part);
        }
    }
}

inline void quick_gradient_of_rows(const GradientStatistics& call, Range slabs, Range units, double* part) {
    const int64_t inner = call.layout.inner, all = call.layout.units;
    for (int64_t slab = slabs.begin; slab < slabs.end; ++slab) {
        for (int64_t unit = units.begin; unit < units.end; ++unit) {
            const int64_t start = (slab * all + unit) * inner;
            if (!quick_gradient_row(call, start, unit, part)) gradient_row<float, false>(call, start, unit, part);
        }
    }
}

inline void quick_gradient_of_columns(const GradientStatistics& call, Range rows, Range units, double* part) {
    const floats threshold = every<floats>((float)call.threshold);
    const int64_t next = GRADIENT_BLOCK * call.layout.units;
    for (int64_t row = rows.begin; row < rows.end; row += GRADIENT_BLOCK) {
        const Range block = {row, row + GRADIENT_BLOCK < rows.end ? row + GRADIENT_BLOCK : rows.end};
        int64_t unit = units.begin;
        for (; unit + 2 * FLOATS <= units.end; unit += 2 * FLOATS) {
            const int64_t ahead = beside_or_below(unit, units, 2 * FLOATS, next);
            quick_gradient_block<2>(call, block, unit, threshold, ahead, part);
        }
        for (; unit + FLOATS <= units.end; unit += FLOATS) {
            quick_gradient_block<1>(call, block, unit, threshold, next - (unit - units.begin), part);
        }
        for (; unit < units.end; unit += DOUBLES) {
            const int count = unit + DOUBLES < units.end ? DOUBLES : (int)(units.end - unit);
            gradient_block<float, false>(call, block, unit, count, part);
        }
    }
}

template <class T>
void gradient_of(const GradientStatistics& call, Range slabs, Range units, double* part) {
    const bool bounded = call.floor || call.cap, rows = call.layout.inner > 1;
    if (sizeof(T) == 4 && !bounded && (!rows || call.layout.inner >= GRADIENT_FEW)) {
        return (rows ? quick_gradient_of_rows : quick_gradient_of_columns)(call, slabs, units, part);
    }
    (bounded ? gradient_bounded<T, true> : gradient_bounded<T, false>)(call, slabs, units, part);
}

}  // namespace LEAKY_NAMESPACE
