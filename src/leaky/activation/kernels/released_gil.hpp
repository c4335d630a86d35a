#pragma once

#include <Python.h>
#include <unistd.h>

namespace leaky {

// Lets other Python threads run for as long as it lives.
//
// A daemon thread that comes back while the interpreter is being shut down must not run on. Python up to 3.13 ends it
// by pthread_exit, and unwinding through frames that promise not to throw would abort the whole program; so the thread
// is held here, as Python 3.14 does itself, until the process is gone.
class ReleasedGil {
   public:
    ReleasedGil() : state_(PyEval_SaveThread()) {}
    ReleasedGil(const ReleasedGil&) = delete;
    ReleasedGil& operator=(const ReleasedGil&) = delete;
    ~ReleasedGil() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            while (true) pause();
        }
    }

   private:
    PyThreadState* const state_;
};

}  // namespace leaky
