// Sums in doubles over what is small beside a pass: the directions of some coordinates, the features of a network's ends.
#pragma once

#include <stdint.h>

namespace leaky {

constexpr int64_t MOST_COORDINATES = 256;

enum Found : int { FINITE = 1, WHOLE = 2, ALIKE = 4 };

// One instruction set's.
struct Summaries {
    const char* name;
    // Adds z/‖z‖ of each sample to `sums`, [count ≤ MOST_COORDINATES]; entry i of sample s is
    // source[starts[s] + offsets[i]]. Returns how many samples had a direction: where ‖z‖ is 0 or not finite there is none.
    int64_t (*directions_of_floats)(const float* source, const int64_t* starts, int64_t samples, const int64_t* offsets,
                                    int64_t count, double* sums);
    int64_t (*directions_of_doubles)(const double* source, const int64_t* starts, int64_t samples,
                                     const int64_t* offsets, int64_t count, double* sums);
    // Σx, Σx², minimum and maximum a feature into `sums`, [4][features], of dense memory [samples][features][positions].
    // Returns what was found: all finite (else `sums` holds nothing of use), all whole numbers, all samples the same.
    int (*summary_of_floats)(const float* source, int64_t samples, int64_t features, int64_t positions, double* sums);
    int (*summary_of_doubles)(const double* source, int64_t samples, int64_t features, int64_t positions, double* sums);
    // Σx² of every entry that is a multiple of `step` from the first.
    double (*squares_of_floats)(const float* values, int64_t count, int64_t step);
    double (*squares_of_doubles)(const double* values, int64_t count, int64_t step);
};

}  // namespace leaky
