// Runs the kernels' threads against each other for ThreadSanitizer, without Python: `make sanitize`.
#include <unistd.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>
#include <vector>

#include "dispatch.hpp"
#include "work.hpp"

using namespace leaky;

namespace {

constexpr int64_t SAMPLES = 96, UNITS = 48, POSITIONS = 231;
constexpr double INFINITE = std::numeric_limits<double>::infinity();

std::vector<float> numbers(int64_t count) {
    std::vector<float> values(count);
    for (int64_t i = 0; i < count; ++i) values[i] = (float)(i * 2654435761u % 2001) / 1000.0f - 1.0f;
    return values;
}

bool forward_and_back(int threads) {
    const std::vector<float> x = numbers(SAMPLES * UNITS * POSITIONS);
    std::vector<float> y(x.size()), back(x.size());
    std::vector<uint8_t> plane(x.size() / 8 + 1);
    const Activation leaky = {0.5, nullptr, 1.0, INFINITE};
    run_forward(kernels(), {FLOAT32, x.data(), y.data(), CACHED, 1, (int64_t)x.size(), ONE, 1, leaky, plane.data(), nullptr},
                false, threads);
    run_backward(kernels(), {FLOAT32, y.data(), back.data(), CACHED, 1, (int64_t)x.size(), ONE, 1, leaky, plane.data(), nullptr},
                 false, threads);
    for (size_t i = 0; i < x.size(); ++i) {
        const float expected = x[i] > 0 ? x[i] : 0.5f * x[i];
        if (y[i] != expected || back[i] != (x[i] > 0 ? expected : 0.5f * expected)) return false;
    }
    return true;
}

// `writing` as a check does, or nothing, as the reader of a watch does.
bool sums(Layout layout, Writing writing, int threads) {
    const std::vector<float> x = numbers(SAMPLES * UNITS * POSITIONS);
    std::vector<float> y(x.size());
    std::vector<double> statistics(ROWS * layout.units);
    std::vector<uint8_t> fired(layout.samples * layout.units);
    Statistics call = {FLOAT32, x.data(), writing == NOTHING ? nullptr : y.data(), writing, layout,
                       {0.5, nullptr, 1.0, INFINITE}, 0.0, nullptr, nullptr, fired.data()};
    gather(kernels(), call, statistics.data(), 0, false, threads);
    double counted = 0;
    for (int64_t u = 0; u < layout.units; ++u) {
        counted += statistics[(COUNTS + BELOW) * layout.units + u] + statistics[(COUNTS + LINEAR) * layout.units + u];
    }
    return counted == (double)x.size();
}

// Of a gradient, by the regions of the value beside it; floats go through the sums in floats, doubles do not.
template <class T>
bool gradient_sums(Type type, Layout layout, int threads) {
    const std::vector<float> x = numbers(SAMPLES * UNITS * POSITIONS);
    const std::vector<T> gradient(x.begin(), x.end()), value(x.rbegin(), x.rend());
    std::vector<double> found(GRADIENT_ROWS * layout.units);
    const GradientStatistics call = {type, gradient.data(), value.data(), layout, 0.0, nullptr, nullptr};
    gather_gradient(kernels(), call, found.data(), threads);
    double below = 0, linear = 0, sum_below = 0, sum_linear = 0;
    for (size_t i = 0; i < x.size(); ++i) (value[i] > 0 ? linear : below) += std::fabs((double)gradient[i]);
    for (int64_t u = 0; u < layout.units; ++u) {
        sum_below += found[(ABSOLUTE + BELOW) * layout.units + u];
        sum_linear += found[(ABSOLUTE + LINEAR) * layout.units + u];
    }
    return std::fabs(sum_below - below) <= 1e-6 * below && std::fabs(sum_linear - linear) <= 1e-6 * linear;
}

bool everything() {
    const Layout layouts[] = {{1, SAMPLES, 1, UNITS, POSITIONS},
                              {1, SAMPLES, POSITIONS, UNITS, 1},
                              {POSITIONS, SAMPLES, 1, UNITS, 1},
                              {1, SAMPLES * POSITIONS, 1, UNITS, 1}};
    bool right = true;
    for (int threads : {2, 4}) {
        right &= forward_and_back(threads);
        for (const Layout& layout : layouts) {
            right &= sums(layout, CACHED, threads);
            right &= sums(layout, NOTHING, threads);
            right &= gradient_sums<float>(FLOAT32, layout, threads);
            right &= gradient_sums<double>(FLOAT64, layout, threads);
        }
    }
    return right;
}

}  // namespace

int main() {
    for (const std::string& name : instruction_sets()) {
        if (!use(name)) return 1;
        bool left = false, right = false;
        std::thread other([&] { left = everything(); });
        right = everything();
        other.join();
        std::printf("%s: %s\n", name.c_str(), left && right ? "right" : "WRONG");
        if (!left || !right) return 1;
    }
    return 0;
}
