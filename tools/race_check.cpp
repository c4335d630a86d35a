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

bool sums(Layout layout, int threads) {
    const std::vector<float> x = numbers(SAMPLES * UNITS * POSITIONS);
    std::vector<float> y(x.size());
    std::vector<double> statistics(ROWS * layout.units);
    std::vector<uint8_t> fired(layout.samples * layout.units);
    Statistics call = {FLOAT32, x.data(), y.data(), CACHED, layout, {0.5, nullptr, 1.0, INFINITE},
                       0.0, nullptr, nullptr, fired.data()};
    gather(kernels(), call, statistics.data(), 0, false, threads);
    double counted = 0;
    for (int64_t u = 0; u < layout.units; ++u) {
        counted += statistics[(COUNTS + BELOW) * layout.units + u] + statistics[(COUNTS + LINEAR) * layout.units + u];
    }
    return counted == (double)x.size();
}

bool everything() {
    bool right = true;
    for (int threads : {2, 4}) {
        right &= forward_and_back(threads);
        right &= sums({1, SAMPLES, 1, UNITS, POSITIONS}, threads);
        right &= sums({1, SAMPLES, POSITIONS, UNITS, 1}, threads);
        right &= sums({POSITIONS, SAMPLES, 1, UNITS, 1}, threads);
        right &= sums({1, SAMPLES * POSITIONS, 1, UNITS, 1}, threads);
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
