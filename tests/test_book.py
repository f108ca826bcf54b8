"""Every chapter keeps the rules, and every rule catches what it is for."""

import pytest
from chapter_lint import BOOK, CHAPTER_RULES, bare_numbers, chapters, lint, load, pages, parse


@pytest.mark.parametrize("name", pages())
def test_page_keeps_the_rules(name):
    findings = lint(load(BOOK / f"{name}.md"))
    assert not findings, "\n".join(f"{name}.md:{f.line}: {f.rule}: {f.message}" for f in findings)


def test_every_page_is_in_the_table_of_contents():
    written = [path.stem for path in BOOK.glob("*.md") if not path.stem.startswith("set-")]
    assert sorted(pages()) == sorted(written)


def test_chapters_are_held_to_more_than_other_pages():
    page = parse("# Not a chapter", name=chapters()[0])
    assert {f.rule for f in lint(page)} >= {"anatomy", "exercise"}
    page.name = "notation"
    assert lint(page) == []


# A chapter that keeps every rule: each test below breaks it in one place.

EXERCISE = """
:::{exercise-start} A name
:label: ex-sample-NAME
:class: GRADE
:::
Do this.
:::{exercise-end}
:::

:::{solution-start} ex-sample-NAME
:label: sol-sample-NAME
:class: dropdown
:::
We compute it.

```{code-cell} python
answer = 1
```

It is one.
:::{solution-end}
:::
"""

GRADED = {"one": "easy", "two": "easy", "three": "medium", "four": "hard"}
EXERCISES = "".join(
    EXERCISE.replace("NAME", name).replace("GRADE", grade) for name, grade in GRADED.items()
)

CHAPTER = f"""---
file_format: mystnb
kernelspec:
  name: python3
  display_name: Python 3
myst:
  html_meta:
    description: What this chapter asks.
---
(sample)=
# Is this a chapter?

:::{{admonition}} What you will be able to do
:class: goals
1. Tell this ({{ref}}`ex-sample-one`).
2. Tell that ({{ref}}`ex-sample-three`).
3. Do more ({{ref}}`ex-sample-four`).
:::

**Time to read:** about 2 minutes.

**What you need first:** {{doc}}`index`.

## The question
{"A sentence that asks something of the reader and goes on for a while. " * 15}

```{{code-cell}} python
---
mystnb:
  figure:
    name: fig-sample
    caption: |
      The slopes of the counties, as reported in {{cite:t}}`gelman2006`.
  image:
    alt: A cloud of points.
---
figures.plot_scale(draws)
```

The cloud is round. It was found in 2006, and the 5th of the essay's runs gave
“1.0008” {{cite:p}}`wiecki2017,gelman2006` with `target_accept=0.8`.

## The mathematics
The density is

```{{math}}
:label: eq-sample
p(x) = 1
```

and $\\hat R < 1.01$, says section 4.2.

## The computation
We fit.

```{{code-cell}} python
draws = fit(model, seed=2017)
rng = np.random.default_rng(1)
exact = truth.draws(4000, 1)
```

```{{code-cell}} python
:tags: [remove-cell]
glue("sample_mean", 1.0, display=False)
```

The mean is {{glue:text}}`sample_mean:.2f`, below 4 pCi/L.

## Check yourself
:::{{admonition}} Why?
:class: dropdown tip
Because the answer to such a question explains at some length what is going on, and why that is so.
:::

:::{{admonition}} How?
:class: dropdown tip
By giving an answer that explains at some length what is going on, and why that is so.
:::

## Exercises
{EXERCISES}
## What to remember
- One thing.
- Another thing.
- A third thing.
- A fourth thing.
- A fifth thing.

## Next
The next chapter.

## Sources
The idea is from {{cite:t}}`gelman2006`.
"""


def findings(text):
    page = parse(text, name="sample", keys=["gelman2006", "wiecki2017"])
    return [(f.rule, f.message) for rule in CHAPTER_RULES for f in rule(page)]


def test_a_chapter_that_keeps_the_rules_passes():
    assert findings(CHAPTER) == []


LONG_CELL = "draws = 1\n" * 16
PLANTED = {
    # anatomy
    "no title": ("# Is this a chapter?", "Is this a chapter?", "0 titles"),
    "two titles": ("## The mathematics", "# The mathematics", "2 titles"),
    "no goals": ("What you will be able to do", "Goals", "before the first `##`"),
    "no time": ("**Time to read:** about 2 minutes.", "", "before the first `##`"),
    "goals come late": (
        "**Time to read:** about 2 minutes.\n\n**What you need first:**",
        "**What you need first:** {doc}`x`\n\n**Time to read:** about 2 minutes.\n\nSee",
        "before the first `##`",
    ),
    "nothing linked": ("first:** {doc}`index`.", "first:** nothing.", "no link"),
    "sections swapped": ("## Next", "## Nearly next", "the last sections are"),
    "few sections": ("## The mathematics", "### The mathematics", "fewer than three"),
    "no picture": ("mystnb:\n  figure:", "mystnb:\n  output:", "no picture"),
    "no equation": (":label: eq-sample\n", "", "no labelled equation"),
    "fit before": ("figures.plot_scale(draws)", "fit(model, seed=1)", "no labelled equation"),
    "one answer": ("} How?\n:class: dropdown tip", "} How?\n:class: tip", "1 folded answers"),
    "no explanation": (
        "Because the answer to such a question explains at some length what is going on, and why "
        "that is so.",
        "Because it is so.",
        "does not explain",
    ),
    "four lines": ("- A fifth thing.\n", "", "not one list of five"),
    "six lines": ("- A fifth thing.\n", "- A fifth thing.\n- A sixth.\n", "not one list of five"),
    "no next": ("The next chapter.", "", "'Next' says nothing"),
    "no sources": ("is from {cite:t}`gelman2006`", "is from a paper", "'Sources' cites nothing"),
    "wrong time": ("about 2 minutes", "about 60 minutes", "words take"),
    "no minutes": ("about 2 minutes", "not long", "words take"),
    # cells
    "long cell": ("draws = fit(model, seed=2017)", LONG_CELL, "at most 15"),
    "long hidden cell": ('glue("sample_mean", 1.0, display=False)', LONG_CELL, "at most 15"),
    "magic": ("rng = ", "%time rng = ", "not Python"),
    "no sentence": ("We fit.\n", "", "before the cell"),
    "heading after": ("The cloud is round.", "### Round\n\nThe cloud is round.", "after the cell"),
    "cell after cell": (":tags: [remove-cell]\n", "", "after the cell"),
    "listing is no sentence": (
        "We fit.\n",
        "We fit.\n\n```{literalinclude} ../code/funnel/models.py\n:pyobject: pooled\n```\n",
        "before the cell",
    ),
    "solution without words": ("We compute it.\n", "", "before the cell"),
    "solution without reading": ("It is one.\n", "", "after the cell"),
    # randomness
    "fit without seed": ("fit(model, seed=2017)", "fit(model)", "`fit` has no seed"),
    "seed is None": ("fit(model, seed=2017)", "fit(model, seed=None)", "`fit` has no seed"),
    "generator without seed": ("default_rng(1)", "default_rng()", "has no seed"),
    "draws without seed": ("draws(4000, 1)", "draws(4000)", "`truth.draws` has no seed"),
    "pm.sample": ("fit(model, seed=2017)", "pm.sample(chains=4)", "`pm.sample` has no seed"),
    "rvs": ("default_rng(1)", "rvs(1)", "has no seed"),
    "legacy": ("np.random.default_rng(1)", "np.random.normal(0, 1)", "NumPy's global state"),
    "legacy seed": ("np.random.default_rng(1)", "np.random.seed(1)", "NumPy's global state"),
    "random": ("rng = np.random.default_rng(1)", "import random", "imports `random`"),
    "from numpy": (
        "rng = np.random.default_rng(1)",
        "from numpy import random",
        "imports `numpy.random`",
    ),
    # figures
    "no alt": ("    alt: A cloud of points.", "    width: 10px", "no alt text"),
    "no caption": (
        "The slopes of the counties, as reported in {cite:t}`gelman2006`.",
        "",
        "no caption",
    ),
    "no label": ("    name: fig-sample\n", "", "no label"),
    "odd label": ("name: fig-sample", "name: sample", "must start with 'fig-'"),
    "drawn without a word": (
        "rng = np.random.default_rng(1)",
        "plt.subplots()",
        "no caption",
    ),
    "bare image": ("We fit.\n", "We fit. ![A cloud](cloud.svg)\n", "use {figure}"),
    "figure without alt": (
        "We fit.\n",
        "We fit.\n\n:::{figure} cloud.svg\n:name: fig-cloud\nA cloud.\n:::\n",
        "no alt text",
    ),
    # citations
    "unknown key": ("{cite:p}`wiecki2017,gelman2006`", "{cite:p}`wiecki2071`", "'wiecki2071'"),
    # numbers
    "result in prose": ("The cloud is round.", "It is 0.03.", "'0.03'"),
    "result in math": ("The cloud is round.", "It is $0.03$.", "'0.03'"),
    "result in code": ("The cloud is round.", "It is `0.03`.", "'0.03'"),
    "result in a list": ("- One thing.", "- In 3 of ten.", "'3'"),
    "result in a title": ("} Why?", "} Why 12?", "'12'"),
    "result in an answer": ("Because the answer", "Because 7 and the answer", "'7'"),
    "result in a caption": ("The slopes of", "The 85 slopes of", "'85'"),
    "result in alt": ("alt: A cloud of points", "alt: A cloud of 919 points", "'919'"),
    "result in a heading": ("## The mathematics", "## The 25 counties", "'25'"),
    "result in the description": ("What this chapter asks", "All 85 counties", "'85'"),
    "result in a solution": ("It is one.", "It is 1.", "'1'"),
    "quotation without source": (
        " {cite:p}`wiecki2017,gelman2006`",
        "",
        "'1.0008'",
    ),
    # exercises
    "no grade": (":class: hard", ":class: tough", "is not easy, medium or hard"),
    "one grade missing": (":class: hard", ":class: easy", "easy, medium and hard among them"),
    "no exercise label": (":label: ex-sample-four\n", "", "wanted ex-sample-"),
    "odd exercise label": (":label: ex-sample-four", ":label: ex-four", "wanted ex-sample-"),
    "no solution": (
        EXERCISE.replace("NAME", "four").replace("GRADE", "hard"),
        EXERCISE.replace("NAME", "four").replace("GRADE", "hard").split(":::{solution")[0],
        "'ex-sample-four' has no solution",
    ),
    "three exercises": (
        EXERCISE.replace("NAME", "two").replace("GRADE", "easy"),
        "",
        "wanted: four or more",
    ),
    "solution of another": (
        "{solution-start} ex-sample-two",
        "{solution-start} ex-sample-one",
        "not 'ex-sample-two'",
    ),
    "open solution": (
        ":label: sol-sample-two\n:class: dropdown",
        ":label: sol-sample-two",
        "not folded",
    ),
    "solution in words": (
        ":label: sol-sample-two\n:class: dropdown\n:::\nWe compute it.\n\n```{code-cell} python\n"
        "answer = 1\n```\n",
        ":label: sol-sample-two\n:class: dropdown\n:::\nWe compute it.\n",
        "executes nothing",
    ),
    "gate left open": (
        "Do this.\n:::{exercise-end}\n:::\n\n:::{solution-start} ex-sample-two",
        "Do this.\n\n:::{solution-start} ex-sample-two",
        "starts inside another one",
    ),
    "gate closed twice": (
        "It is one.\n:::{solution-end}\n:::\n\n## What",
        "It is one.\n:::{solution-end}\n:::\n:::{solution-end}\n:::\n\n## What",
        "closes nothing",
    ),
    "exercise not gated": (
        "We fit.\n",
        "We fit.\n\n:::{exercise}\n:label: ex-sample-five\nDo.\n:::\n",
        "only gated",
    ),
    # goals
    "two goals": ("3. Do more ({ref}`ex-sample-four`).\n", "", "2 goals"),
    "goal without exercise": ("Do more ({ref}`ex-sample-four`)", "Do more", "no exercise checks"),
    "goal of another chapter": ("({ref}`ex-sample-four`)", "({ref}`ex-x-four`)", "no exercise"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_rule_catches(name):
    good, bad, message = PLANTED[name]
    assert good in CHAPTER
    found = findings(CHAPTER.replace(good, bad, 1))
    assert any(message in text for _, text in found), found


@pytest.mark.parametrize(
    "text",
    [
        "It was so in 1992, says section 4.2 of the book, on page 7 and in Figure 3.",
        "The 5th step, the 95% interval and the 5% quantile.",
        "A home above 4 pCi/L. HMC2 and x86_64 are names.",
        "Rubin (1981) and 2004.",
    ],
)
def test_numbers_that_no_run_decides(text):
    assert bare_numbers(text) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It took 1,000 draws, 12 of them bad.", ["1,000", "12"]),
        ("It took 2000 draws.", ["2000"]),
        ("R-hat is 1.003.", ["1.003"]),
        ("The level is 5 pCi/L, 30% more, 3x as much.", ["5", "30", "3"]),
        ("Rows 3-4 of 8-schools, from 0.1 to .5", ["3", "4", "8", "0.1", "5"]),
        ("It said “0.3” there.", ["0.3"]),
    ],
)
def test_numbers_that_a_run_decides(text, numbers):
    assert bare_numbers(text) == numbers


def test_a_quotation_with_its_source_may_hold_a_number():
    assert bare_numbers('It said “0.3”, then "0.4", and 7.', cites=True) == ["7"]
