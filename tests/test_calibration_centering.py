"""The study of when to center: its data, its truth, its arithmetic, and its committed result."""

import numpy as np
import pandas as pd
import pytest

from funnel import exact
from funnel.calibration import centering
from funnel.calibration.mapping import run_tasks

CELL = ["groups", "hyperprior", "design", "informativeness"]


@pytest.mark.parametrize("design", centering.DESIGNS)
@pytest.mark.parametrize("groups", centering.GROUPS)
def test_the_middle_group_has_the_stated_informativeness(design, groups):
    data = centering.simulate(design, groups, 3.0, 0)
    r = 1 / data["se"] ** 2
    assert len(data) == groups
    np.testing.assert_allclose(np.exp(np.log(r).mean()), 3.0)
    spread = 1 if design == "balanced" else 64
    np.testing.assert_allclose(r.max() / r.min(), spread)


def test_the_measurements_vary_as_the_model_says():
    """Their variance is tau^2 + se^2 = 1 + 1/r."""
    z = [
        data["effect"] / np.sqrt(1 + data["se"] ** 2)
        for data in (centering.simulate("unbalanced", 85, 0.3, k) for k in range(100))
    ]
    squares = np.concatenate(z) ** 2
    assert abs(squares.mean() - 1) < 4 * np.sqrt(2 / len(squares))


def test_data_are_seeded_by_their_cell():
    one = centering.simulate("balanced", 8, 1.0, 0)
    pd.testing.assert_frame_equal(one, centering.simulate("balanced", 8, 1.0, 0))
    for other in (("unbalanced", 8, 1.0, 0), ("balanced", 8, 3.0, 0), ("balanced", 8, 1.0, 1)):
        assert not np.isclose(one["effect"], centering.simulate(*other)["effect"]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("even", 8, 1.0, 0), "design must be one of"),
        (("balanced", 8, 0.0, 0), "informativeness must be positive, got 0.0"),
        (("balanced", 8, np.inf, 0), "informativeness must be positive, got inf"),
    ],
)
def test_bad_data_sets_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        centering.simulate(*arguments)


def test_the_study_is_as_large_as_it_says():
    tasks = pd.DataFrame(centering.make_tasks())
    assert not tasks.duplicated().any()
    assert (tasks.groupby(CELL).size() >= 20).all()
    r = tasks["informativeness"].unique()
    assert len(r) >= 9
    assert r.min() <= 0.03
    assert r.max() >= 300
    assert set(tasks["groups"]) == {8, 25, 85}
    assert len(centering.CENTEREDNESS) >= 7
    assert {0.0, 1.0} <= set(centering.CENTEREDNESS)
    # Seeds have 32 bits: among so many, two may be equal by chance, and hardly three pairs.
    seeds = {
        centering._seed(*task.values(), c) for task in tasks.to_dict("records") for c in (0, 1)
    }
    assert len(seeds) >= 2 * len(tasks) - 3


@pytest.mark.parametrize("hyperprior", centering.HYPERPRIORS)
@pytest.mark.parametrize("informativeness", [0.03, 300.0])
def test_the_truth_agrees_with_independent_draws(hyperprior, informativeness):
    priors = centering.HYPERPRIORS[hyperprior]
    data = centering.simulate("unbalanced", 8, informativeness, 1)
    truth = centering._exact_answers(data, priors)
    draws = exact.eight_schools(data, priors).draws(40_000, seed=1)["posterior"]
    log_tau = np.log(draws["tau"].to_numpy().ravel())
    mean, variance = truth["log_tau"]
    assert abs(log_tau.mean() - mean) < 4 * np.sqrt(variance / log_tau.size)
    squares = (log_tau - mean) ** 2
    assert abs(squares.mean() - variance) < 4 * squares.std() / np.sqrt(squares.size)
    small = (np.exp(log_tau) < truth["threshold"]).mean()
    assert abs(small - 0.05) < 4 * np.sqrt(0.05 * 0.95 / log_tau.size)


@pytest.fixture(scope="module")
def committed():
    return centering.load_fits()


def test_the_committed_study_is_complete(committed):
    tasks = pd.DataFrame(centering.make_tasks())
    ways = len(centering.CENTEREDNESS) + 2 * (tasks["design"] == "unbalanced")
    assert len(committed) == ways.sum()
    pd.testing.assert_frame_equal(
        committed[list(tasks)].drop_duplicates().reset_index(drop=True), tasks
    )
    assert not committed.duplicated([*tasks, "centeredness"]).any()
    assert committed.notna().all().all()


@pytest.mark.slow
def test_a_sample_of_the_study_computed_anew_agrees(committed, tmp_path):
    """The same within Monte Carlo error on any machine, and by any number of workers."""
    chosen = [
        {
            "groups": groups,
            "hyperprior": "HalfNormal(1)",
            "design": design,
            "informativeness": r,
            "data_set": k,
        }
        for groups in (8, 25)
        for design, r, k in [
            ("balanced", 0.1, 3),
            ("unbalanced", 3.0, 11),
            ("balanced", 300.0, 19),
            ("unbalanced", 1.0, 7),
        ]
    ]
    assert all(task in centering.make_tasks() for task in chosen)
    two = run_tasks(centering.fit_data_set, chosen, tmp_path / "two.jsonl", workers=2)
    few = [chosen[3], chosen[0]]
    one = run_tasks(centering.fit_data_set, few, tmp_path / "one.jsonl", workers=1)
    again = pd.concat([two[(two[list(task)] == pd.Series(task)).all(axis=1)] for task in few])
    pd.testing.assert_frame_equal(one, again.reset_index(drop=True))

    key = [*chosen[0], "centeredness"]
    both = two.assign(centeredness=two["centeredness"].astype(str)).merge(
        committed, on=key, suffixes=("", "_committed"), validate="one_to_one"
    )
    assert len(both) == len(two)
    for name in (*(f"error_{q}" for q in centering.QUANTITIES), "ess_bulk", "gradients"):
        ratio = np.log(both[name] / both[f"{name}_committed"])
        # 4 chains a fit: the logarithm of a mean of four squares varies by 0.8 or more.
        error = max(ratio.std(), 1.1) / np.sqrt(len(ratio))
        assert abs(ratio.mean()) < 4 * error, name


def test_a_slope_counts_homes_on_both_floors(homes):
    """Its least-squares estimate has the variance of a mean of as many homes."""
    known = centering.effective_homes(homes)
    for county in ("St. Louis", "Anoka"):
        floor = homes.query("county == @county")["floor"].to_numpy()
        design = np.column_stack([np.ones(len(floor)), floor])
        assert known.loc[county, "intercepts"] == len(floor)
        variance = np.linalg.inv(design.T @ design)[1, 1]
        np.testing.assert_allclose(known.loc[county, "slopes"], 1 / variance)
    assert known.loc["Steele", "slopes"] == 0
