// The data types: how elements in memory become vectors that compute, and go back. Half types compute in float32.
#pragma once

#include "lanes.hpp"

namespace LEAKY_NAMESPACE {

struct half {
    uint16_t bits;
};
struct brain {
    uint16_t bits;
};

typedef uint16_t words __attribute__((vector_size(FLOATS * 2)));

LEAKY_INLINE unsigneds unsigned_words(words value) {
#if defined(__AVX512F__)
    return (unsigneds)_mm512_cvtepu16_epi32((__m256i)value);
#elif defined(__AVX2__)
    return (unsigneds)_mm256_cvtepu16_epi32((__m128i)value);
#else
    return __builtin_convertvector(value, unsigneds);
#endif
}

// Of values below 2¹⁶.
LEAKY_INLINE words low_words(unsigneds value) {
#if defined(__AVX512F__)
    return (words)_mm512_cvtepi32_epi16((__m512i)value);
#elif defined(__AVX2__)
    const __m256i packed = _mm256_packus_epi32((__m256i)value, (__m256i)value);
    return (words)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
    return __builtin_convertvector(value, words);
#endif
}

LEAKY_INLINE words low_words_of(unsigneds both) { return load<words>(&both); }
LEAKY_INLINE unsigneds one_behind_the_other(words first, words second) {
#if defined(__AVX512F__)
    return (unsigneds)_mm512_inserti64x4(_mm512_castsi256_si512((__m256i)first), (__m256i)second, 1);
#elif defined(__AVX2__)
    return (unsigneds)_mm256_set_m128i((__m128i)second, (__m128i)first);
#else
    const words both[2] = {first, second};
    return load<unsigneds>(both);
#endif
}
LEAKY_INLINE words high_words_of(unsigneds both) { return load<words>((const char*)&both + sizeof(words)); }

template <class T>
struct Elements;

template <>
struct Elements<float> {
    typedef floats V;
    typedef float Scalar;
    typedef floats Stored;
    static LEAKY_INLINE V widen(Stored value) { return value; }
    static LEAKY_INLINE Stored narrow(V value) { return value; }
};

template <>
struct Elements<double> {
    typedef doubles V;
    typedef double Scalar;
    typedef doubles Stored;
    static LEAKY_INLINE V widen(Stored value) { return value; }
    static LEAKY_INLINE Stored narrow(V value) { return value; }
};

template <>
struct Elements<brain> {
    typedef floats V;
    typedef float Scalar;
    typedef words Stored;
    static LEAKY_INLINE V widen(Stored value) { return (V)(unsigned_words(value) << 16); }
    // To nearest, ties to even. NaN needs no care: one that came from a brain float has no bits to round.
    static LEAKY_INLINE unsigneds rounded(V value) {
        const unsigneds bits = (unsigneds)value;
        return bits + (0x7fffu + ((bits >> 16) & 1u));
    }
    static LEAKY_INLINE Stored narrow(V value) { return low_words(rounded(value) >> 16); }
    // A register full of them as two vectors, every second element in each: no lane need be crossed.
    static LEAKY_INLINE V first(unsigneds both) { return (V)(both << 16); }
    static LEAKY_INLINE V second(unsigneds both) { return (V)(both & 0xffff0000u); }
    static LEAKY_INLINE unsigneds join(V first, V second) {
        return (rounded(first) >> 16) | (rounded(second) & 0xffff0000u);
    }
};

template <>
struct Elements<half> {
    typedef floats V;
    typedef float Scalar;
    typedef words Stored;

#if defined(__AVX512F__)
    static LEAKY_INLINE V widen(Stored value) { return (V)_mm512_cvtph_ps((__m256i)value); }
    static LEAKY_INLINE Stored narrow(V value) {
        return (Stored)_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
#elif defined(__F16C__)
    static LEAKY_INLINE V widen(Stored value) { return (V)_mm256_cvtph_ps((__m128i)value); }
    static LEAKY_INLINE Stored narrow(V value) {
        return (Stored)_mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    }
#else
    static LEAKY_INLINE V widen(Stored value) {
        const unsigneds bits = unsigned_words(value), magnitude = bits & 0x7fffu;
        // The exponent's bias differs by 112; the product also makes a half's subnormals normal.
        const V finite = (V)(magnitude << 13) * every<V>(0x1p112f);
        const unsigneds special = (magnitude << 13) | 0x7f800000u;
        const unsigneds result = magnitude >= 0x7c00u ? special : (unsigneds)finite;
        return (V)(result | ((bits & 0x8000u) << 16));
    }
    static LEAKY_INLINE Stored narrow(V value) {
        const unsigneds bits = (unsigneds)value, magnitude = bits & 0x7fffffffu;
        const unsigneds special = magnitude > 0x7f800000u ? unsigneds{} + 0x7e00u : unsigneds{} + 0x7c00u;
        // Below 2⁻¹⁴ the addition of 0.5 rounds to a multiple of 2⁻²⁴, the step of a half's subnormals.
        const unsigneds tiny = (unsigneds)((V)magnitude + every<V>(0.5f)) - 0x3f000000u;
        const unsigneds odd = (magnitude >> 13) & 1u;
        const unsigneds normal = (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
        unsigneds result = magnitude < 0x38800000u ? tiny : normal;
        result = magnitude >= 0x47800000u ? special : result;
        return low_words(result | ((bits >> 16) & 0x8000u));
    }
#endif
    // A register full of them as two vectors, one behind the other.
    static LEAKY_INLINE V first(unsigneds both) { return widen(low_words_of(both)); }
    static LEAKY_INLINE V second(unsigneds both) { return widen(high_words_of(both)); }
    static LEAKY_INLINE unsigneds join(V first, V second) { return one_behind_the_other(narrow(first), narrow(second)); }
};

template <class T>
constexpr int LANES = sizeof(typename Elements<T>::V) / sizeof(typename Elements<T>::Scalar);

template <class T>
LEAKY_INLINE auto read(const T* source) {
    return Elements<T>::widen(load<typename Elements<T>::Stored>(source));
}

// The first `count` lanes; the others are 0.
template <class T>
LEAKY_INLINE auto read_first(const T* source, int count) {
    typename Elements<T>::Stored value = {};
    __builtin_memcpy(&value, source, (size_t)count * sizeof(T));
    return Elements<T>::widen(value);
}

template <leaky::Writing WRITING, class T, class V>
LEAKY_INLINE void write(T* target, V value) {
    if constexpr (WRITING == leaky::STREAMED) {
        stream(target, Elements<T>::narrow(value));
    } else {
        store(target, Elements<T>::narrow(value));
    }
}

template <class T, class V>
LEAKY_INLINE void write_first(T* target, V value, int count) {
    const typename Elements<T>::Stored stored = Elements<T>::narrow(value);
    __builtin_memcpy(target, &stored, (size_t)count * sizeof(T));
}

}  // namespace LEAKY_NAMESPACE
