// All kernels of one instruction set: CMakeLists.txt compiles this file once for each, with its own LEAKY_NAMESPACE.
#include "elementwise.hpp"
#include "kernels.hpp"
#include "quick_columns.hpp"
#include "quick_gradient.hpp"
#include "quick_rows.hpp"

namespace LEAKY_NAMESPACE {

// The general kind holds the others too. A build for the sanitizers has it alone, or would compile for ten minutes.
#if defined(LEAKY_FEW_KINDS)
constexpr bool EVERY_KIND = false;
#else
constexpr bool EVERY_KIND = true;
#endif

template <Kind KIND>
struct Chosen {
    static constexpr Kind kind = KIND;
};

template <class Run>
void by_kind(const leaky::Activation& activation, Run run) {
    if constexpr (EVERY_KIND) {
        const Kind kind = kind_of(activation);
        if (kind == LEAKY) return run(Chosen<LEAKY>{});
        if (kind == RELU) return run(Chosen<RELU>{});
    }
    run(Chosen<GENERAL>{});
}

template <class T, bool BOUNDED, leaky::Writing WRITING, Kind KIND>
void statistics_as(const Statistics& call, Range slabs, Range units, const Part& part) {
    auto run = call.layout.inner > 1 ? statistics_of_rows<T, BOUNDED, WRITING, KIND>
                                     : statistics_of_columns<T, BOUNDED, WRITING, KIND>;
    run(call, slabs, units, part);
}

template <class T, bool BOUNDED, leaky::Writing WRITING>
void statistics_writing(const Statistics& call, Range slabs, Range units, const Part& part) {
    by_kind(call.activation, [&](auto chosen) {
        statistics_as<T, BOUNDED, WRITING, decltype(chosen)::kind>(call, slabs, units, part);
    });
}

template <class T, bool BOUNDED>
void statistics_bounded(const Statistics& call, Range slabs, Range units, const Part& part) {
    switch (call.writing) {
        case leaky::NOTHING: return statistics_as<T, BOUNDED, leaky::NOTHING, LEAKY>(call, slabs, units, part);
        case leaky::CACHED: return statistics_writing<T, BOUNDED, leaky::CACHED>(call, slabs, units, part);
        case leaky::STREAMED: return statistics_writing<T, BOUNDED, leaky::STREAMED>(call, slabs, units, part);
    }
}

template <class T>
void statistics_of(const Statistics& call, Range slabs, Range units, const Part& part) {
    const bool bounded = call.floor || call.cap;
    (bounded ? statistics_bounded<T, true> : statistics_bounded<T, false>)(call, slabs, units, part);
}

void statistics(const Statistics& call, Range slabs, Range units, const Part& part) {
    (call.type == leaky::FLOAT64 ? statistics_of<double> : statistics_of<float>)(call, slabs, units, part);
}

template <class T, leaky::Writing WRITING>
void forward_writing(const Forward& call, Range rows, Range columns) {
    by_kind(call.activation, [&](auto chosen) { forward_rows<T, decltype(chosen)::kind, WRITING>(call, rows, columns); });
}

template <class T, leaky::Writing WRITING>
void backward_writing(const Backward& call, Range rows, Range columns) {
    by_kind(call.activation, [&](auto chosen) { backward_rows<T, decltype(chosen)::kind, WRITING>(call, rows, columns); });
}

template <class T>
void forward_as(const Forward& call, Range rows, Range columns) {
    (call.writing == leaky::STREAMED ? forward_writing<T, leaky::STREAMED> : forward_writing<T, leaky::CACHED>)(
        call, rows, columns);
}

template <class T>
void backward_as(const Backward& call, Range rows, Range columns) {
    (call.writing == leaky::STREAMED ? backward_writing<T, leaky::STREAMED> : backward_writing<T, leaky::CACHED>)(
        call, rows, columns);
}

void forward(const Forward& call, Range rows, Range columns) {
    switch (call.type) {
        case leaky::FLOAT32: return forward_as<float>(call, rows, columns);
        case leaky::FLOAT64: return forward_as<double>(call, rows, columns);
        case leaky::FLOAT16: return forward_as<half>(call, rows, columns);
        case leaky::BFLOAT16: return forward_as<brain>(call, rows, columns);
    }
}

void backward(const Backward& call, Range rows, Range columns) {
    switch (call.type) {
        case leaky::FLOAT32: return backward_as<float>(call, rows, columns);
        case leaky::FLOAT64: return backward_as<double>(call, rows, columns);
        case leaky::FLOAT16: return backward_as<half>(call, rows, columns);
        case leaky::BFLOAT16: return backward_as<brain>(call, rows, columns);
    }
}

void copy(const char* source, char* target, Range bytes) {
    int64_t i = in_streams(bytes.begin, bytes.end, BURST, [&](int64_t j) LEAKY_ALWAYS {
        for (int k = 0; k < BURST; k += REGISTER_BYTES) stream(target + j + k, load<integers>(source + j + k));
    });
    for (; i + REGISTER_BYTES <= bytes.end; i += REGISTER_BYTES) stream(target + i, load<integers>(source + i));
    __builtin_memcpy(target + i, source + i, (size_t)(bytes.end - i));
    finish_streams();
}

void gradient_statistics(const GradientStatistics& call, Range slabs, Range units, double* part) {
    (call.type == leaky::FLOAT64 ? gradient_of<double> : gradient_of<float>)(call, slabs, units, part);
}

extern const leaky::Kernels kernels;
const leaky::Kernels kernels = {LEAKY_NAME, forward, backward, copy, statistics, gradient_statistics};

}  // namespace LEAKY_NAMESPACE
