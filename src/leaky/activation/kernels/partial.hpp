// Vectors of which only the first lanes are in memory; part of lanes.hpp.
#pragma once

namespace LEAKY_NAMESPACE {

// The first `count` elements, the other lanes 0; never reads past them.
template <class Vector, class T>
LEAKY_INLINE Vector load_first(const T* source, int count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Vector) == 32) {
        return (Vector)_mm256_maskz_loadu_epi32((__mmask8)((1u << count) - 1u), source);
    } else if constexpr (sizeof(T) == 4) {
        return (Vector)_mm512_maskz_loadu_epi32((__mmask16)((1u << count) - 1u), source);
    } else if constexpr (sizeof(T) == 8) {
        return (Vector)_mm512_maskz_loadu_epi64((__mmask8)((1u << count) - 1u), source);
    }
#endif
    Vector value = {};
    for (int i = 0; i < count; ++i) value[i] = source[i];
    return value;
}

template <class Vector, class T>
LEAKY_INLINE void store_first(T* target, Vector value, int count) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Vector) == 32) {
        _mm256_mask_storeu_epi32(target, (__mmask8)((1u << count) - 1u), (__m256i)value);
        return;
    } else if constexpr (sizeof(T) == 4) {
        _mm512_mask_storeu_epi32(target, (__mmask16)((1u << count) - 1u), (__m512i)value);
        return;
    } else if constexpr (sizeof(T) == 8) {
        _mm512_mask_storeu_epi64(target, (__mmask8)((1u << count) - 1u), (__m512i)value);
        return;
    }
#endif
    for (int i = 0; i < count; ++i) target[i] = value[i];
}

}  // namespace LEAKY_NAMESPACE
