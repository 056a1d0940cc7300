"""Two real processes through `jax.distributed` on the loopback address."""

import os
import pathlib
import socket
import subprocess
import sys

import jaxce


def test_two_processes_agree_with_one():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = str(listener.getsockname()[1])
    path = {"PYTHONPATH": str(pathlib.Path(jaxce.__file__).parent.parent)}
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | path
    command = [sys.executable, str(pathlib.Path(__file__).parent / "two_processes.py"), port]
    workers = [
        subprocess.Popen([*command, rank], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in "01"
    ]
    try:
        for worker in workers:
            output, _ = worker.communicate(timeout=120)
            assert worker.returncode == 0, output
            assert output.splitlines()[-1] == "agreed", output
    finally:
        for worker in workers:
            worker.kill()
