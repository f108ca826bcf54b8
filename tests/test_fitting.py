"""What `fit` asserts, stores, says and leaves unsaid; and its draws against exact answers."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy.stats import norm, rankdata

from funnel import data, exact, fitting, models, priors

SCHOOLS = data.load_eight_schools()
CHAINS, DRAWS = 4, 2000


def posterior(
    spoil: Callable[[xr.Dataset], xr.Dataset] = lambda dataset: dataset, divergences: int = 0
) -> xr.DataTree:
    """Independent draws in the shape of a fit, spoiled on request."""
    rng = np.random.default_rng(1)
    sample = ("chain", "draw")
    dataset = xr.Dataset(
        {
            "mu": (sample, rng.normal(size=(CHAINS, DRAWS))),
            "b": ((*sample, "county"), rng.normal(size=(CHAINS, DRAWS, 3))),
        },
        coords={"county": ["A", "B", "C"]},
    )
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    diverging[0, :divergences] = True
    steps = xr.Dataset({"n_steps": (sample, np.full((CHAINS, DRAWS), 7))})
    return xr.DataTree.from_dict(
        {
            "posterior": spoil(dataset),
            "sample_stats": steps.assign(diverging=(sample, diverging)),
            "warmup_sample_stats": steps.isel(draw=slice(1000)),
        }
    )


def shift_b(dataset: xr.Dataset) -> xr.Dataset:
    """One chain of one slope sits elsewhere."""
    where = {"chain": 1, "county": 2}
    b = dataset["b"].copy()
    b[where] += 3
    return dataset.assign(b=b)


def freeze_mu(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(mu=xr.full_like(dataset["mu"], 2.5))


def halves_of(order: np.ndarray) -> Callable[[xr.Dataset], xr.Dataset]:
    """Give every half of every chain the same values of mu, so that R-hat sees nothing."""
    mu = norm.ppf((order + 0.5) / order.size)

    def spoil(dataset: xr.Dataset) -> xr.Dataset:
        return dataset.assign(mu=(("chain", "draw"), np.tile(mu, (CHAINS, 2))))

    return spoil


HALF = DRAWS // 2
SHUFFLED = np.random.default_rng(2).permutation(HALF)
# Positive for 100 draws, negative for 100, and within that anything: slow but in the tails.
POSITIVE = np.repeat(np.arange(HALF // 100) % 2 == 0, 100)
sides_in_turn = np.empty(HALF, dtype=int)
sides_in_turn[POSITIVE] = SHUFFLED[SHUFFLED >= HALF // 2]
sides_in_turn[~POSITIVE] = SHUFFLED[SHUFFLED < HALF // 2]
slow_center = halves_of(sides_in_turn)
# All of both tails in turns at the start, then the rest: well mixed but for the tails.
TAIL = HALF // 20
slow_tails = halves_of(
    np.concatenate(
        [
            np.column_stack([np.arange(TAIL), HALF - 1 - np.arange(TAIL)]).ravel(),
            SHUFFLED[(SHUFFLED >= TAIL) & (SHUFFLED < HALF - TAIL)],
        ]
    )
)


@pytest.fixture
def model() -> pm.Model:
    with pm.Model() as model:
        pm.Normal("x", 0, 1)
    return model


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> list[xr.DataTree]:
    """Stands in for the samplers: `fit` gets these trees, one after the other."""
    trees: list[xr.DataTree] = []
    monkeypatch.setattr(fitting, "_sample", lambda *_: trees.pop(0))
    return trees


# Diagnostics


def test_independent_draws_pass():
    table = fitting.diagnose(posterior())
    assert list(table.index) == ["mu", "b[A]", "b[B]", "b[C]"]
    assert table["passed"].all()
    # Independent draws are worth their number, within the error of the estimate.
    assert table[["ess_bulk", "ess_tail"]].to_numpy() == pytest.approx(CHAINS * DRAWS, rel=0.15)


def test_r_hat_is_the_rank_normalized_one_of_split_chains():
    # The definition of Vehtari et al. (2021), written out.
    draws = posterior(shift_b)["posterior"]["b"].to_numpy()[:, :, 2]
    halves = draws.reshape(2 * CHAINS, -1)

    def r_hat(x: np.ndarray) -> float:
        z = norm.ppf((rankdata(x).reshape(x.shape) - 3 / 8) / (x.size + 1 / 4))
        n = x.shape[1]
        within = z.var(axis=1, ddof=1).mean()
        between = n * z.mean(axis=1).var(ddof=1)
        return np.sqrt(((n - 1) / n * within + between / n) / within)

    expected = max(r_hat(halves), r_hat(abs(halves - np.median(halves))))
    assert fitting.diagnose(posterior(shift_b)).loc["b[C]", "r_hat"] == pytest.approx(expected)
    assert expected > 1.1


def test_the_tail_is_at_5_and_95_percent():
    draws = posterior(slow_tails)
    mu = draws["posterior"].dataset[["mu"]]
    expected = min(float(az.ess(mu, method="quantile", prob=p).mu) for p in (0.05, 0.95))
    assert fitting.diagnose(draws).loc["mu", "ess_tail"] == pytest.approx(expected)


def test_a_parameter_that_does_not_move_has_not_converged():
    table = fitting.diagnose(posterior(freeze_mu))
    assert np.isnan(table.loc["mu", "r_hat"])
    assert list(table.index[~table["passed"]]) == ["mu"]


def test_effects_with_two_labels_are_named_by_both():
    draws = posterior(lambda d: d.assign(e=d["b"].expand_dims(floor=[0, 1], axis=-1)))
    assert "e[A, 1]" in fitting.diagnose(draws).index


def test_divergences_and_gradients_are_counted():
    draws = posterior(divergences=3)
    assert fitting.divergences(draws) == 3
    assert fitting.gradients(draws) == 7 * CHAINS * (DRAWS + 1000)


# What `fit` makes of them


def test_a_healthy_fit_comes_back(model, sampler):
    sampler.append(posterior())
    xr.testing.assert_identical(fitting.fit(model, seed=1), posterior())


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (posterior(shift_b), r"1 of 4 parameters miss [^\n]*\n    b\[C\]: R-hat 1\.\d{3}, bulk"),
        (
            posterior(slow_center),
            r"1 of 4 .*\n    mu: R-hat .*, bulk ESS \d\d\d?, tail ESS \d{4}\n",
        ),
        (posterior(slow_tails), r"1 of 4 .*\n    mu: R-hat .*, bulk ESS \d{4,}, tail ESS 1\d\d\n"),
        (posterior(freeze_mu), r"1 of 4 parameters[^\n]*\n    mu: R-hat nan"),
        (posterior(divergences=2), r"seed 1,[^\n]*\n  2 of 8000 transitions diverged\nTry"),
    ],
    ids=["chains apart", "slow center", "slow tails", "constant", "divergences"],
)
def test_a_sick_fit_raises_and_names_what_is_sick(model, sampler, draws, message):
    sampler += [draws, draws, draws]
    with pytest.raises(fitting.ConvergenceError, match=message):
        fitting.fit(model, seed=1)
    # If it was expected, or if nothing was, the draws come back.
    assert fitting.fit(model, seed=1, expect_failure=True) is draws
    assert fitting.fit(model, seed=1, expect_failure=None) is draws


def test_a_message_names_every_parameter_and_the_worst_first(model, sampler):
    def spoil(dataset: xr.Dataset) -> xr.Dataset:
        many = dataset["mu"] + xr.DataArray(np.arange(12), dims="k") * dataset["chain"]
        return dataset.assign(many=many.transpose("chain", "draw", "k"))

    sampler.append(posterior(spoil))
    with pytest.raises(fitting.ConvergenceError) as error:
        fitting.fit(model, seed=1)
    message = str(error.value)
    assert "and 1 more: many[1]" in message
    assert message.index("many[11]:") < message.index("many[5]:") < message.index("many[2]:")


def test_an_expected_failure_must_fail(model, sampler):
    sampler.append(posterior())
    with pytest.raises(fitting.ConvergenceError, match="expected to fail a diagnostic, and passed"):
        fitting.fit(model, seed=1, expect_failure=True)


# Bad input


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": True},
        {"seed": 1.0},
        {"seed": None},
        {"seed": 2**32},
        {"sampler": "stan"},
        {"chains": 3},
        {"chains": 4.0},
        {"tune": 0},
        {"draws": 99},
        {"draws": True},
        {"target_accept": 0},
        {"target_accept": 1.0},
        {"target_accept": "0.9"},
        {"target_accept": float("nan")},
        {"expect_failure": "yes"},
    ],
    ids=str,
)
def test_arguments_are_checked(model, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name} must be ") as error:
        fitting.fit(model, **{"seed": 1} | arguments)
    assert repr(value) in str(error.value)


def test_a_seed_is_required(model):
    with pytest.raises(TypeError, match="seed"):
        fitting.fit(model)


def test_a_model_is_required():
    with pytest.raises(TypeError, match=r"model must be a pymc.Model, got DataFrame"):
        fitting.fit(SCHOOLS, seed=1)


# Fingerprints

SMALL = pd.DataFrame(
    {
        "county": pd.Categorical(list("AABBCC")),
        "floor": [0, 1, 0, 1, 0, 0],
        "log_radon": [1.2, 0.3, 0.9, 2.0, 1.1, -2.3],
    }
)


def build(
    homes: pd.DataFrame = SMALL, p: priors.Hyperpriors = priors.ESSAY, slopes: float = 0
) -> pm.Model:
    return models.varying_slopes(homes, p, intercepts="centered", slopes=slopes)


def test_the_same_model_has_the_same_fingerprint():
    assert fitting.fingerprint(build()) == fitting.fingerprint(build())


ESSAY = priors.ESSAY
OTHERS = {
    "mean": lambda: build(p=replace(ESSAY, mu_a=priors.Normal(1e-9, 100**2))),
    "sd": lambda: build(p=replace(ESSAY, mu_b=priors.Normal(0, 100**2 + 1))),
    "scale": lambda: build(p=replace(ESSAY, sigma_b=priors.HalfCauchy(5 + 1e-12))),
    "family": lambda: build(p=replace(ESSAY, sigma_b=priors.HalfNormal(5))),
    "swap": lambda: build(p=replace(ESSAY, mu_a=priors.Normal(0, 1), mu_b=priors.Normal(0, 2))),
    "swapped": lambda: build(p=replace(ESSAY, mu_a=priors.Normal(0, 2), mu_b=priors.Normal(0, 1))),
    "measurement": lambda: build(SMALL.assign(log_radon=[1.2, 0.3, 0.9, 2.0, 1.1, -2.3000001])),
    "floor": lambda: build(SMALL.assign(floor=[0, 1, 0, 1, 0, 1])),
    "county of a home": lambda: build(SMALL.assign(county=pd.Categorical(list("AABBBC")))),
    "name of a county": lambda: build(SMALL.assign(county=pd.Categorical(list("AABBDD")))),
    "centered": lambda: build(slopes=1),
    "partly centered": lambda: build(slopes=0.5),
    "a little less centered": lambda: build(slopes=0.49),
}


def test_whatever_differs_differs_in_the_fingerprint():
    found = {name: fitting.fingerprint(other()) for name, other in OTHERS.items()}
    found["none"] = fitting.fingerprint(build())
    assert len(set(found.values())) == len(found)


def test_a_datum_in_the_middle_of_a_long_table_counts(homes):
    changed = homes.copy()
    changed.loc[homes.index[460], "log_radon"] += 1e-12
    assert fitting.fingerprint(build(homes)) != fitting.fingerprint(build(changed))


def test_shared_data_and_initial_values_count():
    def shared(value: float, initval: float | None = None) -> pm.Model:
        with pm.Model() as model:
            pm.Normal("x", pm.Data("center", value), 1, initval=initval)
        return model

    variants = [shared(0.0), shared(1.0), shared(0.0, initval=2.0)]
    assert len({fitting.fingerprint(model) for model in variants}) == 3


def test_the_fingerprint_is_the_same_in_another_process():
    code = (
        "import test_fitting as t; from funnel import fitting; "
        "print(fitting.fingerprint(t.build(slopes=0.3)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONHASHSEED": "20261122"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == fitting.fingerprint(build(slopes=0.3))


# Storing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUNNEL_FIT_CACHE", str(tmp_path / "not yet there"))
    return tmp_path / "not yet there"


def test_a_fit_is_computed_once(model, sampler, folder):
    sampler.append(posterior())
    first = fitting.fit(model, seed=1)
    second = fitting.fit(model, seed=1)
    xr.testing.assert_identical(first, posterior())
    xr.testing.assert_identical(second, posterior())
    assert first.posterior.county.dtype == second.posterior.county.dtype


def test_without_a_folder_nothing_is_stored(model, sampler, monkeypatch, tmp_path):
    monkeypatch.delenv("FUNNEL_FIT_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    sampler += [posterior(), posterior()]
    fitting.fit(model, seed=1)
    fitting.fit(model, seed=1)
    assert not sampler
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"sampler": "pymc"},
        {"chains": 5},
        {"tune": 1001},
        {"draws": 2001},
        {"target_accept": 0.96},
    ],
    ids=str,
)
def test_every_argument_is_part_of_the_key(model, sampler, folder, other):
    sampler += [posterior(), posterior()]
    fitting.fit(model, seed=1)
    fitting.fit(model, **{"seed": 1} | other)
    assert not sampler


def test_another_model_is_another_fit(model, sampler, folder):
    sampler += [posterior(), posterior()]
    fitting.fit(model, seed=1)
    fitting.fit(build(), seed=1)
    assert not sampler


def test_a_fit_that_raises_is_not_stored(model, sampler, folder):
    sampler += [posterior(shift_b), posterior(), posterior()]
    with pytest.raises(fitting.ConvergenceError):
        fitting.fit(model, seed=1)
    with pytest.raises(fitting.ConvergenceError):
        fitting.fit(model, seed=1, expect_failure=True)
    assert not list(folder.glob("*.nc"))
    fitting.fit(model, seed=1)
    assert [path.suffix for path in sorted(folder.iterdir())] == [".lock", ".nc"]


def test_a_stored_fit_is_diagnosed_again(model, sampler, folder):
    sampler.append(posterior(shift_b))
    fitting.fit(model, seed=1, expect_failure=True)
    with pytest.raises(fitting.ConvergenceError, match=r"b\[C\]"):
        fitting.fit(model, seed=1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a netCDF file"),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    ],
    ids=["empty", "something else", "cut off"],
)
def test_a_damaged_file_is_computed_again(model, sampler, folder, damage):
    sampler += [posterior(), posterior()]
    fitting.fit(model, seed=1)
    (path,) = folder.glob("*.nc")
    damage(path)
    xr.testing.assert_identical(fitting.fit(model, seed=1), posterior())
    assert not sampler


def test_a_full_disk_leaves_no_half_file(model, sampler, folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    sampler.append(posterior())
    monkeypatch.setattr(xr.DataTree, "to_netcdf", full)
    with pytest.raises(OSError, match="No space"):
        fitting.fit(model, seed=1)
    assert {path.suffix for path in folder.iterdir()} <= {".lock"}


RACE = """
import sys, time
import test_fitting as t
from funnel import fitting, models
def sample(*_):
    print("sampling", flush=True)
    time.sleep(3)
    return t.posterior()
fitting._sample = sample
model = models.neal_funnel(x="centered")
print("ready", flush=True)
sys.stdin.readline()
fitting.fit(model, seed=1)
print("done", flush=True)
"""


@pytest.mark.slow
def test_of_two_processes_the_second_waits(folder):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", RACE],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in both]
    assert sorted(said) == [["done"], ["sampling", "done"]]


# The samplers themselves

SHORT = {"tune": 700, "draws": 1000}  # enough for the eight schools


@pytest.fixture(scope="module")
def healthy() -> pm.Model:
    return models.eight_schools(SCHOOLS, effects="noncentered")


@pytest.fixture(scope="module")
def by_nutpie(healthy: pm.Model) -> xr.DataTree:
    return fitting.fit(healthy, seed=1, **SHORT)


@pytest.fixture(scope="module")
def by_pymc(healthy: pm.Model) -> xr.DataTree:
    return fitting.fit(healthy, seed=1, **SHORT, sampler="pymc")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_the_tree_is_the_same_whichever_sampler_ran(sampler, request):
    tree = request.getfixturevalue(f"by_{sampler}")
    assert set(tree.children) == {"posterior", "sample_stats", "warmup_sample_stats"}
    assert list(tree["posterior"].data_vars) == ["mu", "tau", "theta_offset", "theta"]
    assert dict(tree["posterior"].sizes) == {"chain": 4, "draw": 1000, "school": 8}
    assert list(tree["posterior"]["school"].to_numpy()) == list("ABCDEFGH")
    for group, size in {"sample_stats": 1000, "warmup_sample_stats": 700}.items():
        stats = tree[group].dataset
        assert stats.sizes == {"chain": 4, "draw": size}
        assert {name: values.dtype.kind for name, values in stats.data_vars.items()} == {
            "diverging": "b",
            "energy": "f",
            "lp": "f",
            "step_size": "f",
            "n_steps": "i",
            "tree_depth": "i",
            "reached_max_treedepth": "b",
            "acceptance_rate": "f",
        }
        # d doublings make 2^d - 1 steps. PyMC counts one that was cut short, nutpie does not.
        shortest = 2.0 ** (stats["tree_depth"] - (sampler == "pymc"))
        assert ((stats["n_steps"] >= shortest - 1) & (stats["n_steps"] < 2 * shortest)).all()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_both_samplers_find_the_exact_answer(sampler, request):
    draws = request.getfixturevalue(f"by_{sampler}")["posterior"].dataset
    truth = exact.eight_schools(SCHOOLS)
    error = az.mcse(draws)
    for name in ("mu", "tau", "theta"):
        distance = (draws[name].mean(("chain", "draw")) - truth.mean(name)) / error[name]
        assert float(abs(distance).max()) < 4
    for x in (0.5, 3.0, 10.0):
        below = (draws[["tau"]] < x).astype(float)
        distance = (float(below["tau"].mean()) - truth.cdf("tau", x)) / float(az.mcse(below).tau)
        assert abs(distance) < 4


@pytest.mark.slow
def test_energy_means_the_same_in_both_samplers(by_nutpie, by_pymc):
    def mean_and_error(tree: xr.DataTree) -> tuple[float, float]:
        energy = tree["sample_stats"].dataset[["energy"]]
        return float(energy["energy"].mean()), float(az.mcse(energy).energy)

    (one, error_of_one), (other, error_of_other) = map(mean_and_error, (by_nutpie, by_pymc))
    assert abs(one - other) < 5 * np.hypot(error_of_one, error_of_other)
    for tree in (by_nutpie, by_pymc):
        assert az.bfmi(tree)["energy"].min() > 0.5


@pytest.mark.slow
def test_one_seed_is_one_fit_compiled_once_and_silent(healthy, by_nutpie, monkeypatch, capfd):
    monkeypatch.setattr(fitting.nutpie, "compile_pymc_model", lambda *_: pytest.fail("compiled"))
    xr.testing.assert_identical(fitting.fit(healthy, seed=1, **SHORT), by_nutpie)
    # An equal model that was built anew need not be compiled either.
    again = models.eight_schools(SCHOOLS, effects="noncentered")
    other = fitting.fit(again, seed=2, **SHORT)
    assert not other["posterior"].equals(by_nutpie["posterior"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_pymc_is_silent_too(healthy, capfd):
    fitting.fit(healthy, seed=3, draws=100, tune=100, sampler="pymc", expect_failure=None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_a_terminal_shows_one_line(healthy, sampler, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    settings = {"draws": 100, "tune": 100, "sampler": sampler, "expect_failure": None}
    fitting.fit(healthy, seed=1, **settings)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"\rsampling with {sampler}: ")
    assert err.count("\n") == 1
    assert "800 of 800 draws" in err.splitlines()[-1]


def test_an_interrupted_fit_is_canceled_and_is_no_fit(model, monkeypatch):
    canceled = []

    class Run:
        def wait(self):
            raise KeyboardInterrupt

        def cancel(self):
            canceled.append(self)

    monkeypatch.setattr(fitting.nutpie, "sample", lambda *_, **__: Run())
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(model, seed=1)
    assert canceled


def test_an_interrupted_fit_of_pymc_is_no_fit(model, monkeypatch):
    monkeypatch.setattr(fitting.pm, "sample", lambda **_: posterior().isel(draw=slice(500)))
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(model, seed=1, sampler="pymc")


@pytest.mark.slow
def test_the_radon_fit_finds_the_exact_answer(homes):
    model = models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="noncentered")
    draws = fitting.fit(model, seed=2017)["posterior"].dataset
    truth = exact.varying_slopes(homes, priors.ESSAY)
    error = az.mcse(draws)
    for name in ("mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y", "a", "b"):
        distance = (draws[name].mean(("chain", "draw")) - truth.mean(name)) / error[name]
        # Of 85 counties, one may well be beyond 4 standard errors.
        assert float(abs(distance).max()) < 5
    below = (draws[["sigma_b"]] < 0.1).astype(float)
    error = float(az.mcse(below).sigma_b)
    assert abs(float(below["sigma_b"].mean()) - truth.cdf("sigma_b", 0.1)) < 4 * error


@pytest.mark.slow
def test_the_centered_model_fails_whatever_the_seed(homes):
    centered = models.varying_slopes(homes, priors.ESSAY, intercepts="centered", slopes="centered")
    for seed in (1, 2, 3):
        draws = fitting.fit(centered, seed=seed, target_accept=0.8, expect_failure=True)
        assert not fitting.diagnose(draws).loc["sigma_b", "passed"]
