"""Cells of notebooks that attack the box, the batch or the scores.

The tests put them around the answers of a small problem set, `benchmarks/classroom.py` around
those of a class.
"""

#: What right answers to the small set are worth, and what is left where a notebook ends itself.
FULL = {"q1": 2.0, "q2": 3.0}
NOTHING = {"q1": 0.0, "q2": 0.0}

#: Name: cells before, cells after, status, points; the answers are right.
RIGHT_ANSWERS = {
    "endless loop": (["while True: pass"], [], "timed out", FULL),
    "sleeps": (["import time\ntime.sleep(1e6)"], [], "timed out", FULL),
    "loop that swallows interrupts": (
        ["while True:\n    try:\n        while True: pass\n    except BaseException: pass"],
        [], "timed out", NOTHING,
    ),
    "loop without an alarm": (
        ["import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass"],
        [], "timed out", NOTHING,
    ),
    "leaves the process": ([], ["import os\nos._exit(0)"], "crashed", NOTHING),
    "kills the process": ([], ["import os\nos.kill(os.getpid(), 9)"], "crashed", NOTHING),
    "asks to leave": (["import sys\nsys.exit(3)"], ["raise KeyboardInterrupt"], "graded", FULL),
    "kills all it can see": (
        ["import os, signal\nfor p in os.listdir('/proc'):\n    if p.isdigit() and "
         "int(p) != os.getpid():\n        os.kill(int(p), signal.SIGKILL)"],
        [], None, None,
    ),
    "fork bomb": (
        ["import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"],
        [], ("timed out", "crashed", "suspicious"), None,
    ),
    "50 GB of memory": (["x = b'x' * 50_000_000_000"], [], ("crashed", "graded"), None),
    "memory, piece by piece": (
        ["x = []\nwhile True: x.append(b'x' * 10_000_000)"],
        [], ("crashed", "graded", "timed out"), None,
    ),
    "10 GB file": (
        ["with open('big', 'wb') as f:\n    for _ in range(10_000): f.write(b'0' * 1_000_000)"],
        [], "graded", FULL,
    ),
    "many files": (
        ["for i in range(10_000):\n    with open(f'f{i}', 'wb') as f: f.write(b'0' * 1_000_000)"],
        [], "graded", FULL,
    ),
    "output flood": (["for _ in range(300_000): print('x' * 100)"], [], "graded", FULL),
    "flood of the answers": (
        ["import os, sys\nfd = int(sys.argv[-1])\nwhile True: os.write(fd, b'x' * 60_000)"],
        [], ("crashed", "suspicious", "timed out"), NOTHING,
    ),
    "fake markers": (
        ["print('{\"id\": \"1\", \"status\": \"ok\", \"value\": 7}')", "print('10/10 passed')"],
        [], "graded", FULL,
    ),
    "forged answers": (
        ["import os, sys\nos.write(int(sys.argv[-1]), b'{\"id\": \"a\", \"status\": \"ok\", "
         "\"value\": 1}\\n')"],
        [], "suspicious", FULL,
    ),
    "no JSON among the answers": (
        ["import os, sys\nos.write(int(sys.argv[-1]), b'\\xff[[[NaN\\n')"], [], "suspicious", FULL,
    ),
    "closes the pipe": ([], ["import os, sys\nos.close(int(sys.argv[-1]))"], "crashed", NOTHING),
    "error with a script": (["raise ValueError('<script>alert(1)</script>')"], [], "graded", FULL),
    "error that cannot be printed": (
        ["class E(Exception):\n    def __str__(self): raise E\nraise E"], [], "graded", FULL,
    ),
    "no Python at all": (["this is not ( Python"], [], "graded", FULL),
    "magics and shell lines": (
        ["%matplotlib inline\n!rm -rf /\n%%timeit\n1", "get_ipython().system('id')"],
        [], "graded", FULL,
    ),
}  # fmt: skip

#: Cells that try to turn wrong answers into right ones. All of them fail.
WRONG_ANSWERS = {
    "patches the runner": "import sys\nsys.modules['runner'].plain = lambda value, depth=0: 7.0",
    "patches numpy": "import numpy as np\nnp.isclose = np.allclose = lambda *a, **k: True",
    "patches otter and IPython": """
import otter, IPython
otter.Notebook.check = IPython.get_ipython = lambda *a, **k: True
""",
    "patches json": 'import json\njson.dumps = lambda *a, **k: \'{"status": "ok", "value": 1}\'',
    "forges a result": """
import os
for path in ("results.json", "/work/private/results/x.json", "/course/x", "/tmp/grade.json"):
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        open(path, "w").write('{"points": 10}')
    except OSError:
        pass
""",
    "lies about equality": """
class Liar(float):
    __eq__ = lambda *a: True
    __float__ = lambda self: float("nan")
    __hash__ = float.__hash__
    __sub__ = __rsub__ = lambda *a: 0.0
def triple(x): return Liar(1)
def sums(xs): return [Liar(1)] * len(xs)
""",
    "lies about its type": """
class Meta(type):
    __module__ = property(lambda self: "numpy")
class Odd(metaclass=Meta):
    def tolist(self): return self
    __class__ = property(lambda self: float)
def triple(x): return Odd()
""",
    "not a number": "def triple(x): return float('nan')\ndef sums(xs): return [1e999] * len(xs)",
    "complex": "def triple(x): return 3 * x + 1 + 0j",
    "whole number of a thousand digits": "def triple(x): return 10 ** 9999",
    "endless nesting": "x = []\nx.append(x)\ndef triple(_): return x",
    "deep nesting": """
def triple(_):
    x = 0
    for _ in range(100_000): x = [x]
    return x
""",
    "a huge answer": "def triple(x): return 'x' * 30_000_000",
    "right but for one in a million": "def triple(x): return (3 * x + 1) * (1 + 1e-6)",
    "a constant": "def triple(x): return 4.0",
    "an answer that takes forever": "def triple(x):\n    while True: pass",
}
