"""Processes to kill, forked from one that has loaded the program: a kill then lands in the work, not in the imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import ROOT

SERVER = """
import importlib, json, os, sys, traceback

module = importlib.import_module(sys.argv[1])
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        answer = os.waitpid(order["wait"], 0)[1]
    else:
        answer = os.fork()
    if answer == 0 and "wait" not in order:
        os.dup2(2, 1)
        try:
            getattr(module, order["function"])(*order["arguments"])
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(answer, flush=True)
"""


class Forks:
    """Runs functions of one module, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _order(self, **order: object) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, function: str, *arguments: str) -> int:
        """Start a function with texts as arguments; return the number of its process."""
        return self._order(function=function, arguments=arguments)

    def wait(self, pid: int) -> int:
        """Wait for a process; return its exit code, which is negative for a signal."""
        return os.waitstatus_to_exitcode(self._order(wait=pid))

    def kill(self, pid: int) -> int:
        """Kill a process, if it still runs, and wait for it."""
        # Until it is waited for, its number is its own.
        os.kill(pid, signal.SIGKILL)
        return self.wait(pid)


@contextmanager
def forks(module: str) -> Iterator[Forks]:
    """Load a module in a process that forks others; all that still run end with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
    )  # fmt: skip
    try:
        yield Forks(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
