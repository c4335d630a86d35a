// One call of a site in training, met with no word of Python in between: the pre-activation's elements are added to the
// site's sums, and a hook waits for the gradient at the output.
//
// Nothing is done, and the caller goes another way, wherever the hook could not be put on as quickly: on a subclass, an
// output that has hooks already, or where somebody keeps what autograd saves in its stead.
#pragma once

#include <nanobind/nanobind.h>

#include "reader.hpp"

namespace leaky {

namespace nb = nanobind;

// Where a site's counts lie.
enum Count : int { SAMPLES = 0, PASSES = 1, GRADIENT_SAMPLES = 2 };

struct Meeting {
    Reader reader;
    int64_t* counts;
    bool by_output;  // whether the output parts the gradient's elements, or the pre-activation
    nb::object kept;   // torch's function that says who keeps what autograd saves; None for nobody
    nb::object hooks;  // makes an empty dictionary of hooks
    nb::object late;   // (gradient, value, pass): takes in a gradient of another form
    nb::object holds;  // the arrays that all addresses point into
    int64_t awaited = -1;  // the last pass whose gradient is waited for
};

// The hook of one call.
struct Awaited {
    nb::object meeting, value;
    int64_t of_pass;

    void arrives(nb::handle gradient) {
        nb::object beside = std::move(value);
        value = nb::none();
        if (beside.is_none()) return;  // the graph is run through a second time
        Meeting& known = nb::cast<Meeting&>(meeting);
        const Reader& reader = known.reader;
        if (reader.add_gradient(gradient.ptr(), beside.ptr(), reader.threshold, reader.floor, reader.cap)) {
            known.counts[GRADIENT_SAMPLES] += reader.layout.samples;
        } else {
            known.late(gradient, beside, of_pass);
        }
    }
};

namespace names {

inline PyObject* interned(const char* name) { return PyUnicode_InternFromString(name); }

}  // namespace names

// An attribute of an object; null without an error where it has none.
inline nb::object attribute(nb::handle object, PyObject* name) {
    PyObject* found = PyObject_GetAttr(object.ptr(), name);
    if (!found) PyErr_Clear();
    return nb::steal(found);
}

// What puts a hook on an output; null where that is not the quick way.
inline nb::object way_to_gradient(const Meeting& known, nb::handle output) {
    static PyObject *const hooks = names::interned("_backward_hooks"), *const node = names::interned("grad_fn"),
                           *const way = names::interned("_register_hook_dict");
    if ((PyObject*)Py_TYPE(output.ptr()) != known.reader.asked.type) return {};
    nb::object keeper = nb::steal(PyObject_CallFunctionObjArgs(known.kept.ptr(), Py_False, nullptr));
    if (!keeper.is_valid()) PyErr_Clear();
    if (!keeper.is_valid() || !keeper.is_none() || !attribute(output, hooks).is_none()) return {};
    nb::object behind = attribute(output, node);
    return behind.is_valid() && !behind.is_none() ? attribute(behind, way) : nb::object();
}

// Puts the hook on.
inline void wait(nb::handle self, Meeting& known, nb::handle way, nb::handle z, nb::handle output, int64_t of_pass) {
    static PyObject *const hooks = names::interned("_backward_hooks"), *const detach = names::interned("detach");
    nb::handle beside = known.by_output ? output : z;
    nb::object value = nb::steal(PyObject_CallMethodObjArgs(beside.ptr(), detach, nullptr));
    nb::object dictionary = nb::steal(PyObject_CallFunctionObjArgs(known.hooks.ptr(), nullptr));
    if (!value.is_valid() || !dictionary.is_valid()) throw nb::python_error();
    dictionary[nb::int_(-1)] = nb::cast(Awaited{nb::borrow(self), std::move(value), of_pass}, nb::rv_policy::move);
    if (PyObject_SetAttr(output.ptr(), hooks, dictionary.ptr()) != 0) throw nb::python_error();
    nb::object done = nb::steal(PyObject_CallFunctionObjArgs(way.ptr(), output.ptr(), nullptr));
    if (!done.is_valid()) throw nb::python_error();
    known.awaited = of_pass;
}

// Meets a call; false where nothing was done. The clock knows the step and the pass, and is told of what is not finite.
inline bool meet_call(nb::handle self, nb::handle clock, nb::handle z, nb::handle output) {
    static PyObject *const needs = names::interned("requires_grad"), *const step = names::interned("step"),
                           *const passes = names::interned("passes"), *const nonfinite = names::interned("nonfinite");
    Meeting& known = nb::cast<Meeting&>(self);
    const bool waits = attribute(output, needs).ptr() == Py_True;
    nb::object way;
    if (waits && !(way = way_to_gradient(known, output)).is_valid()) return false;
    const int answer = known.reader.add(z.ptr(), nullptr, nb::cast<int64_t>(clock.attr(step)));
    if (answer == Reader::REFUSED) return false;
    known.counts[SAMPLES] += known.reader.layout.samples;
    known.counts[PASSES] += 1;
    if (answer == Reader::ADDED_NONFINITE) clock.attr(nonfinite) = true;
    if (waits) wait(self, known, way, z, output, nb::cast<int64_t>(clock.attr(passes)));
    return true;
}

}  // namespace leaky
