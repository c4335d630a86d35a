// Statistics where the units lie side by side in memory: (N, C), (N, T, C), channels-last.
//
// Blocks of rows by two vectors of units keep all sums in registers; between blocks they rest in `part`.
#pragma once

#include "statistics.hpp"

namespace LEAKY_NAMESPACE {

// Sums and counts of one vector of units over a block of rows.
template <bool BOUNDED>
struct ColumnSums : Sums<BOUNDED> {
    doubles counts[4] = {};
};

constexpr int64_t MOST_ROWS = 128;

// Neighbouring rows, and where each one's sample keeps its flags.
struct RowBlock {
    Range rows;
    uint8_t* fired[MOST_ROWS];

    LEAKY_INLINE RowBlock(const Statistics& call, Range rows) : rows(rows) {
        if (!call.fired) return;
        for (int64_t row = rows.begin; row < rows.end; ++row) {
            fired[row - rows.begin] = call.fired + sample_of(call.layout, row) * call.layout.units;
        }
    }
    LEAKY_INLINE int64_t size() const { return rows.end - rows.begin; }

    // Marks what passed: one word of bits a row, one bit a unit from `unit` on.
    LEAKY_INLINE void mark_samples(const uint32_t* passed, int64_t unit) const {
        for (int64_t i = 0; i < size();) {
            uint32_t any = passed[i];
            uint8_t* flags = fired[i] + unit;
            for (++i; i < size() && fired[i] + unit == flags; ++i) any |= passed[i];
            mark_bits(flags, any);
        }
    }

    static LEAKY_INLINE void mark_bits(uint8_t* flags, uint32_t bits) {
#if defined(__AVX512F__)
        _mm_mask_storeu_epi8(flags, (__mmask16)bits, _mm_set1_epi8(1));
#else
        for (; bits; bits &= bits - 1) mark(flags + __builtin_ctz(bits));
#endif
    }
};

template <class T, bool BOUNDED>
struct ColumnBlock {
    typedef typename VectorOf<T>::type V;
    const Statistics& call;
    const RowBlock& block;
    int64_t unit;  // the first
    int count;     // units in this vector
    bool whole;    // count fills the vector
    Edges edges;

    LEAKY_INLINE ColumnBlock(const Statistics& call, const RowBlock& block, int64_t unit, int count)
        : call(call), block(block), unit(unit), count(count), whole(count == DOUBLES) {
        edges.threshold = every<doubles>(call.threshold);
        if constexpr (BOUNDED) {
            edges.floor = call.floor ? load_first<doubles>(call.floor + unit, count) : every<doubles>(-__builtin_inf());
            edges.cap = call.cap ? load_first<doubles>(call.cap + unit, count) : every<doubles>(__builtin_inf());
        }
    }

    // One row; returns the lanes that fired.
    template <bool WHOLE>
    LEAKY_INLINE chosen step(int64_t row, ColumnSums<BOUNDED>& sums) const {
        const int64_t offset = row * call.layout.units + unit;
        const T* source = (const T*)call.source + offset;
        V x = WHOLE ? load<V>(source) : load_first<V>(source, count);
        doubles z = widen(x);
        auto lanes = split<BOUNDED>(z, edges, first(WHOLE ? DOUBLES : count));
        sums.add(z, lanes);
        sums.least = min_of(sums.least, z);
        sums.most = max_of(sums.most, z);
        const doubles one = every<doubles>(1.0);
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            if (region != leaky::BELOW) {
                sums.counts[region] = add_where(lanes.of[region], sums.counts[region], one);
            }
        });
        if constexpr (BOUNDED) return (chosen)(lanes.of[leaky::LINEAR] | lanes.of[leaky::BEYOND_HIGH]);
        return lanes.of[leaky::LINEAR];
    }

    LEAKY_INLINE void fold(const ColumnSums<BOUNDED>& sums, double* part) const {
        const int64_t units = call.layout.units;
        auto add = [&](int row, doubles value) {
            double* place = part + row * units + unit;
            if (whole) {
                store(place, load<doubles>(place) + value);
            } else {
                store_first(place, load_first<doubles>(place, count) + value, count);
            }
        };
        doubles below = every<doubles>((double)block.size());
        each_region<BOUNDED>([&](int region) LEAKY_ALWAYS {
            add(leaky::SUMS + region, sums.sums[region]);
            add(leaky::SQUARES + region, sums.squares[region]);
            if (region == leaky::BELOW) return;
            add(leaky::COUNTS + region, sums.counts[region]);
            below -= sums.counts[region];
        });
        add(leaky::COUNTS + leaky::BELOW, below);
        double *least = part + leaky::MINIMUM * units + unit, *most = part + leaky::MAXIMUM * units + unit;
        if (whole) {
            store(least, min_of(load<doubles>(least), sums.least));
            store(most, max_of(load<doubles>(most), sums.most));
        } else {
            store_first(least, min_of(load_first<doubles>(least, count), sums.least), count);
            store_first(most, max_of(load_first<doubles>(most, count), sums.most), count);
        }
    }

    // Ends a block: into `part` at once, or element by element where something was not finite.
    LEAKY_INLINE void finish(const ColumnSums<BOUNDED>& sums, const uint32_t* passed, const Part& part) const {
        doubles energy = sums.energy();
        const bool finite = bits_of(energy - energy == doubles{}) == (1u << DOUBLES) - 1u;
        if (__builtin_expect(finite, 1)) {
            fold(sums, part.sums);
            if (call.fired) block.mark_samples(passed, unit);
            return;
        }
        for (int64_t row = block.rows.begin; row < block.rows.end; ++row) {
            for (int64_t u = unit; u < unit + count; ++u) {
                const double z = (double)((const T*)call.source)[row * call.layout.units + u];
                const bool fired = add_one(call, u, z, part.sums);
                if (fired && call.fired) mark(block.fired[row - block.rows.begin] + u);
            }
        }
    }
};

// Two whole vectors of units at once: two independent chains.
template <class T, bool BOUNDED>
LEAKY_INLINE void pair_of_columns(const Statistics& call, const RowBlock& rows, int64_t unit, const Part& part) {
    typedef ColumnBlock<T, BOUNDED> Block;
    const Block left(call, rows, unit, DOUBLES), right(call, rows, unit + DOUBLES, DOUBLES);
    ColumnSums<BOUNDED> sums_left, sums_right;
    uint32_t passed_left[MOST_ROWS], passed_right[MOST_ROWS];
    for (int64_t i = 0; i < rows.size(); ++i) {
        passed_left[i] = bits_of(left.template step<true>(rows.rows.begin + i, sums_left));
        passed_right[i] = bits_of(right.template step<true>(rows.rows.begin + i, sums_right));
    }
    left.finish(sums_left, passed_left, part);
    right.finish(sums_right, passed_right, part);
}

template <class T, bool BOUNDED>
LEAKY_INLINE void last_columns(const Statistics& call, const RowBlock& rows, int64_t unit, int count, const Part& part) {
    const ColumnBlock<T, BOUNDED> block(call, rows, unit, count);
    ColumnSums<BOUNDED> sums;
    uint32_t passed[MOST_ROWS];
    for (int64_t i = 0; i < rows.size(); ++i) {
        passed[i] = bits_of(block.template step<false>(rows.rows.begin + i, sums));
    }
    block.finish(sums, passed, part);
}

// All units of a range over one block of rows, in doubles.
template <class T, bool BOUNDED>
LEAKY_INLINE void columns_of_block(const Statistics& call, const RowBlock& rows, Range units, const Part& part) {
    int64_t unit = units.begin;
    for (; unit + 2 * DOUBLES <= units.end; unit += 2 * DOUBLES) {
        pair_of_columns<T, BOUNDED>(call, rows, unit, part);
    }
    for (; unit < units.end; unit += DOUBLES) {
        const int count = unit + DOUBLES < units.end ? DOUBLES : (int)(units.end - unit);
        last_columns<T, BOUNDED>(call, rows, unit, count, part);
    }
}

}  // namespace LEAKY_NAMESPACE
