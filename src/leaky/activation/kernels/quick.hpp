// Sums of float32 data in float32: short chains about a shift, merged in doubles.
//
// Half the work of sums in doubles, and right only for ordinary data: at most CHAIN additions follow each other (their
// rounding stays below CHAIN · 2⁻²⁴ ≤ 1e-6), and a unit whose mean is far from 0 for its spread is shifted by about
// that mean before it is squared. Whether the data were ordinary is known afterwards (`trustworthy`); where they were
// not (NaN, infinity, overflow, underflow, a mean that the shift does not fit), the same elements are summed again in
// doubles.
#pragma once

#include "statistics.hpp"

namespace LEAKY_NAMESPACE {

constexpr int CHAIN = 16;

struct QuickSums {
    floats below = {}, linear = {}, below_squares = {}, linear_squares = {};
    counts_of_floats counts = {};  // of linear elements; used where each lane is a unit
    floats least = every<floats>(__builtin_inff()), most = every<floats>(-__builtin_inff());

    // `d` is z about the shift; without one, z itself.
    LEAKY_INLINE void add(floats d, chosen_floats is_below, chosen_floats is_linear) {
        linear = add_where(is_linear, linear, d);
        linear_squares = add_square_where(is_linear, linear_squares, d);
        below = add_where(is_below, below, d);
        below_squares = add_square_where(is_below, below_squares, d);
    }
    // The same where every lane holds an element.
    LEAKY_INLINE void add_all(floats d, chosen_floats is_linear) {
        add_apart(is_linear, d, linear, linear_squares, below, below_squares);
    }
    LEAKY_INLINE void merge(const QuickSums& other) {
        below += other.below;
        linear += other.linear;
        below_squares += other.below_squares;
        linear_squares += other.linear_squares;
        counts += other.counts;
        least = min_of(least, other.least);
        most = max_of(most, other.most);
    }
};

// A unit's sums over a block, in doubles, about a shift: scalars (V = double) or one unit a lane (V = doubles).
template <class V>
struct BlockSums {
    V below, linear, below_squares, linear_squares;
    V count, linear_count;
    V shift;

    // To sums about 0: Σz = Σd + n·s, Σz² = Σd² + 2s·Σd + n·s².
    LEAKY_INLINE void unshift() {
        const V below_count = count - linear_count;
        below_squares += shift * (below + below + below_count * shift);
        linear_squares += shift * (linear + linear + linear_count * shift);
        below += below_count * shift;
        linear += linear_count * shift;
    }
};

constexpr double LEAST_SQUARES = 1e-30;  // below it float32 squares may have lost bits to underflow
constexpr double SPREAD = 65.0 / 64.0;   // n·Σd² / (Σd)² from which no shift is needed: mean/std ≤ 8

LEAKY_INLINE bool trustworthy(const BlockSums<double>& s) {
    const double total = s.below + s.linear, squares = s.below_squares + s.linear_squares;
    const bool lost_bits = (s.below_squares < LEAST_SQUARES && s.below != 0) ||
                           (s.linear_squares < LEAST_SQUARES && s.linear != 0);
    const bool two_sided = s.linear_count > 0 && s.linear_count < s.count;
    return is_finite(squares) && s.count * squares >= total * total * SPREAD &&
           (s.shift == 0 ? !lost_bits : !two_sided);
}

// The lanes that are trustworthy, one bit each.
LEAKY_INLINE uint32_t trustworthy_lanes(const BlockSums<doubles>& s) {
    const doubles zero = {};
    const doubles total = s.below + s.linear, squares = s.below_squares + s.linear_squares;
    const doubles least = every<doubles>(LEAST_SQUARES);
    const longs lost_bits =
        ((s.below_squares < least) & (s.below != zero)) | ((s.linear_squares < least) & (s.linear != zero));
    const longs two_sided = (s.linear_count > zero) & (s.linear_count < s.count);
    const longs finite = squares - squares == zero;
    const longs spread = s.count * squares >= total * total * every<doubles>(SPREAD);
    const longs unshifted = s.shift == zero;
    return bits_of((longs)(finite & spread & ((unshifted & ~lost_bits) | (~unshifted & ~two_sided))));
}

// The shift for a unit's next elements, from its sums about 0 over some: its mean, where it lies on one side and far
// from 0; else 0.
inline float shift_for(double count, double linear_count, double total, double squares) {
    const bool one_sided = linear_count == 0 || linear_count == count;
    const bool far = count > 0 && is_finite(squares) && count * squares < total * total * SPREAD;
    return one_sided && far ? (float)(total / count) : 0.0f;
}

}  // namespace LEAKY_NAMESPACE
