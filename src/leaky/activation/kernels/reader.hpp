// Reads torch's tensors where they lie and adds what they hold to a site's sums, with no word of Python in between.
//
// A tensor is asked for its memory by the C functions of DLPack's exchange, which torch hands out as a capsule; nothing
// is taken hold of. Whatever is not exactly what the reader was made for (another shape, stride, type or device, a
// subclass, a lazy negation) is refused, and the caller goes another way.
#pragma once

#include <Python.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "dispatch.hpp"
#include "released_gil.hpp"
#include "summaries.hpp"
#include "work.hpp"

namespace leaky {

// DLPack's structures, as its version 1 lays them out.
struct ExchangedTensor {
    void* data;
    int32_t device_type, device_id;
    int32_t dimensions;
    uint8_t type_code, type_bits;
    uint16_t type_lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
};
struct Exchange {
    uint32_t major, minor;
    Exchange* previous;
    void *allocate, *own, *give;
    int (*look)(void* object, ExchangedTensor* out);
    void* stream;
};

// Whom to ask for the memory of tensors.
struct Asked {
    const Exchange* exchange;
    PyObject* type;  // torch.Tensor, which outlives whoever asks

    // Looks at a tensor of floating numbers on the CPU as it lies; false for anything else.
    bool look(PyObject* tensor, ExchangedTensor& seen) const {
        constexpr int32_t CPU = 1;
        constexpr uint8_t FLOAT = 2;
        if ((PyObject*)Py_TYPE(tensor) != type || lazily_negated(tensor)) return false;
        if (exchange->look(tensor, &seen) != 0) {
            PyErr_Clear();
            return false;
        }
        if (seen.device_type != CPU || seen.type_code != FLOAT || seen.type_lanes != 1) return false;
        return seen.type_bits == 64 || seen.type_bits == 32;
    }

    static const void* begin(const ExchangedTensor& seen) { return (const char*)seen.data + seen.byte_offset; }

    // √E x² of an even sample of at most about so many entries of a tensor that lies in one piece; −1 for any other.
    double size(PyObject* tensor, int64_t most) const {
        ExchangedTensor seen;
        if (!look(tensor, seen)) return -1;
        int64_t count = 1;
        for (int32_t i = seen.dimensions; i-- > 0;) {
            if (seen.shape[i] != 1 && seen.strides[i] != count) return -1;
            count *= seen.shape[i];
        }
        if (count == 0) return -1;
        const int64_t step = count / most > 1 ? count / most : 1, taken = (count + step - 1) / step;
        const Summaries& use = summaries();
        const double squares = seen.type_bits == 64 ? use.squares_of_doubles((const double*)begin(seen), count, step)
                                                    : use.squares_of_floats((const float*)begin(seen), count, step);
        return std::sqrt(squares / (double)taken);
    }

   private:
    static bool lazily_negated(PyObject* tensor) {
        static PyObject* const name = PyUnicode_InternFromString("is_neg");
        PyObject* answer = PyObject_CallMethodObjArgs(tensor, name, nullptr);
        if (!answer) PyErr_Clear();
        Py_XDECREF(answer);
        return answer != Py_False;
    }
};

// How one tensor of a shape is read.
struct Reader {
    Asked asked;
    Type kind;
    std::vector<int64_t> shape, strides;
    Layout layout;
    double threshold;
    const double *floor, *cap;
    double *sums, *gradients;
    int threads;

    enum Answer : int { REFUSED = 0, ADDED = 1, ADDED_NONFINITE = 2 };

    int64_t elements() const { return layout.outer * layout.samples * layout.middle * layout.units * layout.inner; }

    // Where its elements begin; null where it is not what this reads.
    const void* memory(PyObject* tensor) const {
        ExchangedTensor seen;
        if (!asked.look(tensor, seen) || (seen.type_bits == 64) != (kind == FLOAT64)) return nullptr;
        if (seen.dimensions != (int32_t)shape.size()) return nullptr;
        for (size_t i = 0; i < shape.size(); ++i) {
            if (seen.shape[i] != shape[i] || seen.strides[i] != strides[i]) return nullptr;
        }
        return Asked::begin(seen);
    }

    Answer add(PyObject* tensor, uint8_t* fired, int64_t step) const {
        const void* source = memory(tensor);
        if (!source) return REFUSED;
        const Statistics call = {kind, source, nullptr, NOTHING, layout, {0.0, nullptr, 1.0, __builtin_inf()},
                                 threshold, floor, cap, fired};
        unlocked([&] { gather(kernels(), call, sums, step, false, threads); });
        const double* nonfinite = sums + NONFINITE * layout.units;
        for (int64_t unit = 0; unit < layout.units; ++unit) {
            if (nonfinite[unit] != 0) return ADDED_NONFINITE;
        }
        return ADDED;
    }

    // By the regions of the value beside it, which meet at bounds of its own.
    bool add_gradient(PyObject* gradient, PyObject* value, double meets, const double* low, const double* high) const {
        const void *source = memory(gradient), *beside = source ? memory(value) : nullptr;
        if (!beside) return false;
        const GradientStatistics call = {kind, source, beside, layout, meets, low, high};
        unlocked([&] { gather_gradient(kernels(), call, gradients, threads); });
        return true;
    }

   private:
    // What is soon done keeps the GIL: taking it back costs more.
    template <class Work>
    void unlocked(Work work) const {
        constexpr int64_t SOON = 1 << 15;
        if (elements() < SOON) return work();
        const ReleasedGil released;
        work();
    }
};

// The exchange that a capsule holds; null where its version is not one that is known here.
inline const Exchange* exchange_of(PyObject* capsule) {
    auto* found = (const Exchange*)PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    if (!found) PyErr_Clear();
    while (found && found->major > 1) found = found->previous;
    return found && found->major == 1 ? found : nullptr;
}

}  // namespace leaky
