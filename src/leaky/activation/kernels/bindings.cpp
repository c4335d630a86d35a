// The Python module: raw addresses in, nothing kept. Each function releases the GIL while it works.
//
// The caller holds references to all buffers for as long as a call runs, and has checked type, size and contiguity.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <utility>

#include "dispatch.hpp"
#include "meeting.hpp"
#include "pages.hpp"
#include "reader.hpp"
#include "released_gil.hpp"
#include "summaries.hpp"
#include "work.hpp"

namespace nb = nanobind;
using namespace leaky;

namespace {

using Address = uintptr_t;

template <class T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

void forward(int type, Address source, Address target, int64_t rows, int64_t length, int how, int64_t channels,
             double slope, Address slopes, double gain, double bound, Address linear, Address beyond, bool fresh,
             int threads) {
    const Forward call = {(Type)type, at<void>(source), at<void>(target), CACHED, rows, length,
                          (Slopes)how, channels, {slope, at<void>(slopes), gain, bound},
                          at<uint8_t>(linear), at<uint8_t>(beyond)};
    const ReleasedGil released;
    run_forward(kernels(), call, fresh, threads);
}

void backward(int type, Address source, Address target, int64_t rows, int64_t length, int how, int64_t channels,
              double slope, Address slopes, double gain, double bound, Address linear, Address beyond, bool fresh,
              int threads) {
    const Backward call = {(Type)type, at<void>(source), at<void>(target), CACHED, rows, length,
                           (Slopes)how, channels, {slope, at<void>(slopes), gain, bound},
                           at<uint8_t>(linear), at<uint8_t>(beyond)};
    const ReleasedGil released;
    run_backward(kernels(), call, fresh, threads);
}

void statistics(int type, Address source, Address target, int64_t outer, int64_t samples, int64_t middle,
                int64_t units, int64_t inner, double slope, Address slopes, double gain, double bound,
                double threshold, Address floor, Address cap, Address sums, Address fired, int64_t batch,
                bool fresh, int threads) {
    const Statistics call = {(Type)type, at<void>(source), at<void>(target), NOTHING,
                             {outer, samples, middle, units, inner},
                             {slope, at<void>(slopes), gain, bound},
                             threshold, at<double>(floor), at<double>(cap), at<uint8_t>(fired)};
    const ReleasedGil released;
    gather(kernels(), call, at<double>(sums), batch, fresh, threads);
}

void gradient_sums(int type, Address source, Address value, int64_t outer, int64_t samples, int64_t middle,
                   int64_t units, int64_t inner, double threshold, Address floor, Address cap, Address sums,
                   int threads) {
    const GradientStatistics call = {(Type)type, at<void>(source), at<void>(value),
                                     {outer, samples, middle, units, inner},
                                     threshold, at<double>(floor), at<double>(cap)};
    const ReleasedGil released;
    gather_gradient(kernels(), call, at<double>(sums), threads);
}

// See summaries.hpp.
int64_t directions(int type, Address source, Address starts, int64_t samples, Address offsets, int64_t count,
                   Address sums) {
    if (count > MOST_COORDINATES) throw nb::value_error("more coordinates than there is room for");
    const auto *from = at<int64_t>(starts), *entries = at<int64_t>(offsets);
    const Summaries& use = summaries();
    const ReleasedGil released;
    return type == FLOAT64
               ? use.directions_of_doubles(at<double>(source), from, samples, entries, count, at<double>(sums))
               : use.directions_of_floats(at<float>(source), from, samples, entries, count, at<double>(sums));
}

int summary(int type, Address source, int64_t samples, int64_t features, int64_t positions, Address sums) {
    const Summaries& use = summaries();
    const ReleasedGil released;
    return type == FLOAT64
               ? use.summary_of_doubles(at<double>(source), samples, features, positions, at<double>(sums))
               : use.summary_of_floats(at<float>(source), samples, features, positions, at<double>(sums));
}

// Where an object's buffer begins. Much cheaper than asking NumPy for it in Python.
Address address(nb::handle object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object.ptr(), &view, PyBUF_STRIDED_RO) != 0) throw nb::python_error();
    const auto begin = (Address)view.buf;
    PyBuffer_Release(&view);
    return begin;
}

nb::tuple gradient_total(Address sums, int64_t units) {
    const double* rows = at<double>(sums);
    double total = 0, lost = 0;
    for (int64_t i = GRADIENT_SQUARES * units; i < GRADIENT_NONFINITE * units; ++i) total += rows[i];
    for (int64_t i = GRADIENT_NONFINITE * units; i < GRADIENT_ROWS * units; ++i) lost += rows[i];
    return nb::make_tuple(total, lost != 0);
}

using Lengths = std::vector<int64_t>;

const Exchange* known_exchange(nb::handle capsule) {
    const Exchange* found = exchange_of(capsule.ptr());
    if (!found) throw nb::value_error("this exchange of tensors is of a version that is not known here");
    return found;
}

void make_reader(Reader* place, nb::handle exchange, nb::handle tensor_type, int kind, Lengths shape, Lengths strides,
                 const Lengths& layout, double threshold, Address floor, Address cap, Address sums, Address gradients,
                 int threads) {
    new (place) Reader{{known_exchange(exchange), tensor_type.ptr()}, (Type)kind, std::move(shape), std::move(strides),
                       {layout.at(0), layout.at(1), layout.at(2), layout.at(3), layout.at(4)},
                       threshold, at<double>(floor), at<double>(cap), at<double>(sums), at<double>(gradients), threads};
}

}  // namespace

NB_MODULE(_core, module) {
    nb::set_leak_warnings(false);  // what outlives the interpreter is nothing that a user should read of
    module.def("instruction_sets", &instruction_sets, "Names that `use` accepts here, the best last.");
    module.def("instruction_set", [] { return kernels().name; }, "The one in use.");
    module.def("use", &use, "Uses an instruction set by name; an empty name is the best.");
    module.def("gives_huge_pages", &gives_huge_pages, "Whether large fresh outputs get huge pages.");
    module.def("set_streaming_bytes", [](int64_t bytes) { return std::exchange(streaming_bytes, bytes); });
    module.def("address", &address, nb::arg("object"), "Address of an object's buffer; it must be held by the caller.");
    module.def("forward", &forward);
    module.def("backward", &backward);
    module.def("copy", [](Address source, Address target, int64_t bytes, int threads) {
        const ReleasedGil released;
        run_copy(kernels(), at<char>(source), at<char>(target), bytes, threads);
    });
    module.def("statistics", &statistics);
    module.def("gradient_sums", &gradient_sums);
    module.def("directions", &directions);
    module.def("summary", &summary);
    module.def("gradient_total", &gradient_total, "Σg² of a site's sums, and whether any g was not finite.");
    nb::class_<Asked>(module, "Asked")
        .def("__init__", [](Asked* place, nb::handle exchange, nb::handle tensor_type) {
            new (place) Asked{known_exchange(exchange), tensor_type.ptr()};
        })
        .def("size", [](const Asked& self, nb::handle tensor, int64_t most) { return self.size(tensor.ptr(), most); },
             nb::arg().none(), nb::arg());
    nb::class_<Reader>(module, "Reader")
        .def("__init__", &make_reader)
        .def("add", [](const Reader& self, nb::handle tensor, Address fired, int64_t step) {
            return (int)self.add(tensor.ptr(), at<uint8_t>(fired), step);
        }, nb::arg().none(), nb::arg(), nb::arg())
        .def("add_gradient", [](const Reader& self, nb::handle gradient, nb::handle value, double threshold,
                                Address floor, Address cap) {
            return self.add_gradient(gradient.ptr(), value.ptr(), threshold, at<double>(floor), at<double>(cap));
        }, nb::arg().none(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg());
    nb::class_<Meeting>(module, "Meeting")
        .def("__init__", [](Meeting* place, const Reader& reader, Address counts, bool by_output, nb::object kept,
                            nb::object hooks, nb::object late, nb::object holds) {
            new (place) Meeting{reader, at<int64_t>(counts), by_output, kept, hooks, late, holds};
        })
        .def_ro("awaited", &Meeting::awaited);
    module.def("meet_call", &meet_call, nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
    nb::class_<Awaited>(module, "Awaited").def("__call__", [](Awaited& self, nb::handle gradient) {
        self.arrives(gradient);
    }, nb::arg().none());
    module.def("count_fired", [](Address fired, int64_t samples, int64_t units, Address sums, int64_t batch) {
        const ReleasedGil released;
        count_fired(at<uint8_t>(fired), samples, units, at<double>(sums), batch);
    });
}
