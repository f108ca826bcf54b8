"""A box in which a submission runs: bubblewrap around it, limits on it, one pipe out of it.

Inside are the interpreter, its libraries, the part of the course that the answers may use, all
read-only, and an empty folder to work in. There is no network, no other process, no user that
means anything outside, and nothing of grading but :mod:`grading.runner`. Memory and the number of
processes are limited for the box as a whole: by control groups, or else by running it as a user
without rights and watching it.

What comes out is read as text of bounded length, one JSON value a line, and never as code.
"""

import ast
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from grading import runner
from grading.questions import ALWAYS, Answer, Request

__all__ = ["Cell", "Limits", "Outcome", "Refusal", "check", "prepare", "run", "worse"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "code" / "funnel"
RUNNER = Path(runner.__file__)
#: The deepest JSON that is read.
DEPTH = 40
#: A user that owns nothing, for where there are no control groups.
NOBODY = 65534

ADVICE = """\
The box that keeps submissions apart from this machine cannot be used here: {reason}

Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap), and allow it to make namespaces:
- Ubuntu 23.10 and later, GitHub's runners among them, forbid it to users without rights:
  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap.
- In Docker, start the container with --security-opt seccomp=unconfined --cap-add SYS_ADMIN.
- On Kubernetes, the pod needs seccompProfile Unconfined and user namespaces (hostUsers: false)
  on nodes that allow them; many clusters do not.
With --unsafe-no-box submissions run without a box, with your rights: they can read your files,
delete them, and write their own scores. Every report then says so."""


class Refusal(RuntimeError):
    """No submission can be kept apart from this machine."""


@dataclass(frozen=True)
class Limits:
    """What a box may take.

    Parameters
    ----------
    memory : int
        Of all its processes and files together, in megabytes.
    processes : int
        How many at a time, threads included.
    file : int
        Of the largest file, in megabytes.
    scratch : int
        Of all files in its folder, in megabytes; they live in memory.
    cell : float
        The longest that a cell may run, in seconds.
    wall : float
        The longest that the box may stand, in seconds.
    line, answers : int
        Of one line that comes out, and of all of them, in bytes.
    """

    memory: int = 3000
    processes: int = 128
    file: int = 50
    scratch: int = 200
    cell: float = 60.0
    wall: float = 300.0
    line: int = 2_000_000
    answers: int = 20_000_000


@dataclass(frozen=True)
class Cell:
    """A code cell: its source, and the question whose figure it may draw, or None."""

    source: str
    figure: str | None = None


@dataclass
class Outcome:
    """What came out of a box.

    Parameters
    ----------
    answers : list of Answer
        One for each request, in order.
    status : {"graded", "timed out", "crashed", "suspicious"}
        How the run went.
    reasons : list of str
        Why it is not ``"graded"``, and which cells failed.
    figures : dict
        By question, a figure as base64 text; not looked at yet.
    seconds : float
        How long the box stood.
    waited : list of float
        For each request, how long its answer took.
    """

    answers: list[Answer]
    status: str = "graded"
    reasons: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    waited: list[float] = field(default_factory=list)


# --- What is in the box --------------------------------------------------------------------


def imported(module: str) -> set[str]:
    """Name the modules of the course that a module imports when it is loaded."""
    path = PACKAGE / f"{module.partition('.')[2].replace('.', '/')}.py"
    if not path.exists():
        path = path.with_suffix("") / "__init__.py"
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("funnel."):
            found.add(str(node.module))
        elif isinstance(node, ast.ImportFrom) and node.module == "funnel":
            found |= {f"funnel.{name.name}" for name in node.names}
    return found


def modules(may_use: Sequence[str]) -> set[str]:
    """Name the modules of the course that are in the box, those that these need included."""
    wanted = {*ALWAYS, *may_use}
    while new := {needed for module in wanted for needed in imported(module)} - wanted:
        wanted |= new
    return wanted


def prepare(folder: Path, may_use: Sequence[str] = ()) -> Path:
    """Lay out the part of the course that goes into a box.

    Parameters
    ----------
    folder : Path
        An empty folder, or one of an earlier call.
    may_use : sequence of str
        Modules beyond `ALWAYS`.

    Returns
    -------
    Path
        A folder with ``code/funnel`` and ``data``, to be read by anyone and written by none.
    """
    course = folder / ("+".join(sorted(may_use)) or "plain")
    if course.exists():
        return course
    draft = Path(tempfile.mkdtemp(dir=folder))
    package = draft / "code" / "funnel"
    package.mkdir(parents=True)
    shutil.copy(PACKAGE / "__init__.py", package)
    for module in sorted(modules(may_use)):
        source = PACKAGE / f"{module.partition('.')[2].replace('.', '/')}.py"
        if source.exists():
            target = package / source.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        else:
            shutil.copytree(source.with_suffix(""), package / source.stem)
    shutil.copytree(ROOT / "data", draft / "data", ignore=shutil.ignore_patterns("*.py"))
    shutil.copy(RUNNER, draft / "runner.py")
    warm_up(draft)
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with suppress(OSError):  # somebody was faster
        draft.rename(course)
    shutil.rmtree(draft, ignore_errors=True)
    return course


def warm_up(course: Path) -> None:
    """Fill the caches of compiled code and of fonts, which every box gets a copy of."""
    cache = course / "cache"
    cache.mkdir()
    source = (
        "import matplotlib.pyplot, pandas, pymc, arviz, scipy.stats\n"
        "with pymc.Model() as model:\n"
        "    x, s = pymc.Normal('x'), pymc.HalfNormal('s')\n"
        "    pymc.Normal('y', x, s, observed=[1.0])\n"
        "model.compile_logp(jacobian=False, mode='FAST_COMPILE')(model.initial_point())\n"
    )
    subprocess.run(
        [sys.executable, "-s", "-B", "-P", "-c", source],
        env=environment(str(course), site_packages(), str(cache)),
        cwd=cache,
        check=True,
        capture_output=True,
        timeout=300,
    )


def environment(course: str, packages: str, home: str) -> dict[str, str]:
    """Give all variables that a submission sees."""
    return {
        "HOME": home,
        "LANG": "C.UTF-8",
        "LOGNAME": "student",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "NUMBA_CACHE_DIR": f"{home}/.numba",
        "NUMBA_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "PYTENSOR_FLAGS": f"base_compiledir={home}/.pytensor",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{course}/code{os.pathsep}{packages}",
        "TMPDIR": home,
        "USER": "student",
    }


def site_packages() -> str:
    """Where the interpreter's libraries are."""
    return sysconfig.get_paths()["purelib"]


def interpreter() -> tuple[str, list[str]]:
    """Give the interpreter without its environment, and the folders that it needs."""
    base = Path(sys.base_prefix)
    executable = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    if base in (Path("/usr"), Path("/usr/local")):
        return str(executable), [str(executable), str(base / "lib")]
    return str(executable), [str(base)]


def bwrap(course: Path, limits: Limits, pipe: int) -> list[str]:
    """Give the command that starts the runner in a box."""
    executable, needed = interpreter()
    command = [
        "bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--uid", "1000",
        "--gid", "1000", "--hostname", "box", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--clearenv",
    ]  # fmt: skip
    for name, value in environment("/course", "/packages", "/work").items():
        command += ["--setenv", name, value]
    for system in ("/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"):
        command += ["--ro-bind-try", system, system]
    for link in ("/lib", "/lib64"):
        if os.path.islink(link):
            command += ["--symlink", os.readlink(link).lstrip("/"), link]
        else:
            command += ["--ro-bind-try", link, link]
    for path in needed:
        command += ["--ro-bind", path, path]
    scratch = str(limits.scratch * 1_000_000)
    command += [
        "--ro-bind", site_packages(), "/packages", "--ro-bind", str(course), "/course",
        "--proc", "/proc", "--dev", "/dev", "--size", scratch, "--tmpfs", "/tmp",
        "--size", scratch, "--tmpfs", "/work", "--chdir", "/work",
    ]  # fmt: skip
    # The box fills its own copy of the caches.
    start = "import shutil, sys; shutil.copytree('/course/cache', '/work', dirs_exist_ok=True); "
    start += "sys.path.insert(0, '/course'); import runner; runner.main()"
    return [*command, executable, "-s", "-B", "-P", "-c", start, str(pipe)]


# --- How much it may take ------------------------------------------------------------------


class Group:
    """A control group for one box, or None if there can be none.

    Parameters
    ----------
    limits : Limits
        What the box may take.
    """

    def __init__(self, limits: Limits) -> None:
        self.name = f"submission-{os.getpid()}-{secrets.token_hex(6)}"
        self.folders: dict[str, Path] = {}
        for kind, parent in _hierarchies().items():
            folder = parent / self.name
            folder.mkdir()
            self.folders[kind] = folder
        memory, size = self.folders["memory"], limits.memory * 1_000_000
        new = (memory / "memory.max").exists()
        (memory / ("memory.max" if new else "memory.limit_in_bytes")).write_text(str(size))
        swap = memory / ("memory.swap.max" if new else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if new else str(size))
        (self.folders["pids"] / "pids.max").write_text(str(limits.processes))

    def out_of_memory(self) -> bool:
        """Tell whether a process was killed because the box had taken too much."""
        for name in ("memory.events", "memory.oom_control"):
            path = self.folders["memory"] / name
            if path.exists():
                counts = dict(line.split() for line in path.read_text().splitlines())
                return int(counts.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """End what is left in the group, and the group."""
        for folder in set(self.folders.values()):
            for _ in range(100):
                for process in (folder / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(process), signal.SIGKILL)
                with suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.02)


def _hierarchies() -> dict[str, Path]:
    """Find where control groups of memory and of processes are made, by version 2 or version 1.

    Raises
    ------
    OSError
        If there is none that this process may write to.
    """
    mount = Path("/sys/fs/cgroup")
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        own.update(dict.fromkeys(kinds.split(","), path.lstrip("/")))
    found = {}
    for kind in ("memory", "pids"):
        if (mount / "cgroup.controllers").exists() and kind not in own:
            parents = [mount / own.get("", ""), mount]
            for parent in parents:
                with suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(f"+{kind}")
                if kind in (parent / "cgroup.subtree_control").read_text().split():
                    break
            else:
                raise OSError(f"the control group {parents[0]} cannot have groups of its own")
        else:
            parents = [mount / kind / own.get(kind, ""), mount / kind]
            parent = next((p for p in parents if os.access(p, os.W_OK)), parents[0])
        if not os.access(parent, os.W_OK):
            raise OSError(f"{parent} cannot be written to")
        found[kind] = parent
    return found


class Watch(threading.Thread):
    """Take a box down when its processes hold too much, where there are no control groups."""

    def __init__(self, process: int, limits: Limits) -> None:
        super().__init__(daemon=True)
        self.root, self.limits = psutil.Process(process), limits
        self.done, self.tripped = threading.Event(), False

    def run(self) -> None:
        """Look twenty times a second."""
        while not self.done.wait(0.05):
            memory = count = 0
            with suppress(psutil.Error):
                for each in self.root.children(recursive=True):
                    with suppress(psutil.Error):
                        memory += each.memory_info().rss
                        count += each.num_threads()
            too_many = count > self.limits.processes
            if memory > self.limits.memory * 1_000_000 or too_many:
                self.tripped = True
                with suppress(psutil.Error):
                    self.root.kill()
                return


# --- Running -------------------------------------------------------------------------------


def nesting(text: str) -> int:
    """Count how deep a JSON text is nested, without parsing it."""
    deepest = depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def parse(line: bytes) -> dict[str, Any]:
    """Read a line that a stranger may have written.

    Parameters
    ----------
    line : bytes
        Of bounded length.

    Returns
    -------
    dict
        A JSON object.

    Raises
    ------
    ValueError
        If it is not one, is nested too deep, or holds NaN or infinity.
    """
    text = line.decode("utf-8")
    if nesting(text) > DEPTH:
        raise ValueError("nested too deep")
    value = json.loads(text, parse_constant=_refuse)
    if type(value) is not dict:
        raise ValueError("not an object")
    return value


class Session:
    """One box, from its start to its end.

    Parameters
    ----------
    course : Path
        From :func:`prepare`.
    limits : Limits
        What it may take.
    boxed : bool
        False runs the submission without a box, with all rights of this process.
    """

    def __init__(self, course: Path, limits: Limits, *, boxed: bool) -> None:
        self.limits, self.lines = limits, queue.Queue[bytes | None]()
        self.flooded = False
        self.begun = time.monotonic()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self.scratch = None if boxed else tempfile.TemporaryDirectory()
        self.group: Group | None = None
        self.watch: Watch | None = None
        read, write = os.pipe()
        command, wrapper = self._command(course, write, boxed)
        try:
            self.process = subprocess.Popen(
                [*wrapper, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                pass_fds=(write,),
                start_new_session=True,
                **self._place(course, boxed),
            )
        except FileNotFoundError as error:
            os.close(read)
            self.errors.close()
            if self.group:
                self.group.remove()
            raise Refusal(ADVICE.format(reason=f"{error.filename} is not installed.")) from error
        finally:
            os.close(write)
        if boxed and self.group is None:
            self.watch = Watch(self.process.pid, limits)
            self.watch.start()
        self.outbox: queue.Queue[bytes | None] = queue.Queue()
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self.writer.start()
        self.reader.start()

    def _place(self, course: Path, boxed: bool) -> dict[str, Any]:
        if boxed:
            return {"env": {"PATH": os.environ.get("PATH", os.defpath)}, "cwd": "/"}
        assert self.scratch is not None
        shutil.copytree(course / "cache", self.scratch.name, dirs_exist_ok=True)
        env = environment(str(course), site_packages(), self.scratch.name)
        return {"env": env, "cwd": self.scratch.name}

    def _command(self, course: Path, pipe: int, boxed: bool) -> tuple[list[str], list[str]]:
        if not boxed:
            return [sys.executable, "-s", "-B", "-P", str(course / "runner.py"), str(pipe)], []
        blocks = str(self.limits.file * 1_000_000 // 512)
        script = 'ulimit -c 0; ulimit -f "$1"; shift; '
        script += 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit 97; shift; done; '
        script += 'shift; exec "$@"'
        shell = ["sh", "-c", script, "sh", blocks]
        try:
            self.group = Group(self.limits)
            shell += map(str, dict.fromkeys(self.group.folders.values()))
            user: list[str] = []
        except OSError:
            # Without control groups a box must not have root's rights, not even outside of it.
            user = []
            if os.geteuid() == 0:
                user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return bwrap(course, self.limits, pipe), [*user, *shell, "--"]

    def _read(self, pipe: int) -> None:
        rest, total = b"", 0
        with os.fdopen(pipe, "rb", buffering=0) as out:
            while block := out.read(65536):
                total += len(block)
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self.lines.put(line)
                if len(rest) > self.limits.line or total > self.limits.answers:
                    self.flooded = True
                    break
        self.lines.put(None)

    def _write(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):
            while (line := self.outbox.get()) is not None:
                self.process.stdin.write(line)
                self.process.stdin.flush()

    def send(self, what: dict[str, Any]) -> None:
        """Give the box a line, without waiting for it to be read."""
        self.outbox.put(json.dumps(what).encode() + b"\n")

    def receive(self, seconds: float) -> bytes | None:
        """Wait for a line.

        Parameters
        ----------
        seconds : float
            How long.

        Returns
        -------
        bytes or None
            None if the box has ended.

        Raises
        ------
        TimeoutError
            If nothing came, or the box has stood for too long.
        """
        left = self.limits.wall - (time.monotonic() - self.begun)
        try:
            return self.lines.get(timeout=max(0.0, min(seconds, left)))
        except queue.Empty:
            raise TimeoutError from None

    def close(self) -> str:
        """Take the box down with everything in it, and say why it ended, if there was a reason."""
        if self.watch:
            self.watch.done.set()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.outbox.put(None)
        self.writer.join(5)
        self.reader.join(5)
        if self.process.stdin:
            with suppress(OSError):
                self.process.stdin.close()
        reason = ""
        if self.flooded:
            reason = "it put out more than an answer may have"
        elif (self.group and self.group.out_of_memory()) or (self.watch and self.watch.tripped):
            reason = f"it took more than {self.limits.memory} MB, or too many processes"
        if self.group:
            self.group.remove()
        if self.scratch:
            self.scratch.cleanup()
        self.errors.seek(0)
        self.said = self.errors.read(2000).decode("utf-8", "replace").strip()
        self.errors.close()
        return reason


def run(
    cells: Sequence[Cell],
    requests: Sequence[Request],
    course: Path,
    *,
    limits: Limits | None = None,
    boxed: bool = True,
) -> Outcome:
    """Run a submission in a box of its own and ask it.

    Parameters
    ----------
    cells : sequence of Cell
        Its code, in order.
    requests : sequence of Request
        What is asked.
    course : Path
        From :func:`prepare`.
    limits : Limits, optional
        What the box may take.
    boxed : bool
        False runs it without a box.

    Returns
    -------
    Outcome
        Answers, and how it went. Whatever the submission does, this returns.

    Raises
    ------
    Refusal
        If there can be no box on this machine.
    """
    limits = limits or Limits()
    out = Outcome([Answer(status="missing", error="not asked")] * len(requests))
    out.waited = [0.0] * len(requests)
    session = Session(course, limits, boxed=boxed)
    asked: list[Answer] = []
    try:
        task = [asdict(cell) for cell in cells]
        session.send({"cells": task, "seconds": limits.cell})
        if _cells(session, out, limits, len(cells)):
            for place, request in enumerate(requests):
                begun = time.monotonic()
                answer = _ask(session, request, out, limits)
                out.waited[place] = round(time.monotonic() - begun, 3)
                if answer is None:
                    break
                asked.append(answer)
    finally:
        why = session.close()
    out.seconds = round(time.monotonic() - session.begun, 3)
    lost = Answer(error=why or "the run had ended before", status="error")
    if out.status == "timed out":
        lost = Answer(error="the run had to be stopped before", status="timeout")
    out.answers = [*asked, *[lost] * (len(requests) - len(asked))]
    if len(asked) < len(requests) and out.status == "graded":
        out.status = "crashed"
        out.reasons.append(why or "its process ended before everything was asked")
        if session.said.startswith("bwrap:") or session.process.returncode == 97:
            raise Refusal(ADVICE.format(reason=session.said or "a control group refused it."))
    elif why:
        out.reasons.append(why)
    return out


def _heard(session: Session, out: Outcome, seconds: float, doing: str) -> dict[str, Any] | None:
    """Take the next line that is well formed; None if the run is over."""
    while True:
        try:
            line = session.receive(seconds)
        except TimeoutError:
            out.status = worse(out.status, "timed out")
            out.reasons.append(f"{doing} did not end in time, not even when interrupted")
            return None
        if line is None:
            return None
        try:
            return parse(line)
        except (ValueError, RecursionError) as error:
            _suspect(out, f"something that is no answer came out of the box ({error})")


def _cells(session: Session, out: Outcome, limits: Limits, count: int) -> bool:
    """Follow the cells until all have run; tell whether they have."""
    place = 0
    # Loading the interpreter and the caches comes before the first cell.
    seconds = 60.0
    while (said := _heard(session, out, seconds, f"cell {place + 1}")) is not None:
        seconds = limits.cell + 5
        match said:
            case {"ready": True}:
                return True
            case {"cell": int(number)} if 0 <= number < count:
                place = number
            case {"late": int(number)}:
                out.status = worse(out.status, "timed out")
                out.reasons.append(f"cell {number + 1} ran for more than {limits.cell:g} seconds")
            case {"failed": int(number), "error": str(error)}:
                out.reasons.append(f"cell {number + 1}: {error[: runner.LONG]}")
            case {"figure": str(figure), "question": str(question)}:
                out.figures[question] = figure
            case _:
                _suspect(out, "an answer came out of the box before anything was asked")
    return False


def _ask(session: Session, request: Request, out: Outcome, limits: Limits) -> Answer | None:
    """Ask, and wait for the answer to just this; None if the run ended first."""
    number = secrets.token_hex(16)
    seconds = min(request.seconds, limits.wall)
    session.send(asdict(request) | {"id": number, "seconds": seconds})
    doing = f"the answer to {request.question}"
    while (said := _heard(session, out, seconds + 5, doing)) is not None:
        if said.get("id") != number:
            _suspect(out, "an answer came out of the box to what was not asked")
            continue
        match said:
            case {"status": "ok", "value": value}:
                return Answer(value)
            case {"status": "missing"}:
                return Answer(status="missing")
            case {"status": "error", "error": str(error)}:
                return Answer(error=error[: runner.LONG], status="error")
            case {"status": "timeout", "error": str(error)}:
                return Answer(error=error[: runner.LONG], status="timeout")
        _suspect(out, "an answer came out of the box in a form that the runner does not use")
    return None


_ORDER = ("graded", "timed out", "crashed", "suspicious")


def worse(one: str, other: str) -> str:
    """Give the status of two that a person should see first."""
    return max(one, other, key=_ORDER.index)


def _suspect(out: Outcome, reason: str) -> None:
    out.status = "suspicious"
    if reason not in out.reasons:
        out.reasons.append(reason)


def check(folder: Path) -> None:
    """Try whether a box keeps what it promises on this machine.

    Parameters
    ----------
    folder : Path
        Where :func:`prepare` may write.

    Raises
    ------
    Refusal
        If it does not, with what to change.
    """
    probe = """
import os, socket
def inside():
    with socket.socket() as sock:
        network = sock.connect_ex(("192.0.2.1", 9)) == 0
    return [os.getuid(), sorted(os.listdir("/")), network, os.access("/course", os.W_OK)]
"""
    with suppress(FileNotFoundError):
        outcome = run([Cell(probe)], [Request("q", "inside")], prepare(folder))
        value = outcome.answers[0].value
        if type(value) is list and value[0] == 1000 and value[2:] == [False, False]:
            return
        raise Refusal(ADVICE.format(reason="; ".join(outcome.reasons) or "it is not closed."))
    raise Refusal(ADVICE.format(reason="a program that it needs is missing."))
