"""A class that was graded, as the box's side writes it: for the tests of roster and gradebook."""

import base64
import io
import json

from PIL import Image

QUESTIONS = (
    ("q1", "Shrink a county", 2.0),
    ("q2", "Where is the mode", 3.0),
    ("q3", "Say what you see", 5.0),
)
SECTION = "pooling.html#pooling"


def png(color="teal", size=(60, 40)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def result(student, points=(2.0, 1.5), **more):
    """One result; `points` of the questions that are not marked by a person."""
    questions = []
    for (name, title, most), got in zip(QUESTIONS, [*points, None], strict=True):
        question = {"name": name, "title": title, "max": most, "section": SECTION, "checks": []}
        if got is None:
            question |= {"points": 0.0, "status": "manual", "seconds": 0.0}
        else:
            checks = [
                {"text": "The mean is right", "passed": got > 0, "points": got or most},
                {"text": "The others are right", "passed": False, "points": most - (got or most)},
            ]
            question |= {"points": got, "status": "graded", "seconds": 0.25, "checks": checks}
        questions.append(question)
    text = "County **F** is far out. It is not like the others."
    written = {
        "version": 1,
        "set": "pooling",
        "file": f"{student}.ipynb",
        "sha256": "0" * 64,
        "student": student,
        "identity": "ok",
        "status": "graded",
        "reasons": [],
        "seconds": 12.3,
        "boxed": True,
        "late_days": 0,
        "questions": questions,
        "manual": [{"name": "q3", "figure": png(), "text": text}],
        "seed": 123,
    }
    return written | more


def write_class(out, results, students=None, **files):
    """Write results, and the instructor's files: `marks`, `late` and `settings` are texts."""
    folder = out / "private" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(results):
        (folder / f"r{number:03d}.json").write_text(json.dumps(each))
    if students is not None:
        lines = ["student,name,email", *students]
        (out / "private" / "roster.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "private" / "marks").mkdir(exist_ok=True)
    for name, text in files.items():
        place = {"marks": "marks/marks.csv", "late": "late.csv", "settings": "class.toml"}[name]
        (out / "private" / place).write_text(text, encoding="utf-8")
    return out
