// The function itself on one vector: bit for bit what torch's leaky_relu (relu for slope 0) gives.
#pragma once

#include "kernels.hpp"
#include "lanes.hpp"

namespace LEAKY_NAMESPACE {

// How much of the definition a loop needs; GENERAL holds all of it, the others are its common cases.
enum Kind { LEAKY, RELU, GENERAL };

LEAKY_INLINE Kind kind_of(const leaky::Activation& activation) {
    if (activation.slopes || activation.gain != 1.0 || activation.bound < __builtin_inf()) return GENERAL;
    return activation.slope == 0.0 ? RELU : LEAKY;
}

// The constants of a loop, one vector each.
template <class V>
struct Constants {
    V slope, gain, bound;
    decltype(V{} == V{}) zero_slope;  // all ones where the slope is 0 as it was given, before any rounding
};

template <class V, class T>
LEAKY_INLINE Constants<V> constants_of(const leaky::Activation& activation) {
    const V given = every<V>((T)(activation.slope != 0));
    return {every<V>((T)activation.slope), every<V>((T)activation.gain), every<V>((T)activation.bound), given == V{}};
}

// The same with other slopes, one a lane.
template <class V>
LEAKY_INLINE Constants<V> with_slopes(Constants<V> constants, V slopes) {
    constants.slope = slopes;
    constants.zero_slope = slopes == V{};
    return constants;
}

// gain · f(x), before the bound.
template <Kind KIND, class V>
LEAKY_INLINE V unbounded(V x, const Constants<V>& c) {
    const V zero = {};
    if constexpr (KIND == RELU) return x < zero ? zero : x;
    if constexpr (KIND == LEAKY) return x > zero ? x : c.slope * x;
    // A slope of 0, of either sign, must not meet −inf or −0: relu's answers are 0 and −0.
    V scaled = c.slope * x;
    V negative = c.zero_slope ? (x < zero ? zero : x) : scaled;
    return (x > zero ? x : negative) * c.gain;
}

template <Kind KIND, class V>
LEAKY_INLINE V activate(V x, const Constants<V>& c) {
    V y = unbounded<KIND>(x, c);
    if constexpr (KIND != GENERAL) return y;
    y = y > c.bound ? c.bound : y;
    return y < -c.bound ? -c.bound : y;
}

// Where the derivative is the gain: above 0; and at NaN too where the slope is 0, as relu has it.
template <Kind KIND, class V>
LEAKY_INLINE auto is_linear(V x, const Constants<V>& c) {
    const V zero = {};
    if constexpr (KIND == RELU) return ~(x <= zero);
    if constexpr (KIND == LEAKY) return x > zero;
    return (x > zero) | (c.zero_slope & (x != x));
}

// Where the derivative is 0 because the output is held at its bound.
template <class V>
LEAKY_INLINE auto is_beyond(V x, const Constants<V>& c) {
    const V y = unbounded<GENERAL>(x, c);
    return (y > c.bound) | (y < -c.bound);
}

// The gradient at the input from the one at the output. The order of the factors is that of torch's own derivatives.
template <Kind KIND, class V, class M>
LEAKY_INLINE V pull_back(V gradient, M linear, M beyond, const Constants<V>& c) {
    const V zero = {};
    if constexpr (KIND == RELU) return linear ? gradient : zero;
    if constexpr (KIND == LEAKY) return linear ? gradient : gradient * c.slope;
    const V inner = (beyond ? zero : gradient) * c.gain;
    const V negative = c.zero_slope ? zero : inner * c.slope;
    return linear ? inner : negative;
}

}  // namespace LEAKY_NAMESPACE
