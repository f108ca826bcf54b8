"""Counties integrated out, left out without fitting again, and judged by fits that did."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

from funnel import checking, data, fitting, models
from funnel.priors import HalfNormal, Hyperpriors, Normal

PRIORS = Hyperpriors(
    mu_a=Normal(0.3, 1),
    sigma_a=HalfNormal(0.5),
    mu_b=Normal(0, 1),
    sigma_b=HalfNormal(0.5),
    sigma_y=HalfNormal(1),
)
STATES = ["MA", "MI", "WI"]
LEFT = "Sawyer (WI)"


def fit(homes, noise, seed):
    model = models.three_level(
        homes,
        PRIORS,
        states="centered",
        intercepts="noncentered",
        slopes="noncentered",
        noise=noise,
        between_states=HalfNormal(0.5),
    )
    return fitting.fit(model, seed=seed, expect_failure=None)


def some_states():
    homes = data.load_radon_us()
    homes = homes[homes["state"].isin(STATES)]
    return homes.assign(county=homes["county"].cat.remove_unused_categories())


@pytest.fixture(scope="module")
def homes():
    """Three states with few counties, so that one county matters."""
    return some_states()


@pytest.fixture(scope="module")
def whole(homes):
    return fit(homes, "state", 1)


def density_by_hand(homes, post, chain, draw, county):
    """The joint normal of a county's homes, with its whole covariance matrix."""
    p = post.isel(chain=chain, draw=draw)
    one = homes[homes["county"] == county]
    soil = homes.groupby("county", observed=True)["log_uranium"].first()
    state = one["state"].iloc[0]
    x = one["floor"].to_numpy(float)
    design = np.column_stack([np.ones_like(x), x])
    mean = design @ [
        p["alpha"].sel(state=state) + p["gamma"] * (soil[county] - soil.mean()),
        p["mu_b"],
    ]
    cov = (p["rho"] * p["sigma_a"] * p["sigma_b"]).item()
    sigma = np.array([[p["sigma_a"].item() ** 2, cov], [cov, p["sigma_b"].item() ** 2]])
    sd = (p["sigma_home"].sel(state=state) if "sigma_home" in p else p["sigma_y"]).item()
    covariance = design @ sigma @ design.T + sd**2 * np.eye(len(x))
    return stats.multivariate_normal(mean.astype(float), covariance).logpdf(one["log_radon"])


@pytest.mark.parametrize("noise", ["state", "common"])
def test_density_of_a_county_is_that_of_its_covariance_matrix(homes, whole, noise):
    post = whole.posterior.dataset
    tree = xr.DataTree.from_dict(
        {"posterior": post if noise == "state" else post.drop_vars("sigma_home")}
    )
    found = checking.county_log_likelihood(homes, tree)
    for county in homes["county"].cat.categories[::4]:
        expected = density_by_hand(homes, tree.posterior.dataset, 1, 7, county)
        assert found.sel(county=county).isel(chain=1, draw=7).item() == pytest.approx(expected)


def test_density_of_each_home(homes, whole):
    found = checking.home_log_likelihood(homes, whole).isel(chain=2, draw=5)
    p = whole.posterior.dataset.isel(chain=2, draw=5)
    for i in (0, 700, len(homes) - 1):
        home = homes.iloc[i]
        mean = p["a"].sel(county=home.county) + p["b"].sel(county=home.county) * home.floor
        sd = p["sigma_home"].sel(state=home.state)
        assert found[i].item() == pytest.approx(stats.norm(mean, sd).logpdf(home.log_radon).item())


def test_leaving_a_county_out_can_only_lose(homes, whole):
    """The harmonic mean of a density is never above its mean."""
    left_out = checking.leave_counties_out(homes, whole)
    log_lik = checking.county_log_likelihood(homes, whole)
    seen = np.log(np.exp(log_lik - log_lik.max()).mean(["chain", "draw"])) + log_lik.max()
    assert (left_out.summary["elpd"] <= seen.to_series() + 1e-6).all()
    np.testing.assert_allclose(np.exp(left_out.log_weights).sum(["chain", "draw"]), 1)
    assert list(left_out.summary["homes"]) == list(homes["county"].value_counts(sort=False))


@pytest.mark.slow
def test_a_county_left_out_by_weights_is_the_county_left_out_by_a_fit(homes, whole):
    left_out = checking.leave_counties_out(homes, whole)
    assert left_out.summary.loc[LEFT, "pareto_k"] < 0.5
    rest = homes[homes["county"] != LEFT]
    again = fit(rest.assign(county=rest["county"].cat.remove_unused_categories()), "state", 2)
    weight = np.exp(left_out.log_weights.sel(county=LEFT).drop_vars("county"))
    # The uranium is measured from the mean of the counties, which leaving one out moves.
    shift = homes.groupby("county", observed=True)["log_uranium"].first()
    shift = shift.mean() - shift.drop(LEFT).mean()
    post, other = whole.posterior.dataset, again.posterior.dataset
    moved = other["alpha"] + other["gamma"] * shift
    for name, new in {"alpha": moved.sel(state="WI"), "sigma_a": other["sigma_a"],
                      "mu_b": other["mu_b"], "gamma": other["gamma"]}.items():  # fmt: skip
        old = post[name].sel(state="WI") if name == "alpha" else post[name]
        by_weights = (weight * old).sum().item()
        # Either has an effective sample size of several hundred at least.
        error = new.std().item() * np.sqrt(2 / 400)
        assert by_weights == pytest.approx(new.mean().item(), abs=4 * error)


@pytest.mark.slow
def test_the_density_of_a_county_left_out_is_that_of_a_fit_without_it(homes, whole):
    rest = homes[homes["county"] != LEFT]
    again = fit(rest.assign(county=rest["county"].cat.remove_unused_categories()), "state", 2)
    soil = homes.groupby("county", observed=True)["log_uranium"].first()
    shift = soil.mean() - soil.drop(LEFT).mean()
    post = again.posterior.dataset
    same = post.assign(alpha=post["alpha"] + post["gamma"] * shift)
    log_lik = checking.county_log_likelihood(homes, xr.DataTree.from_dict({"posterior": same}))
    density = np.exp(log_lik.sel(county=LEFT) - log_lik.sel(county=LEFT).max())
    refit = np.log(density.mean()).item() + log_lik.sel(county=LEFT).max().item()
    error = (density.std() / density.mean() / np.sqrt(400)).item()
    elpd = checking.leave_counties_out(homes, whole).summary.loc[LEFT, "elpd"]
    assert elpd == pytest.approx(refit, abs=4 * np.sqrt(2) * error)


def test_predicted_means_of_a_model_that_is_true_are_uniform(homes, whole):
    """Make homes from one draw, weight nothing, and predict with that draw alone."""
    p = whole.posterior.dataset.isel(chain=[0], draw=[0])
    tree = xr.DataTree.from_dict({"posterior": p})
    rng = np.random.default_rng(5)
    soil = homes.groupby("county", observed=True)["log_uranium"].first()
    flat = p.isel(chain=0, draw=0)
    below = []
    for _ in range(20):
        state = homes.groupby("county", observed=True)["state"].first().to_numpy(str)
        mean = flat["alpha"].sel(state=state).to_numpy() + flat["gamma"].item() * (
            soil - soil.mean()
        )
        z = rng.normal(size=(2, len(mean)))
        rho = flat["rho"].item()
        a = mean + flat["sigma_a"].item() * z[0]
        b = flat["mu_b"].item() + flat["sigma_b"].item() * (rho * z[0] + np.sqrt(1 - rho**2) * z[1])
        code = homes["county"].cat.codes.to_numpy()
        sd = flat["sigma_home"].sel(state=homes["state"].to_numpy(str)).to_numpy()
        y = rng.normal(a.to_numpy()[code] + b[code] * homes["floor"].to_numpy(), sd)
        made = homes.assign(log_radon=y)
        zero = xr.zeros_like(checking.county_log_likelihood(made, tree))
        below.append(checking.floor_means(made, tree, checking.LeftOut(pd.DataFrame(), zero)))
    table = pd.concat(below)
    assert (table["homes"] > 0).all()
    for _, one in table.groupby("floor"):
        assert stats.kstest(one["below"], "uniform").pvalue > 0.001


@pytest.mark.parametrize("wrong", [None, xr.DataTree()])
def test_a_fit_of_another_model_is_refused(homes, wrong):
    with pytest.raises(TypeError, match="three-level"):
        checking.county_log_likelihood(homes, wrong)
