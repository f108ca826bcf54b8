"""In the box: execute the cells of a submission, then answer what is asked of it.

This file runs alone, beside a stranger's code, with the interpreter and its libraries and nothing
else of grading. It reads JSON lines from standard input and writes JSON lines to a pipe whose
number is its first argument. Whatever it says is an answer and no more: the submission shares
this process and may say it in its place. So nothing is here that is worth stealing, and what
is right is decided elsewhere.
"""

import base64
import builtins
import contextlib
import io
import json
import math
import os
import signal
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["argument", "describe", "plain", "reply"]

#: No answer is nested deeper than this.
DEPTH = 12
#: Of an error message, in characters.
LONG = 500


class TooLong(BaseException):
    """Time is up; no `Exception`, so that fewer loops swallow it."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt what runs inside when its time is up.

    Parameters
    ----------
    seconds : float
        Wall time.

    Raises
    ------
    TooLong
        From within. Code that swallows it runs on, until the box is taken down from outside.
    """

    def ring(*_: object) -> None:
        raise TooLong(f"took longer than {seconds:g} seconds")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def argument(value: Any) -> Any:
    """Turn an argument of a request into what the function gets: see `questions.Request`."""
    if isinstance(value, dict) and value.keys() == {"table"}:
        import pandas as pd

        return pd.DataFrame(value["table"])
    if isinstance(value, dict) and value.keys() == {"array"}:
        import numpy as np

        return np.array(value["array"])
    return json.loads(json.dumps(value))  # a copy


def plain(value: Any, depth: int = 0) -> Any:
    """Make JSON of an answer.

    Parameters
    ----------
    value : object
        A number, a text, None, or lists, tuples, dictionaries, arrays and columns of these.
    depth : int
        How deep it is nested in the answer.

    Returns
    -------
    JSON value
        With finite numbers only.

    Raises
    ------
    TypeError
        If it is anything else.
    ValueError
        If a number is not finite, or the answer is nested too deep.
    """
    if depth > DEPTH:
        raise ValueError("the answer is nested too deep")
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas", "xarray"):
        value = getattr(value, "to_numpy", lambda: value)()
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, depth + 1) for inner in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("the answer must be finite, not infinite and not NaN")
        return float(value)
    raise TypeError(
        f"the answer is of type {type(value).__name__}; it must be a number, a text, or lists, "
        "arrays and dictionaries of them"
    )


def describe(model: Any, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say of a PyMC model what a request wants to know; see `questions.Answer`.

    Parameters
    ----------
    model : pymc.Model
        The model.
    points : sequence of dict
        Values of the free variables, on the scale of the model.

    Returns
    -------
    dict
        Names of the variables, and the log density at each point.
    """
    import numpy as np

    # For a few points, compiling takes longer than it saves.
    logp = model.compile_logp(jacobian=False, mode="FAST_COMPILE")
    described = []
    for point in points:
        place = {}
        for variable in model.free_RVs:
            value = model.rvs_to_values[variable]
            transform = model.rvs_to_transforms[variable]
            at = np.asarray(point[variable.name], dtype=float)
            if transform is not None:
                at = transform.forward(at, *variable.owner.inputs).eval(mode="FAST_COMPILE")
            place[value.name] = at
        described.append(float(logp(place)))
    return {
        "free": [str(variable.name) for variable in model.free_RVs],
        "deterministic": [str(variable.name) for variable in model.deterministics],
        "observed": [str(variable.name) for variable in model.observed_RVs],
        "logp": plain(described),
    }


def reply(space: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request from what the cells have defined.

    Parameters
    ----------
    space : dict
        Names and objects.
    request : dict
        `function`, `arguments`, `kind`, `points`, `seconds`, as in `questions.Request`.

    Returns
    -------
    dict
        `status`, and `value` or `error`.
    """
    if request["function"] not in space:
        return {"status": "missing"}
    try:
        with time_limit(request["seconds"]):
            asked = space[request["function"]]
            if request["kind"] != "variable":
                asked = asked(*map(argument, request["arguments"]))
            model = request["kind"] == "model"
            value = describe(asked, request["points"]) if model else plain(asked)
            json.dumps(value, allow_nan=False)
    except TooLong as late:
        return {"status": "timeout", "error": str(late)}
    except BaseException as error:  # whatever an answer may do wrong
        return {"status": "error", "error": explain(error)}
    return {"status": "ok", "value": value}


def explain(error: BaseException) -> str:
    """Name an error, in bounded words."""
    with contextlib.suppress(BaseException):
        return f"{type(error).__name__}: {error}"[:LONG]
    return "an error that cannot be printed"


class Anything:
    """Stands for what a box has no use for: otter's checks, IPython's magics."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: object, **__: object) -> "Anything":
        return self


def stand_ins() -> None:
    """Put stand-ins where a notebook expects the tools of a notebook."""
    otter = types.ModuleType("otter")
    otter.Notebook = Anything()  # type: ignore[attr-defined]
    sys.modules["otter"] = otter
    builtins.get_ipython = Anything()  # type: ignore[attr-defined]
    builtins.display = Anything()  # type: ignore[attr-defined]


def source_of(cell: str) -> str:
    """Turn magics and shell lines of a cell into Python, as IPython does."""
    if not any(line.lstrip().startswith(("%", "!", "?")) for line in cell.splitlines()):
        return cell
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(cell)


def take_figure() -> str | None:
    """Give the last open figure as a PNG in base64, and close all."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not pyplot.get_fignums():
        return None
    buffer = io.BytesIO()
    pyplot.gcf().savefig(buffer, format="png", dpi=90)
    pyplot.close("all")
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    """Execute the cells that the first line of standard input has, then answer line by line."""
    pipe = int(sys.argv[1])
    inbox = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)

    def say(what: dict[str, Any]) -> None:
        line = (json.dumps(what, allow_nan=False) + "\n").encode()
        while line:
            line = line[os.write(pipe, line) :]

    task = json.loads(inbox.readline())
    stand_ins()
    main_module = types.ModuleType("__main__")
    sys.modules["__main__"] = main_module  # where pickle and dataclasses look
    space = vars(main_module)
    for place, cell in enumerate(task["cells"]):
        say({"cell": place})
        try:
            with time_limit(task["seconds"]):
                exec(compile(source_of(cell["source"]), f"cell {place + 1}", "exec"), space)
            if cell["figure"] and (figure := take_figure()):
                say({"figure": figure, "question": cell["figure"]})
        except TooLong as late:
            say({"late": place, "error": str(late)})
        except BaseException as error:  # the next cell runs, as in a notebook
            say({"failed": place, "error": explain(error)})
    say({"ready": True})
    for line in inbox:
        request = json.loads(line)
        say({"id": request["id"], **reply(space, request)})


if __name__ == "__main__":
    main()
