"""Binder's image, made here without Docker: the steps of the Dockerfile that repo2docker writes."""

import hashlib
import json
import os
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

# repo2docker's own environment: what is asked for, and the version of everything in it.
REPO2DOCKER = distribution("jupyter-repo2docker").locate_file("repo2docker")
BASE = Path(str(REPO2DOCKER)) / "buildpacks" / "conda"
ASKED, PINNED = BASE / "environment.py-3.13.yml", BASE / "environment.py-3.13-linux-64.lock"
# Conda's, or under another name on the package index.
NOT_FROM_PIP = {"python", "nodejs", "pip"}
RENAMED = {"jupyterhub-singleuser": "jupyterhub"}
# Of this machine's variables, those that say how to reach a package index.
KEPT = re.compile(r"(PIP|SSL|REQUESTS|CURL)_\w+|\w+_proxy", re.IGNORECASE)
# Run by the image's own Python: a notebook from its text, in a kernel of its own.
EXECUTE = '''
import json, pathlib, sys, time
import jupytext, nbformat
from nbclient import NotebookClient

path = pathlib.Path(sys.argv[1])
notebook = jupytext.read(path)
used = """import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)"""
notebook.cells.append(nbformat.v4.new_code_cell(used))
start = time.monotonic()
resources = {"metadata": {"path": str(path.parent)}}
NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=resources).execute()
seconds = time.monotonic() - start
processor, kilobytes = map(float, notebook.cells[-1].outputs[0].text.split())
found = {"seconds": seconds, "processor_seconds": processor, "megabytes": kilobytes / 1024}
print(json.dumps({name: round(value, 2) for name, value in found.items()}))
'''


def dockerfile(root: Path) -> list[tuple[str, str]]:
    """Have repo2docker write its Dockerfile.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    list of (str, str)
        Each instruction with what it is given, on one line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    kept = [line for line in done.stdout.splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(kept))
    lines = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in lines]


def pins() -> tuple[list[str], list[str]]:
    """Read the environment that repo2docker starts from.

    Returns
    -------
    asked, all : list of str
        Requirements with versions: those of the packages that it asks for, and those of all.
    """
    found = re.findall(r"/([^/]+)-([^-/]+)-[^-/]+\.(?:conda|tar\.bz2)#", PINNED.read_text())
    versions = dict(found)
    names = re.findall(r"^- ([\w-]+)", ASKED.read_text().partition("dependencies:")[2], re.M)
    asked = [
        f"{RENAMED.get(name, name)}=={versions[name]}" for name in names if name not in NOT_FROM_PIP
    ]
    return asked, [f"{name}=={version}" for name, version in found if not name.startswith("_")]


def offline(command: Sequence[str]) -> list[str]:
    """Run a command without a network, if bubblewrap is there to cut it off."""
    if not shutil.which("bwrap"):
        return list(command)
    return ["bwrap", "--unshare-net", "--dev-bind", "/", "/", "--die-with-parent", "--", *command]


@dataclass(frozen=True)
class Image:
    """What Binder would run, in a folder.

    Parameters
    ----------
    home : Path
        The home of its user, and the repository.
    variables : dict
        Its environment.
    """

    home: Path
    variables: dict[str, str]

    @property
    def prefix(self) -> Path:
        """Where its Python and packages are."""
        return Path(self.variables["KERNEL_PYTHON_PREFIX"])

    def entry(self, *command: str) -> list[str]:
        """Give the command that starts something in it, as its entry point does."""
        return [self.variables["R2D_ENTRYPOINT"], *command]

    def execute(self, notebook: Path) -> dict[str, float]:
        """Execute a notebook, without a network.

        Parameters
        ----------
        notebook : Path
            Text that jupytext reads.

        Returns
        -------
        dict
            `seconds` from before the kernel starts to after the last cell, the
            `processor_seconds` of the kernel, and the most `megabytes` that it took.

        Raises
        ------
        RuntimeError
            If a cell fails.
        """
        command = offline(self.entry("python", "-c", EXECUTE, str(notebook)))
        done = subprocess.run(
            command, cwd=self.home, env=self.variables, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"{notebook.name}: {done.stderr[-3000:]}")
        return json.loads(done.stdout)


def replay(root: Path, folder: Path) -> Image:
    """Follow the Dockerfile: repo2docker's environment, our packages, our files, `postBuild`.

    Conda's packages come from the package index in the same versions; Python is this one.
    The environment is kept, and made anew when its pins change.

    Parameters
    ----------
    root : Path
        The repository; only what git tracks is copied.
    folder : Path
        Where to. It has a folder for each set of pins.

    Returns
    -------
    Image
        Ready to start.

    Raises
    ------
    RuntimeError
        If a step fails.
    """
    instructions = dockerfile(root)
    wanted = root / ".binder" / "requirements.txt"
    digest = hashlib.sha256(PINNED.read_bytes() + wanted.read_bytes()).hexdigest()[:16]
    place = folder / digest
    home = place / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    given = {
        "APP_BASE": str(place / "srv"), "HOME": str(home), "REPO_DIR": str(home),
        "NB_USER": "jovyan", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "LANGUAGE": "C",
    }  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    variables |= {"PATH": "/usr/bin:/bin"} | given

    ready = place / "ready"
    started = False
    for word, rest in instructions:
        if word == "ENV":
            for name, value in re.findall(r'(\w+)="?([^"\s]*)', rest):
                if name not in given:
                    variables[name] = string.Template(value).safe_substitute(variables)
        elif word == "COPY" and "requirements.txt" in rest:
            # The operating system and the base are there; from here on the steps are ours.
            started = True
            if not ready.exists():
                make_base(Path(variables["NB_PYTHON_PREFIX"]), variables)
            copy(root, home, [".binder/requirements.txt"])
        elif word == "COPY" and "src/ " in rest:
            tracked = subprocess.run(
                ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                cwd=root, capture_output=True, text=True, check=True,
            )  # fmt: skip
            copy(root, home, tracked.stdout.splitlines())
        elif word == "RUN" and started:
            packages = "pip install" in rest
            if not (packages and ready.exists()):
                run(["bash", "-c", rest], variables, home)
            if packages:
                ready.touch()
    return Image(home, variables)


def make_base(prefix: Path, variables: dict[str, str]) -> None:
    """Install what repo2docker starts from."""
    run([sys.executable, "-m", "venv", "--clear", str(prefix)], variables, prefix.parents[2])
    asked, everything = pins()
    constraints = prefix / "base.txt"
    constraints.write_text("\n".join(everything) + "\n")
    command = [str(prefix / "bin" / "pip"), "install", "--quiet", "-c", str(constraints), *asked]
    run(command, variables, prefix)


def copy(root: Path, home: Path, names: Sequence[str]) -> None:
    """Copy files into the image."""
    for name in names:
        if (root / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, home / name)


def run(command: Sequence[str], variables: dict[str, str], folder: Path) -> None:
    """Run one step, and stop if it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
