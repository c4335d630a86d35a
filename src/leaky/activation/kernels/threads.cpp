// Which threads run a call's tasks. Those of torch's OpenMP are looked up by name at run time, for there is no other way
// to them: linked, OpenMP would be a second runtime with threads of its own. The pool alone takes 1.3 to 2.1 times as
// long, and OpenMP as it is linked up to 1.18 times (`python -m benchmarks.threads`).
#include "threads.hpp"

#include <pthread.h>

#if defined(__linux__) && !defined(LEAKY_OWN_THREADS)
#include <dlfcn.h>
#include <link.h>
#endif

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace leaky {
namespace {

// How the processor rounds and whether it flushes subnormals, which a user may have set for his thread alone.
unsigned floating_mode() {
#if defined(__SSE2__)
    return _mm_getcsr();
#else
    return 0;
#endif
}

void set_floating_mode(unsigned mode) {
#if defined(__SSE2__)
    _mm_setcsr(mode);
#else
    (void)mode;
#endif
}

// Each begins with a share of its own, the caller with the first, and helps with the others' when that is done. torch's
// operations divide a tensor in the same way: what lies in a core's cache is worked on by that core.
struct Job {
    static constexpr int MOST_SHARES = 16;
    struct alignas(64) Next {
        std::atomic<int64_t> task;
    };

    const std::function<void(int64_t)>& task;
    const int64_t count;
    const int shares;
    const unsigned mode = floating_mode();
    std::atomic<int> helpers{0};
    Next next[MOST_SHARES];

    Job(const std::function<void(int64_t)>& task, int64_t count, int threads)
        : task(task), count(count), shares(threads < MOST_SHARES ? threads : MOST_SHARES) {
        for (int share = 0; share < shares; ++share) next[share].task.store(count * share / shares);
    }

    void work(int mine) {
        for (int i = 0; i < shares; ++i) {
            const int share = (mine + i) % shares;
            const int64_t end = count * (share + 1) / shares;
            std::atomic<int64_t>& left = next[share].task;
            for (int64_t each = left.fetch_add(1); each < end; each = left.fetch_add(1)) task(each);
        }
    }

    void help() { work(1 + helpers.fetch_add(1)); }
};

// Never destroyed: its threads wait for work until the process ends.
class Pool {
   public:
    bool try_run(Job& job, int helpers) {
        std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
        if (!turn.owns_lock()) return false;
        {
            std::lock_guard<std::mutex> guard(mutex_);
            for (; started_ < helpers; ++started_) std::thread(&Pool::help, this).detach();
            job_ = &job;
            wanted_ = helpers;
        }
        for (int i = 0; i < helpers; ++i) wake_.notify_one();
        job.work(0);
        std::unique_lock<std::mutex> lock(mutex_);
        job_ = nullptr;
        wanted_ = 0;
        idle_.wait(lock, [this] { return working_ == 0; });
        return true;
    }

   private:
    void help() {
        std::unique_lock<std::mutex> lock(mutex_);
        while (true) {
            wake_.wait(lock, [this] { return wanted_ > 0; });
            --wanted_;
            ++working_;
            Job* job = job_;
            lock.unlock();
            set_floating_mode(job->mode);
            job->help();
            lock.lock();
            if (--working_ == 0) idle_.notify_one();
        }
    }

    std::mutex turn_, mutex_;
    std::condition_variable wake_, idle_;
    Job* job_ = nullptr;
    int wanted_ = 0, working_ = 0, started_ = 0;
};

std::atomic<Pool*> the_pool{nullptr};
std::atomic<bool> in_child{false};

// The parent's threads do not exist in the child, and its locks may be held by them: the child begins anew.
void begin_anew() {
    the_pool.store(nullptr);
    in_child.store(true);
}

const int registered = pthread_atfork(nullptr, nullptr, begin_anew);

// How compilers start a parallel region: libgomp's entry, which the other OpenMP runtimes have as well.
using ParallelRegion = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
// The number of a thread in its region, 0 for the caller; null where the runtime does not tell.
using NumberOfThread = int (*)();

std::atomic<NumberOfThread> number_of_thread{nullptr};

#if defined(__linux__) && !defined(LEAKY_OWN_THREADS)
// The OpenMP runtime that torch brought along, among perhaps several.
int find_torch_s(dl_phdr_info* info, size_t, void* found) {
    const char* file = std::strrchr(info->dlpi_name, '/');
    const bool runtime = file && (std::strncmp(file, "/libgomp", 8) == 0 || std::strncmp(file, "/libomp", 7) == 0 ||
                                  std::strncmp(file, "/libiomp", 8) == 0);
    if (!runtime || !std::strstr(info->dlpi_name, "/torch")) return 0;
    *static_cast<std::string*>(found) = info->dlpi_name;
    return 1;
}
#endif

ParallelRegion torch_s_threads() {
    static std::atomic<ParallelRegion> known{nullptr};
    if (in_child.load()) return nullptr;
#if defined(__linux__) && !defined(LEAKY_OWN_THREADS)
    if (known.load()) return known.load();
    std::string path;
    dl_iterate_phdr(find_torch_s, &path);
    if (path.empty()) return nullptr;
    if (void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
        number_of_thread.store(reinterpret_cast<NumberOfThread>(dlsym(library, "omp_get_thread_num")));
        known.store(reinterpret_cast<ParallelRegion>(dlsym(library, "GOMP_parallel")));
    }
#endif
    return known.load();
}

struct Region {
    Job& job;
    NumberOfThread number;
};

void work_in_region(void* data) {
    Region& region = *static_cast<Region*>(data);
    Job& job = region.job;
    const unsigned before = floating_mode();
    set_floating_mode(job.mode);
    if (region.number) {
        job.work(region.number());
    } else {
        job.help();
    }
    set_floating_mode(before);
}

Pool& pool() {
    Pool* existing = the_pool.load();
    if (existing) return *existing;
    Pool* made = new Pool;
    if (the_pool.compare_exchange_strong(existing, made)) return *made;
    delete made;
    return *existing;
}

}  // namespace

void run_tasks(int64_t count, int threads, const std::function<void(int64_t)>& task) {
    const int helpers = (int)(count < threads ? count : threads) - 1;
    Job job(task, count, helpers < 0 ? 1 : helpers + 1);
    if (helpers <= 0) return job.work(0);
    if (const ParallelRegion begin = torch_s_threads()) {
        Region region{job, number_of_thread.load()};
        return begin(work_in_region, &region, (unsigned)helpers + 1, 0);
    }
    if (!pool().try_run(job, helpers)) job.work(0);
}

}  // namespace leaky
