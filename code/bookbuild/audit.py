"""Look up the locked versions among known vulnerabilities: `make audit`.

A finding fails. A database that cannot be reached does not, and neither does one that knows none
of the packages (some mirrors of the index answer so): then a line says that nothing was looked up.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def judge(answer: str) -> tuple[int, list[str]]:
    """Judge what pip-audit has found.

    Parameters
    ----------
    answer : str
        Its JSON, or whatever else it said.

    Returns
    -------
    code : int
        1 if there is a finding, else 0.
    lines : list of str
        What to print.
    """
    try:
        packages = json.loads(answer)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return 0, ["Audit skipped: the database of vulnerabilities cannot be reached."]
    known = [package for package in packages if "skip_reason" not in package]
    if not known:
        return 0, ["Audit skipped: the index that is reached here knows none of the packages."]
    lines = [
        f"{package['name']} {package['version']}: {found['id']}, "
        f"mended in {', '.join(found['fix_versions']) or 'no version yet'}"
        for package in known
        for found in package["vulns"]
    ]
    summary = f"Audit: {len(known)} of {len(packages)} packages looked up, {len(lines)} findings."
    return int(bool(lines)), [*lines, summary]


def main(root: Path = ROOT) -> int:
    """Audit the lock; return the exit code."""
    command = [
        sys.executable, "-m", "pip_audit", "--requirement", str(root / "requirements.txt"),
        "--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off",
    ]  # fmt: skip
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=600).stdout
    except subprocess.TimeoutExpired:
        answer = ""
    code, lines = judge(answer)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main())
