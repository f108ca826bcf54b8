"""Grade many submissions: independent jobs on Dask, each reported exactly once.

Results are written by this process, one file a submission, as they come. So a run that was
interrupted goes on where it was, a run that is repeated grades only what changed, and a worker
that dies takes nothing along: its submission is given to another one, and called crashed if it
kills that one, too.
"""

import ipaddress
import json
import os
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dask import config
from distributed import Client, Future, LocalCluster, Security, as_completed
from distributed.scheduler import KilledWorker

from grading import box, scoring
from grading.making import load
from grading.scoring import Task

__all__ = ["grade_all", "keep", "security_for", "write_json"]

#: So that a submission that takes two workers down is not given a third; and that a worker has one
#: at a time, since all that it has are blamed when it dies.
DEATHS = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.scheduler.worker-saturation": 1.0,
}


def write_json(path: Path, value: Any) -> None:
    """Write a file in one step, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
    os.replace(draft, path)


def security_for(
    scheduler: str, ca: str | None, cert: str | None, key: str | None
) -> Security | None:
    """Refuse to talk to a scheduler over a network in the clear.

    Parameters
    ----------
    scheduler : str
        Its address.
    ca, cert, key : str, optional
        Files with the certificates and the key, for ``tls://``.

    Returns
    -------
    distributed.Security or None
        For the client.

    Raises
    ------
    ValueError
        If the address is ``tcp://`` beyond this machine, or ``tls://`` without certificates.
    """
    parts = urlsplit(scheduler)
    if parts.scheme == "tls":
        if not (ca and cert and key):
            raise ValueError("a tls:// scheduler needs --tls-ca, --tls-cert and --tls-key")
        return Security(
            tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key, require_encryption=True
        )
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if parts.scheme != "tcp" or not local:
        raise ValueError(
            f"{scheduler!r}: Dask unpickles what it is sent, so that whoever can speak to a "
            "scheduler in the clear runs code on it. Take tls:// with certificates; tcp:// is for "
            "127.0.0.1 alone"
        )
    return None


@contextmanager
def client_for(scheduler: str | None, security: Security | None, workers: int) -> Iterator[Client]:
    """Give a client of the scheduler, or of a cluster on this machine's cores."""
    if scheduler:
        with Client(scheduler, security=security, timeout="10s") as client:
            client.get_versions(check=True)
            yield client
        return
    with (
        config.set(DEATHS),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def here(task: Task) -> dict[str, Any]:
    """Grade on the machine that this is called on, with boxes of its own making."""
    if not task.boxes:
        folder = Path(tempfile.gettempdir()) / f"grading-boxes-{os.getuid()}-{os.getpid()}"
        folder.mkdir(mode=0o755, exist_ok=True)
        task = replace(task, boxes=str(folder))
    return scoring.grade(task)


def keep(out: Path, name: str, digest: str) -> dict[str, Any] | None:
    """Give the result that is there, if it is of the same file, class and question."""
    path = out / "private" / "results" / f"{name}.json"
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # written by hand, or cut short
        return None
    return result if result.get("digest") == digest else None


def with_one_anew(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Put a question that was graded again into the result of all questions."""
    if old is None:
        return new
    anew = {each["name"]: each for each in new["questions"]}
    manual = {each["name"]: each for each in new["manual"]}
    return {
        **old,
        "questions": [anew.get(each["name"], each) for each in old["questions"]],
        "manual": [manual.get(each["name"], each) for each in old["manual"]],
        "reasons": [*old["reasons"], *(r for r in new["reasons"] if r not in old["reasons"])],
        "status": new["status"],
    }


def grade_all(
    tasks: dict[str, Task],
    out: Path,
    *,
    about: dict[str, dict[str, Any]],
    scheduler: str | None = None,
    security: Security | None = None,
    workers: int | None = None,
    progress: Callable[[str, dict[str, Any]], None] = lambda *_: None,
) -> int:
    """Grade submissions in parallel and write each result as it comes.

    Parameters
    ----------
    tasks : dict
        Safe name of each submission, and what to grade.
    out : Path
        Folder of the reports; results go to ``private/results``.
    about : dict
        By safe name, what else its result is to say: the student, and how sure that is.
    scheduler : str, optional
        Address of a Dask scheduler; the default is a worker for each core of this machine.
    security : distributed.Security, optional
        From :func:`security_for`.
    workers : int, optional
        How many, on this machine.
    progress : callable
        Called with name and result of each that is done.

    Returns
    -------
    int
        How many were graded now; the others were there.

    Raises
    ------
    box.Refusal
        If a worker's machine can make no boxes. What was graded by then is kept.
    """
    folder = out / "private" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    todo = {}
    for name, task in tasks.items():
        found = keep(out, name, scoring.digest(replace(task, only=None)))
        if found is None or task.only:
            todo[name] = task
        elif any(found.get(key) != value for key, value in about[name].items()):
            write_json(folder / f"{name}.json", found | about[name])
    if not todo:
        return 0
    count = min(workers or os.cpu_count() or 1, len(todo))
    with client_for(scheduler, security, count) as client:
        futures: dict[Any, str] = {}
        jobs: list[Future] = []
        group = f"grade-{secrets.token_hex(8)}"  # one group: Dask then holds back what waits
        for place, (name, task) in enumerate(todo.items()):
            with warnings.catch_warnings():  # of uploads that are too large to be read
                warnings.filterwarnings("ignore", "Sending large graph")
                job = client.submit(here, task, pure=False, key=(group, place))
            futures[job.key] = name
            jobs.append(job)
        waiting = as_completed(jobs, raise_errors=False)
        del jobs, job
        for job in waiting:
            name = futures[job.key]
            result = _result(job, todo[name])
            if todo[name].only:
                old = keep(out, name, scoring.digest(replace(todo[name], only=None)))
                result = with_one_anew(old, result)
            result |= about[name] | {"digest": scoring.digest(replace(todo[name], only=None))}
            write_json(folder / f"{name}.json", result)
            progress(name, result)
    return len(todo)


def _result(job: Future, task: Task) -> dict[str, Any]:
    """Take what a job found; one that kills its workers has found that out."""
    try:
        return job.result()  # once more on another worker, if the one that has it dies just now
    except box.Refusal:
        raise
    except Exception as failure:
        error = failure
    questions = [q for q in load(task.set).questions if task.only in (None, q.name)]
    reason = f"the grading itself failed: {type(error).__name__}: {error}"[:300]
    if isinstance(error, KilledWorker):
        reason = "two workers died while they graded it"
    return scoring.unreadable(task, reason, questions, "crashed")


def seeds(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Give each submission the seed that it had, or a fresh one, and note it.

    Parameters
    ----------
    path : Path
        File with seeds by name; it is private.
    names : sequence of str
        Of submissions.

    Returns
    -------
    dict
        Seeds by name.

    Raises
    ------
    ValueError
        If the file is none of ours.
    """
    known: dict[str, int] = {}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if type(known) is not dict or any(type(seed) is not int for seed in known.values()):
            raise ValueError(f"{path} must hold seeds by submission")
    drawn = {name: known.get(name, secrets.randbits(64)) for name in names}
    write_json(path, known | drawn)
    return drawn
