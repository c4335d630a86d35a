// What the bindings ask of the kernels: plain structures and one table of functions for each instruction set.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace leaky {

enum Type : int { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 3 };

// y = clamp(gain · (x > 0 ? x : slope · x), −bound, bound); a slope of exactly 0 gives relu's values, −inf → 0.
// `slopes` points to one slope a channel, in the data's own type (float for the half types), or is null.
struct Activation {
    double slope;
    const void* slopes;
    double gain;
    double bound;  // +inf where there is no clamp
};

// Dense memory, the last index running fastest: [outer][samples][middle][units][inner].
struct Layout {
    int64_t outer, samples, middle, units, inner;
};

// The rows of a statistics array, each with one double a unit; the order of leaky.record.REGIONS.
enum Row : int {
    COUNTS = 0,  // 4 regions: beyond_low, below, linear, beyond_high
    SUMS = 4,
    SQUARES = 8,
    MINIMUM = 12,
    MAXIMUM = 13,
    NONFINITE = 14,
    SUM_ROWS = 15,  // what follows from the elements alone, and so is kept for each part of the work
    FIRED = 15,     // known only when all parts are done
    LAST_FIRED = 16,
    ROWS = 17,
};
enum Region : int { BEYOND_LOW = 0, BELOW = 1, LINEAR = 2, BEYOND_HIGH = 3 };

// Positions of a unit side by side from which a row is written as it is summed; shorter ones are written by tiles.
constexpr int64_t LONG_ROW = 512;

enum Writing : int { NOTHING = 0, CACHED = 1, STREAMED = 2 };

struct Statistics {
    Type type;
    const void* source;
    void* target;  // null: only look
    Writing writing;
    Layout layout;
    Activation activation;
    double threshold;
    const double* floor;  // one a unit, or null for none
    const double* cap;    // one a unit, or null for none
    uint8_t* fired;       // [samples][units], 1 where the unit fired; null where each row is a sample of its own
};

// The rows of a gradient's statistics array, each with one double a unit and region.
enum GradientRow : int { ABSOLUTE = 0, GRADIENT_SQUARES = 4, GRADIENT_NONFINITE = 8, GRADIENT_ROWS = 9 };

// Sums of the gradient at y, by the regions that the value beside it is in: x itself, or a y of the same order.
struct GradientStatistics {
    Type type;
    const void *source, *value;
    Layout layout;
    double threshold;
    const double *floor, *cap;  // one a unit, or null
};

struct Range {
    int64_t begin, end;
};

// Where a part of the work keeps its sums.
struct Part {
    double* sums;   // [SUM_ROWS][units], added to
    float* shifts;  // [units]: what the fast loops take off each unit's elements, see quick.hpp
};

// How slopes lie over [rows][length] memory.
enum Slopes : int { ONE = 0, ONE_A_ROW = 1, ONE_A_COLUMN = 2 };

// y from x. `linear` and `beyond` are bit planes, one bit an element, each row beginning with a byte of its own: where
// the derivative is the gain, and where it is 0 because y is at its bound. Null where they are not wanted.
struct Forward {
    Type type;
    const void* source;
    void* target;
    Writing writing;
    int64_t rows, length;
    Slopes slopes;
    int64_t channels;  // rows before the slopes repeat, where there is one a row
    Activation activation;
    uint8_t *linear, *beyond;
};

// The gradient at x from the one at y and the bit planes of the forward pass.
struct Backward {
    Type type;
    const void* source;
    void* target;
    Writing writing;
    int64_t rows, length;
    Slopes slopes;
    int64_t channels;
    Activation activation;
    const uint8_t *linear, *beyond;
};

// One instruction set's kernels. Every function works on a part, so that threads are somebody else's concern.
struct Kernels {
    const char* name;
    // Some rows, and of those some columns; `columns.begin` is a multiple of 64.
    void (*forward)(const Forward&, Range rows, Range columns);
    void (*backward)(const Backward&, Range rows, Range columns);
    // Bytes past the cache: the limit that benchmarks measure the others against.
    void (*copy)(const char* source, char* target, Range bytes);
    void (*statistics)(const Statistics&, Range slabs, Range units, const Part& part);
    void (*gradient_statistics)(const GradientStatistics&, Range slabs, Range units, double* part);
};

}  // namespace leaky
