#!/bin/sh
# The kernel tests under AddressSanitizer and UndefinedBehaviorSanitizer, and the threads under ThreadSanitizer.
# Usage: tools/sanitize.sh PYTHON [address|thread]…
set -eu
python=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)

address() {
    build=$root/build/sanitize-address
    cmake -S "$root" -B "$build" -DPython_EXECUTABLE="$python" -DLEAKY_SANITIZE=address,undefined > /dev/null
    cmake --build "$build" -j 2 > /dev/null
    # a copy of the package, so that the checkout keeps its fast core
    rm -rf "$build/site" && mkdir -p "$build/site"
    cp -r "$root/src/leaky" "$build/site/leaky"
    rm -f "$build"/site/leaky/activation/kernels/_core*.so
    cp "$build"/_core*.so "$build/site/leaky/activation/kernels/"
    compiler=${CXX:-c++}
    cd "$root"
    LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so)" \
        ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 PYTHONMALLOC=malloc PYTHONPATH="$build/site" LEAKY_REQUIRE_CORE=1 \
        "$python" -m pytest -q -p no:cacheprovider tests/activation/kernels/test_elementwise.py \
        tests/activation/kernels/test_statistics.py tests/activation/kernels/test_gradient_statistics.py -k "not past_two_to_the_31"
}

thread() {
    build=$root/build/sanitize-thread
    cmake -S "$root" -B "$build" -DPython_EXECUTABLE="$python" -DLEAKY_SANITIZE=thread -DLEAKY_RACE_CHECK=ON > /dev/null
    cmake --build "$build" -j 2 --target race_check > /dev/null
    # ThreadSanitizer refuses address spaces that are too random
    if command -v setarch > /dev/null; then
        setarch "$(uname -m)" -R "$build/race_check"
    else
        "$build/race_check"
    fi
}

for each in "${@:-address thread}"; do
    for one in $each; do "$one"; done
done
