"""Ctrl-C and SIGTERM end the program within a second, in order where that can be, and at once the second time.

Python tells its main thread of a signal only between two steps of Python. Where that does not come, in a loop of
compiled code for one, a thread of ours ends the program.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

PATIENCE = 0.6
"""Seconds in which the main thread must have heard of a signal; the rest of the second is for Python's own end."""
AGAIN = 0.01
"""Seconds after which a signal comes again whose exception Python ignored."""
STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORDS = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated."}


class Terminated(BaseException):
    """SIGTERM arrived."""


class _Listener:
    def __init__(self) -> None:
        self.heard = threading.Event()
        self.number = 0
        self.hook = sys.unraisablehook

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.heard.is_set():
            end_at_once(number)
        self.number = number
        self.heard.set()
        self.tell()

    def tell(self) -> NoReturn:
        """Raise the exception of the signal that was heard."""
        raise KeyboardInterrupt if self.number == signal.SIGINT else Terminated

    def unraisable(self, ignored: sys.UnraisableHookArgs) -> None:
        """What Python ignores, as in a destructor that ran just then: if it is a signal's, the signal comes again."""
        if self.heard.is_set() and isinstance(ignored.exc_value, (KeyboardInterrupt, Terminated)):
            number = signal.SIGTERM if isinstance(ignored.exc_value, Terminated) else signal.SIGINT
            self.heard.clear()
            # From a thread, a moment later: here it would be ignored once more.
            threading.Timer(AGAIN, os.kill, (os.getpid(), number)).start()
        else:
            self.hook(ignored)

    def watch(self, wakeups: socket.socket) -> None:
        """Wait for a signal's number to come through the socket, then for the main thread to hear of it."""
        with contextlib.suppress(OSError):
            while received := wakeups.recv(1):
                number = received[0]
                if number in STATUSES and not self.heard.wait(PATIENCE):
                    end_at_once(number)


def end_at_once(number: int) -> None:
    """End the process without another step of Python."""
    os._exit(_told(signal.Signals(number)))


def end(status: int) -> NoReturn:
    """End the process in order, but let Python take nothing apart: with torch that alone takes it a second.

    What has registered for the end runs: processes of pools are ended, temporary folders removed.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none, gone, closed
            stream.flush()
    os._exit(status)


def status_of(arrived: BaseException) -> int:
    """The status to end with after the exception of a signal, or of click for Ctrl-C; its word is on stderr then."""
    return _told(signal.SIGTERM if isinstance(arrived, Terminated) else signal.SIGINT)


def _told(number: signal.Signals) -> int:
    with contextlib.suppress(OSError):
        os.write(2, f"{WORDS[number]}\n".encode())
    return STATUSES[number]


def listening() -> bool:
    """Whether signals are heard here: this is the program `leaky` and nobody else's."""
    return isinstance(signal.getsignal(signal.SIGTERM), _Listener)


def tell_what_was_swallowed() -> None:
    """Raise the exception of a signal once more that was heard and came to nothing: what was imported has caught it.

    Before any code of the user's runs; that may go on when it is interrupted.
    """
    listener = signal.getsignal(signal.SIGTERM)
    if isinstance(listener, _Listener) and listener.heard.is_set():
        listener.tell()


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """While open, SIGINT raises KeyboardInterrupt and SIGTERM `Terminated`; after it both just end the process.

    In the main thread of a program that is about to end, and only there.
    """
    listener = _Listener()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    for number in STATUSES:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` and shells' background jobs have it
            signal.signal(number, listener)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)  # a child's signals are not ours
    sys.unraisablehook = listener.unraisable
    threading.Thread(target=listener.watch, args=(ours,), daemon=True, name="leaky signals").start()
    try:
        yield
    finally:
        sys.unraisablehook = listener.hook
        signal.set_wakeup_fd(-1)
        for number in STATUSES:
            if signal.getsignal(number) is listener:
                signal.signal(number, signal.SIG_DFL)
        ours.close()
        theirs.close()


def _forget() -> None:
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
