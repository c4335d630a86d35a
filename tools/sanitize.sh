#!/bin/sh
# The kernel tests under AddressSanitizer and UndefinedBehaviorSanitizer, and the threads under ThreadSanitizer.
# Usage: tools/sanitize.sh PYTHON [quick|address|thread]…
#   quick    the first two, on the general kernels of one instruction set and fewer tests: a few minutes
#   address  the first two, on everything
#   thread   the third
set -eu
python=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
tests=tests/activation/kernels

# Usage: checked FOLDER INSTRUCTION_SETS FEW_KINDS PYTEST_ARGUMENT…
checked() {
    build=$root/build/$1
    cmake -S "$root" -B "$build" -DPython_EXECUTABLE="$python" -DLEAKY_SANITIZE=address,undefined \
        -DLEAKY_INSTRUCTION_SETS="$2" -DLEAKY_FEW_KINDS="$3" > /dev/null
    shift 3
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
        "$python" -m pytest -q -p no:cacheprovider "$@"
}

# The baseline alone, whose loads and stores the sanitizer sees each; it looks at no masked ones of AVX-512.
quick() {
    checked sanitize-quick "" ON -k "beside or torch_s or oracle_s or goes_over_it or slopes_gain" \
        $tests/test_elementwise.py $tests/test_statistics.py $tests/test_gradient_statistics.py
}

address() {
    checked sanitize-address "avx2;avx512" OFF -k "not past_two_to_the_31" \
        $tests/test_elementwise.py $tests/test_statistics.py $tests/test_gradient_statistics.py $tests/test_reader.py \
        tests/fuzz/test_core.py
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
