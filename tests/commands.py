"""The `twin` command as a person runs it, in processes forked from one that has loaded what the commands work with.

Each run is a process of its own, with its own arguments, environment, output and end; only the imports are spared.
The commands themselves are loaded by each run: their helps are in its language.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

from tests.conftest import HOME, ROOT

LONGEST = 120
SERVER = """
import gc, importlib, json, os, sys

for name in ("ingest.publish.city", "ingest.publish.rasters", "ingest.checks.html", "tiles.vector.bake", "twin.db.migrate",
             "rich.progress", "rich.table"):
    importlib.import_module(name)
gc.collect()
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    process = os.fork()
    if process == 0:
        break
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
else:
    sys.exit()

for number, file in enumerate((os.devnull, order["stdout"], order["stderr"])):
    os.dup2(os.open(file, os.O_RDWR), number)
os.environ.clear()
os.environ.update(order["environment"])
sys.argv = ["twin", *order["arguments"]]
from twin.cli import main

main()
"""


@cache
def _server() -> subprocess.Popen[bytes]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LC_", "LANG"))}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        env=clean | {"PYTHONPATH": str(ROOT)}, cwd=ROOT,
    )  # fmt: skip
    atexit.register(process.communicate)
    return process


def _number(file: IO[bytes], command: list[str]) -> int:
    if not select.select([file], [], [], LONGEST)[0]:
        raise subprocess.TimeoutExpired(command, LONGEST)
    return int(file.readline())


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with these variables besides those that are no settings."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "LC_", "LANG"))}
    server, command = _server(), ["twin", *arguments]
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        for path in outputs:
            path.touch()
        order = {
            "arguments": arguments, "environment": clean | {"TWIN_HOME": str(HOME)} | environment,
            "stdout": str(outputs[0]), "stderr": str(outputs[1]),
        }  # fmt: skip
        server.stdin.write(json.dumps(order).encode() + b"\n")
        process = _number(server.stdout, command)
        try:
            code = _number(server.stdout, command)
        except subprocess.TimeoutExpired:
            os.kill(process, signal.SIGKILL)
            _number(server.stdout, command)
            raise
        return subprocess.CompletedProcess(command, code, *(path.read_text("utf-8") for path in outputs))
