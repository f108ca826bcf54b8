"""Run the studies from the command line: ``python -m funnel.calibration --help``."""

import argparse
from importlib import import_module

#: Modules of this package, each with a function `study`.
STUDIES = ("centering", "sbc", "three_level")


def main(arguments: list[str] | None = None) -> None:
    """Run one study, or all of them, one after the other.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; that of the process by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m funnel.calibration",
        description="Run the studies whose results are committed under data/. "
        "A run that was stopped goes on where it was.",
    )
    parser.add_argument("study", nargs="*", help=f"of {', '.join(STUDIES)}; all by default")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a running Dask scheduler")
    where.add_argument("--workers", type=int, help="processes on this machine; one per core")
    chosen = parser.parse_args(arguments)
    for name in chosen.study:
        if name not in STUDIES:
            parser.error(f"there is no study {name!r}, only {', '.join(STUDIES)}")
    for name in chosen.study or STUDIES:
        module = import_module(f"funnel.calibration.{name}")
        module.study(scheduler=chosen.scheduler, workers=chosen.workers)


if __name__ == "__main__":
    main()
