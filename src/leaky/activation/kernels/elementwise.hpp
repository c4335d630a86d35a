// Forward and backward passes over [rows][length] memory, with or without bit planes.
#pragma once

#include "activate.hpp"
#include "elements.hpp"

namespace LEAKY_NAMESPACE {

using leaky::Backward;
using leaky::Forward;
using leaky::Range;

constexpr int64_t WORD = 64;    // elements of a bit plane that are handled at once
constexpr int64_t BURST = 256;  // bytes that are handled at once
constexpr int64_t LINE = 64;    // bytes of a cache's line
constexpr int64_t AHEAD = 1024;

// Calls `burst` for each `step` from `begin` on, at several places in turn, so that memory works on more pages at once
// than the prefetcher fetches ahead: a third faster than straight along where stores go past the cache. The places lie
// no whole number of pages apart, or they would get in each other's way. Returns where it ended.
template <class Burst>
LEAKY_INLINE int64_t in_streams(int64_t begin, int64_t end, int64_t step, Burst burst) {
    constexpr int STREAMS = 4;
    const int64_t apart = ((end - begin) / (STREAMS * step) - 3) * step;
    if (apart < 16 * step) return begin;
    for (int64_t i = begin; i < begin + apart; i += step) {
        for (int k = 0; k < STREAMS; ++k) burst(i + k * apart);
    }
    return begin + STREAMS * apart;
}

// A stretch of one row, with what holds for all of it.
template <class T>
struct Span {
    typedef typename Elements<T>::V V;
    typedef typename Elements<T>::Scalar Scalar;
    const T* source;
    T* target;
    int64_t count;
    Constants<V> constants;
    const Scalar* slopes;  // one a column, or null

    template <Kind KIND>
    LEAKY_INLINE Constants<V> at(int64_t i) const {
        if (KIND != GENERAL || !slopes) return constants;
        return with_slopes(constants, load<V>(slopes + i));
    }
    template <Kind KIND>
    LEAKY_INLINE Constants<V> at_first(int64_t i, int lanes) const {
        if (KIND != GENERAL || !slopes) return constants;
        return with_slopes(constants, read_first(slopes + i, lanes));
    }
};

template <class T, class Call>
LEAKY_INLINE Span<T> span_of(const Call& call, int64_t row, Range columns) {
    typedef typename Elements<T>::V V;
    typedef typename Elements<T>::Scalar Scalar;
    const int64_t offset = row * call.length + columns.begin;
    Span<T> span = {(const T*)call.source + offset, (T*)call.target + offset, columns.end - columns.begin,
                    constants_of<V, Scalar>(call.activation), nullptr};
    const Scalar* slopes = (const Scalar*)call.activation.slopes;
    if (call.slopes == leaky::ONE_A_ROW) span.constants = with_slopes(span.constants, every<V>(slopes[row % call.channels]));
    if (call.slopes == leaky::ONE_A_COLUMN) span.slopes = slopes + columns.begin;
    return span;
}

// The part of a plane that belongs to a stretch of a row.
LEAKY_INLINE uint8_t* plane_at(const uint8_t* plane, int64_t row, int64_t length, int64_t column) {
    return plane ? (uint8_t*)plane + row * ((length + 7) / 8) + column / 8 : nullptr;
}

// y of elements that are too few for registers of their own, or have slopes of their own.
template <class T, Kind KIND>
LEAKY_INLINE void forward_few(const Span<T>& span, int64_t i, int64_t end) {
    constexpr int N = LANES<T>;
    for (; i + N <= end; i += N) {
        write<leaky::CACHED>(span.target + i, activate<KIND>(read(span.source + i), span.template at<KIND>(i)));
    }
    if (const int rest = (int)(end - i); rest > 0) {
        const auto x = read_first(span.source + i, rest);
        write_first(span.target + i, activate<KIND>(x, span.template at_first<KIND>(i, rest)), rest);
    }
}

// A register full of y. Slopes by column have no place here: half types compute in two vectors.
template <class T, Kind KIND, leaky::Writing WRITING>
LEAKY_INLINE void forward_register(const Span<T>& span, int64_t i) {
    typedef typename Elements<T>::V V;
    const unsigneds x = load<unsigneds>(span.source + i);
    unsigneds y;
    if constexpr (sizeof(T) == 2) {
        y = Elements<T>::join(activate<KIND>(Elements<T>::first(x), span.constants),
                              activate<KIND>(Elements<T>::second(x), span.constants));
    } else {
        y = (unsigneds)activate<KIND>((V)x, span.constants);
    }
    if constexpr (WRITING == leaky::STREAMED) {
        stream(span.target + i, y);
    } else {
        store(span.target + i, y);
    }
}

template <class T, Kind KIND, leaky::Writing WRITING>
LEAKY_INLINE void forward_burst(const Span<T>& span, int64_t i) {
    constexpr int64_t N = REGISTER_BYTES / sizeof(T);
    // What takes many instructions leaves the processor too little room to look ahead in memory by itself.
    if constexpr (sizeof(T) == 2 || KIND == GENERAL) {
        const char* ahead = (const char*)(span.source + i) + AHEAD;
        for (int64_t k = 0; k < BURST; k += LINE) __builtin_prefetch(ahead + k);
    }
    for (int64_t k = 0; k < BURST / (int64_t)sizeof(T); k += N) forward_register<T, KIND, WRITING>(span, i + k);
}

// y alone.
template <class T, Kind KIND, leaky::Writing WRITING>
LEAKY_INLINE void forward_span(const Span<T>& span) {
    constexpr int64_t N = REGISTER_BYTES / sizeof(T), STEP = BURST / sizeof(T);
    int64_t i = 0;
    if (KIND == GENERAL && span.slopes) return forward_few<T, KIND>(span, 0, span.count);
    if constexpr (WRITING == leaky::STREAMED) {
        const uintptr_t past = (uintptr_t)span.target % REGISTER_BYTES;
        const int64_t head = (int64_t)((REGISTER_BYTES - past) % REGISTER_BYTES / sizeof(T));
        i = head < span.count ? head : span.count;
        forward_few<T, KIND>(span, 0, i);
        i = in_streams(i, span.count, STEP, [&](int64_t j) LEAKY_ALWAYS { forward_burst<T, KIND, WRITING>(span, j); });
    }
    for (; i + STEP <= span.count; i += STEP) forward_burst<T, KIND, WRITING>(span, i);
    for (; i + N <= span.count; i += N) forward_register<T, KIND, WRITING>(span, i);
    forward_few<T, KIND>(span, i, span.count);
}

// y and its bit planes; PLANES is 1 or 2.
template <class T, Kind KIND, leaky::Writing WRITING, int PLANES>
LEAKY_INLINE void forward_planes(const Span<T>& span, uint8_t* linear, uint8_t* beyond) {
    constexpr int N = LANES<T>;
    int64_t i = 0;
    for (; i + WORD <= span.count; i += WORD) {
        uint64_t linear_bits = 0, beyond_bits = 0;
        for (int k = 0; k < WORD; k += N) {
            const auto x = read(span.source + i + k);
            const auto c = span.template at<KIND>(i + k);
            linear_bits |= (uint64_t)bits_of(is_linear<KIND>(x, c)) << k;
            if constexpr (PLANES == 2) beyond_bits |= (uint64_t)bits_of(is_beyond(x, c)) << k;
            write<WRITING>(span.target + i + k, activate<KIND>(x, c));
        }
        store(linear + i / 8, linear_bits);
        if constexpr (PLANES == 2) store(beyond + i / 8, beyond_bits);
    }
    uint64_t linear_bits = 0, beyond_bits = 0;
    const int64_t start = i;
    for (; i < span.count; i += N) {
        const int rest = (int)(span.count - i < N ? span.count - i : N), k = (int)(i - start);
        const auto x = read_first(span.source + i, rest);
        const auto c = span.template at_first<KIND>(i, rest);
        const uint64_t valid = (uint64_t{1} << rest) - 1;
        linear_bits |= (bits_of(is_linear<KIND>(x, c)) & valid) << k;
        if constexpr (PLANES == 2) beyond_bits |= (bits_of(is_beyond(x, c)) & valid) << k;
        write_first(span.target + i, activate<KIND>(x, c), rest);
    }
    const size_t bytes = (size_t)(span.count - start + 7) / 8;
    __builtin_memcpy(linear + start / 8, &linear_bits, bytes);
    if constexpr (PLANES == 2) __builtin_memcpy(beyond + start / 8, &beyond_bits, bytes);
}

template <class T, Kind KIND, leaky::Writing WRITING>
void forward_rows(const Forward& call, Range rows, Range columns) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
        const Span<T> span = span_of<T>(call, row, columns);
        uint8_t* linear = plane_at(call.linear, row, call.length, columns.begin);
        uint8_t* beyond = plane_at(call.beyond, row, call.length, columns.begin);
        if (!linear) {
            forward_span<T, KIND, WRITING>(span);
        } else if (KIND == GENERAL && beyond) {
            forward_planes<T, KIND, WRITING, 2>(span, linear, beyond);
        } else {
            forward_planes<T, KIND, WRITING, 1>(span, linear, nullptr);
        }
    }
    if (WRITING == leaky::STREAMED) finish_streams();
}

// One word of bits, of which a stretch may hold less.
LEAKY_INLINE uint64_t word_at(const uint8_t* plane, int64_t i, int64_t count) {
    uint64_t bits = 0;
    if (plane) __builtin_memcpy(&bits, plane + i / 8, count >= WORD ? 8 : (size_t)(count + 7) / 8);
    return bits;
}

template <class T, Kind KIND, leaky::Writing WRITING>
LEAKY_INLINE void backward_span(const Span<T>& span, const uint8_t* linear, const uint8_t* beyond) {
    constexpr int N = LANES<T>;
    typedef typename Elements<T>::V V;
    int64_t i = 0;
    for (; i + WORD <= span.count; i += WORD) {
        const uint64_t linear_bits = word_at(linear, i, WORD), beyond_bits = word_at(beyond, i, WORD);
        for (int k = 0; k < WORD; k += N) {
            const V gradient = read(span.source + i + k);
            write<WRITING>(span.target + i + k,
                           pull_back<KIND>(gradient, lanes_of((uint32_t)(linear_bits >> k), V{}),
                                           lanes_of((uint32_t)(beyond_bits >> k), V{}), span.template at<KIND>(i + k)));
        }
    }
    const int64_t start = i, left = span.count - i;
    const uint64_t linear_bits = word_at(linear, i, left), beyond_bits = word_at(beyond, i, left);
    for (; i < span.count; i += N) {
        const int rest = (int)(span.count - i < N ? span.count - i : N), k = (int)(i - start);
        const V gradient = read_first(span.source + i, rest);
        write_first(span.target + i,
                    pull_back<KIND>(gradient, lanes_of((uint32_t)(linear_bits >> k), V{}),
                                    lanes_of((uint32_t)(beyond_bits >> k), V{}), span.template at_first<KIND>(i, rest)),
                    rest);
    }
}

template <class T, Kind KIND, leaky::Writing WRITING>
void backward_rows(const Backward& call, Range rows, Range columns) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
        const Span<T> span = span_of<T>(call, row, columns);
        backward_span<T, KIND, WRITING>(span, plane_at(call.linear, row, call.length, columns.begin),
                                        plane_at(call.beyond, row, call.length, columns.begin));
    }
    if (WRITING == leaky::STREAMED) finish_streams();
}

}  // namespace LEAKY_NAMESPACE
