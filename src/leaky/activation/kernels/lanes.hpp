// Vectors of one instruction set, behind the few operations that the kernels need.
//
// This header is compiled once for each instruction set (see CMakeLists.txt). It must define everything inside the
// instruction set's own namespace and include no header with inline functions: the linker would otherwise be free to
// keep the AVX-512 copy of a shared inline function and run it on a machine without AVX-512.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define LEAKY_ALWAYS __attribute__((always_inline))
#define LEAKY_INLINE inline LEAKY_ALWAYS

namespace LEAKY_NAMESPACE {

#if defined(__AVX512F__)
constexpr int REGISTER_BYTES = 64;
#elif defined(__AVX2__)
constexpr int REGISTER_BYTES = 32;
#else
constexpr int REGISTER_BYTES = 16;
#endif

// A register full of T, and half a register of floats: what becomes one register of doubles.
constexpr int FLOATS = REGISTER_BYTES / 4;
constexpr int DOUBLES = REGISTER_BYTES / 8;
typedef float floats __attribute__((vector_size(REGISTER_BYTES)));
typedef double doubles __attribute__((vector_size(REGISTER_BYTES)));
typedef float half_floats __attribute__((vector_size(REGISTER_BYTES / 2)));
typedef int32_t half_integers __attribute__((vector_size(REGISTER_BYTES / 2)));
typedef int32_t integers __attribute__((vector_size(REGISTER_BYTES)));
typedef uint32_t unsigneds __attribute__((vector_size(REGISTER_BYTES)));
typedef uint16_t half_words __attribute__((vector_size(REGISTER_BYTES / 2)));

// The same number in every lane.
template <class V, class T>
LEAKY_INLINE V every(T value) {
    return value - V{};
}

template <class Vector, class T>
LEAKY_INLINE Vector load(const T* source) {
    Vector value;
    __builtin_memcpy(&value, source, sizeof value);
    return value;
}

template <class Vector, class T>
LEAKY_INLINE void store(T* target, Vector value) {
    __builtin_memcpy(target, &value, sizeof value);
}

// A store that leaves the cache alone; `target` must be aligned to the register.
template <class Vector, class T>
LEAKY_INLINE void stream(T* target, Vector value) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Vector) == 64) {
        _mm512_stream_si512((__m512i*)target, (__m512i)value);
    } else {
        _mm256_stream_si256((__m256i*)target, (__m256i)value);
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(Vector) == 32) {
        _mm256_stream_si256((__m256i*)target, (__m256i)value);
    } else {
        _mm_stream_si128((__m128i*)target, (__m128i)value);
    }
#elif defined(__SSE2__)
    if constexpr (sizeof(Vector) == 16) {
        _mm_stream_si128((__m128i*)target, (__m128i)value);
    } else {
        long long bits;
        __builtin_memcpy(&bits, &value, sizeof bits);
        _mm_stream_si64((long long*)target, bits);
    }
#else
    store(target, value);
#endif
}

// Makes the streamed bytes visible to other threads.
LEAKY_INLINE void finish_streams() {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

LEAKY_INLINE doubles widen(half_floats value) {
#if defined(__AVX512F__)
    return (doubles)_mm512_cvtps_pd((__m256)value);  // GCC 12 converts each half by itself
#else
    return __builtin_convertvector(value, doubles);
#endif
}
LEAKY_INLINE doubles widen(doubles value) { return value; }

LEAKY_INLINE half_floats low_half(floats value) {
    half_floats half;
    __builtin_memcpy(&half, &value, sizeof half);
    return half;
}
LEAKY_INLINE half_floats high_half(floats value) {
    half_floats half;
    __builtin_memcpy(&half, (const char*)&value + sizeof half, sizeof half);
    return half;
}

typedef int64_t longs __attribute__((vector_size(REGISTER_BYTES)));
typedef uint64_t unsigned_longs __attribute__((vector_size(REGISTER_BYTES)));

// One bit a lane of a comparison's result, the first lane lowest.
LEAKY_INLINE uint32_t bits_of(integers mask) {
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_ps((__m128)mask);
#else
    uint32_t bits = 0;
    for (int i = 0; i < FLOATS; ++i) bits |= (uint32_t)(mask[i] & 1) << i;
    return bits;
#endif
}

LEAKY_INLINE uint32_t bits_of(longs mask) {
#if defined(__AVX512F__)
    return _mm512_movepi64_mask((__m512i)mask);
#elif defined(__AVX2__)
    return (uint32_t)_mm256_movemask_pd((__m256d)mask);
#elif defined(__SSE2__)
    return (uint32_t)_mm_movemask_pd((__m128d)mask);
#else
    uint32_t bits = 0;
    for (int i = 0; i < DOUBLES; ++i) bits |= (uint32_t)(mask[i] & 1) << i;
    return bits;
#endif
}

// The inverse: all ones in the lanes whose bit is set.
LEAKY_INLINE integers lanes_of(uint32_t bits, floats) {
    unsigneds place;
    for (int i = 0; i < FLOATS; ++i) place[i] = 1u << i;
    return (integers)(((unsigneds{} + bits) & place) != 0u);
}
LEAKY_INLINE half_integers lanes_of(uint32_t bits, half_floats) {
    half_integers place;
    for (int i = 0; i < DOUBLES; ++i) place[i] = 1 << i;
    return ((half_integers{} + (int32_t)bits) & place) != 0;
}
LEAKY_INLINE longs lanes_of(uint32_t bits, doubles) {
    unsigned_longs place;
    for (int i = 0; i < DOUBLES; ++i) place[i] = 1u << i;
    return (longs)(((unsigned_longs{} + bits) & place) != 0u);
}

// Lanes chosen for a sum: mask registers where the processor has them, else all-ones lanes.
#if defined(__AVX512F__)
typedef __mmask8 chosen;
typedef __mmask16 chosen_floats;
LEAKY_INLINE chosen_floats above(floats z, floats bound) {
    return _mm512_cmp_ps_mask((__m512)z, (__m512)bound, _CMP_GT_OQ);
}
LEAKY_INLINE chosen_floats first_floats(int lanes) { return (chosen_floats)((1u << lanes) - 1u); }
LEAKY_INLINE chosen_floats without(chosen_floats all, chosen_floats some) { return (chosen_floats)(all & ~some); }
LEAKY_INLINE uint32_t bits_of(chosen_floats lanes) { return lanes; }
LEAKY_INLINE floats add_where(chosen_floats lanes, floats sum, floats z) {
    return (floats)_mm512_mask_add_ps((__m512)sum, lanes, (__m512)sum, (__m512)z);
}
LEAKY_INLINE floats add_square_where(chosen_floats lanes, floats sum, floats z) {
    return (floats)_mm512_mask3_fmadd_ps((__m512)z, (__m512)z, (__m512)sum, lanes);
}
LEAKY_INLINE void add_apart(chosen_floats lanes, floats z, floats& in, floats& in_squares, floats& out,
                            floats& out_squares) {
    const chosen_floats others = (chosen_floats)~lanes;
    in = add_where(lanes, in, z), in_squares = add_square_where(lanes, in_squares, z);
    out = add_where(others, out, z), out_squares = add_square_where(others, out_squares, z);
}
typedef floats counts_of_floats;
LEAKY_INLINE floats count_where(chosen_floats lanes, floats counts) {
    return add_where(lanes, counts, every<floats>(1.0f));
}
LEAKY_INLINE floats min_where(chosen_floats lanes, floats least, floats z) {
    return (floats)_mm512_mask_min_ps((__m512)least, lanes, (__m512)z, (__m512)least);
}
LEAKY_INLINE floats max_where(chosen_floats lanes, floats most, floats z) {
    return (floats)_mm512_mask_max_ps((__m512)most, lanes, (__m512)z, (__m512)most);
}
LEAKY_INLINE chosen above(doubles z, doubles bound) {
    return _mm512_cmp_pd_mask((__m512d)z, (__m512d)bound, _CMP_GT_OQ);
}
LEAKY_INLINE chosen below(doubles z, doubles bound) {
    return _mm512_cmp_pd_mask((__m512d)z, (__m512d)bound, _CMP_LT_OQ);
}
LEAKY_INLINE chosen first(int lanes) { return (chosen)((1u << lanes) - 1u); }
LEAKY_INLINE chosen without(chosen all, chosen some) { return (chosen)(all & ~some); }
LEAKY_INLINE uint32_t bits_of(chosen lanes) { return lanes; }
LEAKY_INLINE doubles add_where(chosen lanes, doubles sum, doubles z) {
    return (doubles)_mm512_mask_add_pd((__m512d)sum, lanes, (__m512d)sum, (__m512d)z);
}
LEAKY_INLINE doubles add_square_where(chosen lanes, doubles sum, doubles z) {
    return (doubles)_mm512_mask3_fmadd_pd((__m512d)z, (__m512d)z, (__m512d)sum, lanes);
}
LEAKY_INLINE doubles min_where(chosen lanes, doubles least, doubles z) {
    return (doubles)_mm512_mask_min_pd((__m512d)least, lanes, (__m512d)z, (__m512d)least);
}
LEAKY_INLINE doubles max_where(chosen lanes, doubles most, doubles z) {
    return (doubles)_mm512_mask_max_pd((__m512d)most, lanes, (__m512d)z, (__m512d)most);
}
#else
typedef longs chosen;
typedef integers chosen_floats;
LEAKY_INLINE chosen_floats above(floats z, floats bound) { return (chosen_floats)(z > bound); }
LEAKY_INLINE chosen_floats first_floats(int lanes) {
    chosen_floats mask;
    for (int i = 0; i < FLOATS; ++i) mask[i] = i < lanes ? -1 : 0;
    return mask;
}
LEAKY_INLINE chosen_floats without(chosen_floats all, chosen_floats some) { return all & ~some; }
LEAKY_INLINE floats add_where(chosen_floats lanes, floats sum, floats z) {
    return sum + (floats)((integers)z & lanes);
}
LEAKY_INLINE floats add_square_where(chosen_floats lanes, floats sum, floats z) {
    floats kept = (floats)((integers)z & lanes);
    return sum + kept * kept;
}
// z and z² to the sums of its side; every lane is on one.
LEAKY_INLINE void add_apart(chosen_floats lanes, floats z, floats& in, floats& in_squares, floats& out,
                            floats& out_squares) {
    const floats kept = (floats)((integers)z & lanes);
#if defined(__AVX2__)
    const floats rest = (floats)_mm256_andnot_ps((__m256)lanes, (__m256)z);  // GCC 12 would blend instead
#elif defined(__SSE2__)
    const floats rest = (floats)_mm_andnot_ps((__m128)lanes, (__m128)z);
#else
    const floats rest = (floats)((integers)z & ~lanes);
#endif
    in += kept, in_squares += kept * kept;
    out += rest, out_squares += rest * rest;
}
typedef integers counts_of_floats;
LEAKY_INLINE integers count_where(chosen_floats lanes, integers counts) { return counts - lanes; }
LEAKY_INLINE floats min_where(chosen_floats lanes, floats least, floats z) {
    floats smaller = z < least ? z : least;
    return (floats)(((integers)smaller & lanes) | ((integers)least & ~lanes));
}
LEAKY_INLINE floats max_where(chosen_floats lanes, floats most, floats z) {
    floats larger = z > most ? z : most;
    return (floats)(((integers)larger & lanes) | ((integers)most & ~lanes));
}
LEAKY_INLINE chosen above(doubles z, doubles bound) { return (chosen)(z > bound); }
LEAKY_INLINE chosen below(doubles z, doubles bound) { return (chosen)(z < bound); }
LEAKY_INLINE chosen first(int lanes) {
    chosen mask;
    for (int i = 0; i < DOUBLES; ++i) mask[i] = i < lanes ? -1 : 0;
    return mask;
}
LEAKY_INLINE chosen without(chosen all, chosen some) { return all & ~some; }
LEAKY_INLINE doubles add_where(chosen lanes, doubles sum, doubles z) { return sum + (doubles)((longs)z & lanes); }
LEAKY_INLINE doubles add_square_where(chosen lanes, doubles sum, doubles z) {
    doubles kept = (doubles)((longs)z & lanes);
    return sum + kept * kept;
}
LEAKY_INLINE doubles min_where(chosen lanes, doubles least, doubles z) {
    doubles smaller = z < least ? z : least;
    return (doubles)(((longs)smaller & lanes) | ((longs)least & ~lanes));
}
LEAKY_INLINE doubles max_where(chosen lanes, doubles most, doubles z) {
    doubles larger = z > most ? z : most;
    return (doubles)(((longs)larger & lanes) | ((longs)most & ~lanes));
}
#endif

template <class Lanes>
LEAKY_INLINE int count_of(Lanes lanes) {
    return __builtin_popcount(bits_of(lanes));
}
// NaN leaves `least` and `most` as they are.
template <class V>
LEAKY_INLINE V min_of(V least, V z) {
    return z < least ? z : least;
}
template <class V>
LEAKY_INLINE V max_of(V most, V z) {
    return z > most ? z : most;
}

}  // namespace LEAKY_NAMESPACE

#include "partial.hpp"
