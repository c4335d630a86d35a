// Reads torch's tensors where they lie and adds what they hold to a site's sums, with no word of Python in between.
//
// A tensor is asked for its memory by the C functions of DLPack's exchange, which torch hands out as a capsule; nothing
// is taken hold of. Whatever is not exactly what the reader was made for (another shape, stride, type or device, a
// subclass, a lazy negation) is refused, and the caller goes another way.
#pragma once

#include <Python.h>

#include <cstdint>
#include <vector>

#include "dispatch.hpp"
#include "released_gil.hpp"
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

// How one tensor of a shape is read.
struct Reader {
    const Exchange* exchange;
    PyObject* type;  // torch.Tensor, which outlives the reader
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
        if ((PyObject*)Py_TYPE(tensor) != type || lazily_negated(tensor)) return nullptr;
        if (exchange->look(tensor, &seen) != 0) {
            PyErr_Clear();
            return nullptr;
        }
        constexpr int32_t CPU = 1;
        constexpr uint8_t FLOAT = 2;
        if (seen.device_type != CPU || seen.type_code != FLOAT || seen.type_bits != (kind == FLOAT64 ? 64 : 32)) {
            return nullptr;
        }
        if (seen.type_lanes != 1 || seen.dimensions != (int32_t)shape.size()) return nullptr;
        for (size_t i = 0; i < shape.size(); ++i) {
            if (seen.shape[i] != shape[i] || seen.strides[i] != strides[i]) return nullptr;
        }
        return (const char*)seen.data + seen.byte_offset;
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
    static bool lazily_negated(PyObject* tensor) {
        static PyObject* const name = PyUnicode_InternFromString("is_neg");
        PyObject* answer = PyObject_CallMethodObjArgs(tensor, name, nullptr);
        if (!answer) PyErr_Clear();
        Py_XDECREF(answer);
        return answer != Py_False;
    }

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
