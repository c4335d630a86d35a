// Compiled once for each instruction set, as lanes.hpp says; no header with inline functions may come in.
#include "summaries.hpp"

#include "lanes.hpp"

namespace LEAKY_NAMESPACE {

namespace {

constexpr double INFINITE = __builtin_inf();

LEAKY_INLINE doubles loaded(const float* from) { return widen(load<half_floats>(from)); }
LEAKY_INLINE doubles loaded(const double* from) { return load<doubles>(from); }

LEAKY_INLINE double sum_of(doubles lanes) {
    double sum = 0;
    for (int i = 0; i < DOUBLES; ++i) sum += lanes[i];
    return sum;
}

LEAKY_INLINE doubles lower(doubles left, doubles right) { return left < right ? left : right; }
LEAKY_INLINE doubles higher(doubles left, doubles right) { return left > right ? left : right; }

struct Sums {
    double sum = 0, square = 0, least = INFINITE, most = -INFINITE;

    LEAKY_INLINE void add(double x) {
        sum += x;
        square += x * x;
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
};

// Some values side by side.
template <class T>
Sums sums_of(const T* values, int64_t count) {
    Sums found;
    doubles sum = {}, square = {}, least = every<doubles>(INFINITE), most = every<doubles>(-INFINITE);
    int64_t i = 0;
    for (; i + DOUBLES <= count; i += DOUBLES) {
        const doubles x = loaded(values + i);
        sum += x;
        square += x * x;
        least = lower(x, least);
        most = higher(x, most);
    }
    for (; i < count; ++i) found.add((double)values[i]);
    found.sum += sum_of(sum);
    found.square += sum_of(square);
    for (int lane = 0; lane < DOUBLES; ++lane) {
        found.least = least[lane] < found.least ? least[lane] : found.least;
        found.most = most[lane] > found.most ? most[lane] : found.most;
    }
    return found;
}

// One value of each feature.
template <class T>
void add_row(const T* row, int64_t features, double* sum, double* square, double* least, double* most) {
    int64_t i = 0;
    for (; i + DOUBLES <= features; i += DOUBLES) {
        const doubles x = loaded(row + i);
        store(sum + i, load<doubles>(sum + i) + x);
        store(square + i, load<doubles>(square + i) + x * x);
        store(least + i, lower(x, load<doubles>(least + i)));
        store(most + i, higher(x, load<doubles>(most + i)));
    }
    for (; i < features; ++i) {
        Sums one{sum[i], square[i], least[i], most[i]};
        one.add((double)row[i]);
        sum[i] = one.sum, square[i] = one.square, least[i] = one.least, most[i] = one.most;
    }
}

template <class T>
bool all_whole(const T* source, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        if (__builtin_floor((double)source[i]) != (double)source[i]) return false;
    }
    return true;
}

template <class T>
bool all_alike(const T* source, int64_t samples, int64_t size) {
    for (int64_t sample = 1; sample < samples; ++sample) {
        for (int64_t i = 0; i < size; ++i) {
            if (source[sample * size + i] != source[i]) return false;
        }
    }
    return true;
}

bool side_by_side(const int64_t* offsets, int64_t count) {
    for (int64_t i = 1; i < count; ++i) {
        if (offsets[i] != offsets[0] + i) return false;
    }
    return count > 0;
}

template <class T>
int64_t directions(const T* source, const int64_t* starts, int64_t samples, const int64_t* offsets, int64_t count,
                   double* sums) {
    alignas(REGISTER_BYTES) double z[leaky::MOST_COORDINATES] = {}, total[leaky::MOST_COORDINATES] = {};
    const bool dense = side_by_side(offsets, count);
    const int64_t padded = (count + DOUBLES - 1) / DOUBLES * DOUBLES;
    int64_t usable = 0;
    for (int64_t sample = 0; sample < samples; ++sample) {
        const T* from = source + starts[sample];
        int64_t i = 0;
        if (dense) {
            from += offsets[0];
            for (; i + DOUBLES <= count; i += DOUBLES) store(z + i, loaded(from + i));
            for (; i < count; ++i) z[i] = (double)from[i];
        } else {
            for (; i < count; ++i) z[i] = (double)from[offsets[i]];
        }
        doubles squares = {};
        for (i = 0; i < padded; i += DOUBLES) squares += load<doubles>(z + i) * load<doubles>(z + i);
        const double square = sum_of(squares);
        if (!(square > 0) || !(square < INFINITE)) continue;
        const doubles scale = every<doubles>(1 / __builtin_sqrt(square));
        for (i = 0; i < padded; i += DOUBLES) store(total + i, load<doubles>(total + i) + load<doubles>(z + i) * scale);
        ++usable;
    }
    for (int64_t i = 0; i < count; ++i) sums[i] += total[i];
    return usable;
}

template <class T>
int summary(const T* source, int64_t samples, int64_t features, int64_t positions, double* sums) {
    double *sum = sums, *square = sums + features, *least = square + features, *most = least + features;
    for (int64_t i = 0; i < features; ++i) sum[i] = square[i] = 0, least[i] = INFINITE, most[i] = -INFINITE;
    for (int64_t sample = 0; sample < samples; ++sample) {
        const T* rows = source + sample * features * positions;
        if (positions == 1) {
            add_row(rows, features, sum, square, least, most);
            continue;
        }
        for (int64_t i = 0; i < features; ++i) {
            const Sums row = sums_of(rows + i * positions, positions);
            sum[i] += row.sum;
            square[i] += row.square;
            least[i] = row.least < least[i] ? row.least : least[i];
            most[i] = row.most > most[i] ? row.most : most[i];
        }
    }
    for (int64_t i = 0; i < features; ++i) {
        if (!(square[i] < INFINITE)) return 0;  // NaN is not below either
    }
    return leaky::FINITE | (all_whole(source, samples * features * positions) ? leaky::WHOLE : 0) |
           (all_alike(source, samples, features * positions) ? leaky::ALIKE : 0);
}

template <class T>
double squares(const T* values, int64_t count, int64_t step) {
    if (step == 1) return sums_of(values, count).square;
    double sums[4] = {};
    int64_t i = 0;
    for (; i + 3 * step < count; i += 4 * step) {
        for (int k = 0; k < 4; ++k) sums[k] += (double)values[i + k * step] * (double)values[i + k * step];
    }
    for (; i < count; i += step) sums[0] += (double)values[i] * (double)values[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

extern const leaky::Summaries summaries;
const leaky::Summaries summaries = {LEAKY_NAME, directions<float>, directions<double>, summary<float>, summary<double>,
                                    squares<float>,    squares<double>};

}  // namespace LEAKY_NAMESPACE
