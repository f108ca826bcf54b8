"""What the chapter *Priors* claims. Most of it is exact; what is random has other seeds."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pymc as pm
import pytest
from scipy import constants, integrate, stats

from funnel import data, decisions, exact, models, modes, priors

pytestmark = pytest.mark.slow

MEDIAN = 0.5
FAMILIES = {
    "HalfCauchy": priors.HalfCauchy(MEDIAN),
    "HalfNormal": priors.HalfNormal(MEDIAN / stats.halfnorm.median()),
    "Exponential": priors.Exponential(np.log(2) / MEDIAN),
    "Gamma2": priors.Gamma2(stats.gamma(2).median() / MEDIAN),
}
ABOUT_HOMES = priors.Hyperpriors(
    mu_a=priors.Normal(0.3, 1),
    sigma_a=FAMILIES["HalfNormal"],
    mu_b=priors.Normal(0, 1),
    sigma_b=FAMILIES["HalfNormal"],
    sigma_y=priors.HalfNormal(1),
)
OVERFLOW = np.log(np.finfo(float).max)
RECORD = data.to_log_radon(3715)
PURE = data.to_log_radon(constants.N_A / 22.4 * np.log(2) / (3.8235 * constants.day) / 0.037)


@pytest.fixture(scope="module")
def under(homes):
    """Make the exact posterior with another prior of sigma_b, each once."""
    known = {}

    def posterior(prior):
        if prior not in known:
            known[prior] = exact.varying_slopes(homes, replace(priors.ESSAY, sigma_b=prior))
        return known[prior]

    return posterior


@pytest.fixture(scope="module")
def sets_of_counties(homes):
    """Sixteen random sets of each size, none of them the chapter's."""
    rng = np.random.default_rng(1000)
    everybody = homes["county"].cat.categories.to_numpy()

    def subset(size):
        chosen = rng.choice(everybody, size, replace=False)
        part = homes[homes["county"].isin(chosen)].copy()
        part["county"] = part["county"].cat.remove_unused_categories()
        return part

    return {size: [subset(size) for _ in range(16)] for size in (3, 20)}


def basements_above(hyper, log_radon):
    """Share of imagined basements above `log_radon`, by quadrature over the two scales."""
    p = (np.arange(400) + 0.5) / 400
    sigma_a, sigma_y = np.meshgrid(hyper.sigma_a.quantile(p), hyper.sigma_y.quantile(p))
    spread = np.sqrt(hyper.mu_a.sd**2 + sigma_a**2 + sigma_y**2)
    return float(stats.norm(hyper.mu_a.mean, spread).sf(log_radon).mean())


# Homes before any data ----------------------------------------------------------------------


def test_a_liter_of_radon_is_as_active_as_its_source_says():
    # The same source gives 1.538e5 curies for a gram; a mole of gas fills 22.4 liters.
    assert np.exp(PURE) == pytest.approx(1.538e5 * 222 / 22.4 * 1e12, rel=0.01)


def test_the_essays_priors_make_about_half_of_all_homes_infinite(homes):
    model = models.varying_slopes(
        homes, priors.ESSAY, intercepts="noncentered", slopes="noncentered"
    )
    y = pm.sample_prior_predictive(2000, model=model, var_names=["y"], random_seed=1000)
    infinite = y.prior_predictive["y"].to_numpy()[0] > OVERFLOW
    basements = homes["floor"].to_numpy() == 0
    simulated = infinite[:, basements].mean()
    on_paper = stats.norm(0, 10_000).sf(OVERFLOW)
    assert 0.45 < on_paper < 0.5
    assert abs(simulated - on_paper) < 4 * np.sqrt(on_paper * (1 - on_paper) / 2000)
    assert abs(basements_above(priors.ESSAY, OVERFLOW) - on_paper) < 0.005
    assert infinite.any(axis=1).mean() > 0.5
    # "Nearly all the others have none at all": next to none lie where homes lie.
    possible = basements_above(priors.ESSAY, np.log(0.1)) - basements_above(priors.ESSAY, RECORD)
    assert possible < 0.001
    assert basements_above(priors.ESSAY, np.log(0.1)) - on_paper < 0.05


def test_which_hyperpriors_believe_in_homes_beyond_the_record():
    weak = priors.WEAKLY_INFORMATIVE
    assert basements_above(weak, OVERFLOW) == 0
    assert 0.15 < basements_above(weak, RECORD) < 0.3
    assert basements_above(ABOUT_HOMES, RECORD) < 0.001
    assert 0.02 < 1 - basements_above(ABOUT_HOMES, data.to_log_radon(0.05)) < 0.15


def test_means_are_the_worse_offender_and_scales_are_not_innocent():
    scales = replace(priors.ESSAY, mu_a=ABOUT_HOMES.mu_a)
    means = replace(ABOUT_HOMES, mu_a=priors.ESSAY.mu_a)
    assert basements_above(means, OVERFLOW) > 0.45
    assert 0.001 < basements_above(scales, OVERFLOW) < 0.02
    assert basements_above(scales, PURE) > 5 * basements_above(scales, OVERFLOW)


# The four families --------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_have_one_median(family):
    assert FAMILIES[family].quantile(0.5) == pytest.approx(MEDIAN)
    assert FAMILIES[family].cdf(MEDIAN) == pytest.approx(0.5)


def test_how_the_families_treat_the_two_ends():
    at_zero = {name: float(np.exp(prior.logpdf(0))) for name, prior in FAMILIES.items()}
    assert max(at_zero, key=lambda name: at_zero[name]) == "Exponential"
    assert at_zero["Gamma2"] == 0
    assert min(at_zero["HalfCauchy"], at_zero["HalfNormal"]) > 1
    far = {name: 1 - float(prior.cdf(100)) for name, prior in FAMILIES.items()}
    assert far.pop("HalfCauchy") > 1e-3
    assert max(far.values()) < 1e-15


def test_two_counties_in_three_lie_within_a_factor_of_e_to_the_sigma():
    assert stats.norm.cdf(1) - stats.norm.cdf(-1) == pytest.approx(2 / 3, abs=0.02)


def test_which_candidates_lie_among_defensible_factors():
    low, high = np.log(1.05), np.log(5)

    def inside(prior):
        return prior.cdf(high) - prior.cdf(low)

    assert all(inside(prior) > 0.7 for prior in FAMILIES.values())
    assert inside(priors.HalfCauchy(5)) < 0.25
    assert priors.HalfNormal(0.1).quantile(0.95) < np.log(1.25) < high / 4


def test_a_rate_written_as_a_mean():
    assert 100 < np.exp(stats.gamma(2, scale=1 / 0.25).median()) < 1000
    meant = stats.gamma(2, scale=0.5 / 2), stats.expon(scale=0.5)
    assert all(prior.mean() == 0.5 for prior in meant)
    assert all(1.3 < np.exp(prior.median()) < 1.6 for prior in meant)


# Many counties ------------------------------------------------------------------------------


def test_the_prior_moves_the_tail_and_not_the_prediction(under):
    every = [*FAMILIES.values(), priors.HalfCauchy(5)]
    means = [under(prior).mean("sigma_b") for prior in every]
    assert max(means) - min(means) < 0.05
    new = [
        float(decisions.predict(under(p), floor=1, county=None).probability_above(4)) for p in every
    ]
    assert max(new) - min(new) < 0.006
    alike = {name: under(prior).cdf("sigma_b", 0.05) for name, prior in FAMILIES.items()}
    assert alike["Exponential"] / alike["Gamma2"] > 4
    essay = under(priors.HalfCauchy(5)).cdf("sigma_b", 0.05)
    assert alike["Gamma2"] < essay < alike["Exponential"]


def test_the_other_scales_do_not_care(homes):
    chosen = [replace(priors.ESSAY, sigma_a=p, sigma_b=p) for p in FAMILIES.values()]
    upper = [exact.varying_slopes(homes, hyper).quantile("sigma_a", 0.95) for hyper in chosen]
    assert max(upper) / min(upper) < 1.02


def test_one_sentence_about_the_upper_end_leaves_the_lower_end_open(homes):
    limit = np.log(3)
    chosen = {
        "HalfCauchy": priors.HalfCauchy(limit / stats.halfcauchy.ppf(0.95)),
        "HalfNormal": priors.HalfNormal(limit / stats.halfnorm.ppf(0.95)),
        "Exponential": priors.Exponential(-np.log(0.05) / limit),
        "Gamma2": priors.Gamma2(stats.gamma(2).ppf(0.95) / limit),
    }
    upper, alike = {}, {}
    for name, prior in chosen.items():
        assert prior.cdf(limit) == pytest.approx(0.95)
        posterior = exact.varying_slopes(homes, replace(priors.ESSAY, sigma_a=prior, sigma_b=prior))
        upper[name] = posterior.quantile("sigma_a", 0.95)
        alike[name] = posterior.cdf("sigma_b", 0.05)
    assert max(upper.values()) < 1.05 * min(upper.values())
    assert alike["HalfCauchy"] > 2 * alike["Exponential"] > 2 * alike["HalfNormal"]
    assert chosen["HalfCauchy"].cdf(0.1) > 0.5
    assert alike["HalfNormal"] > 2 * alike["Gamma2"]


def test_evidence_falls_with_the_size_and_the_posterior_stays(homes, under):
    ten, thousand = under(priors.HalfNormal(10)), under(priors.HalfNormal(1000))
    assert thousand.mean("sigma_b") == pytest.approx(ten.mean("sigma_b"), rel=5e-4)
    assert thousand.log_evidence - ten.log_evidence == pytest.approx(-2 * np.log(10), abs=0.002)
    common = exact.varying_intercepts(homes, priors.ESSAY).log_evidence
    assert under(priors.HalfNormal(0.2)).log_evidence > common
    assert thousand.log_evidence < common - 7


@pytest.mark.parametrize("size", [0.2, 1.0, 13.4, 1000.0])
def test_the_ratio_of_evidences_is_the_ratio_of_densities_at_zero(homes, under, size):
    common = exact.varying_intercepts(homes, priors.ESSAY).log_evidence
    posterior = under(priors.HalfNormal(size))
    at_zero = np.log(posterior.density("sigma_b", 0.0)) - priors.HalfNormal(size).logpdf(0)
    assert common - posterior.log_evidence == pytest.approx(at_zero, abs=2e-3)


def test_twenty_to_one_takes_an_absurd_size(homes, under):
    common = exact.varying_intercepts(homes, priors.ESSAY).log_evidence
    ratio = np.exp(common - under(priors.HalfNormal(1000)).log_evidence)
    size = 20 / ratio * 1000
    found = under(priors.HalfNormal(size))
    assert np.exp(common - found.log_evidence) == pytest.approx(20, rel=0.005)
    assert 1e5 < np.exp(size) < 1e6
    essay = under(priors.HalfCauchy(5)).cdf("sigma_b", 0.05)
    assert found.cdf("sigma_b", 0.05) == pytest.approx(essay, rel=0.05)


# Few counties -------------------------------------------------------------------------------


def upper_of_sigma_a(part, prior):
    hyper = replace(priors.ESSAY, sigma_a=prior)
    return exact.varying_intercepts(part, hyper).quantile("sigma_a", 0.95)


def test_with_few_counties_the_size_of_the_prior_decides(homes, sets_of_counties):
    def middle(parts, prior):
        return np.median([upper_of_sigma_a(part, prior) for part in parts])

    few, twenty = sets_of_counties[3], sets_of_counties[20]
    essay, firm = priors.HalfCauchy(5), FAMILIES["HalfNormal"]
    families = [middle(few, prior) for prior in FAMILIES.values()]
    assert middle(few, essay) > 2 * middle(few, firm)
    assert max(families) < 1.4 * min(families)
    assert middle(few, essay) > 1.8 * max(families)
    assert middle(twenty, essay) < 1.08 * middle(twenty, firm)
    assert upper_of_sigma_a(homes, essay) < 1.01 * upper_of_sigma_a(homes, firm)


def test_with_three_counties_predictions_part_in_the_tail(sets_of_counties):
    def home(part, prior):
        posterior = exact.varying_intercepts(part, replace(priors.ESSAY, sigma_a=prior))
        return decisions.predict(posterior, floor=0, county=None)

    for part in sets_of_counties[3][:4]:
        essay, firm = home(part, priors.HalfCauchy(5)), home(part, FAMILIES["HalfNormal"])
        assert abs(essay.quantile(0.5) - firm.quantile(0.5)) < 0.2
        assert essay.quantile(0.95) > firm.quantile(0.95) + 0.3
        # The average never settles under a long tail.
        assert essay.expected_activity(1e9) > 50 * essay.expected_activity(1e6)
        assert essay.expected_activity(1e6) > 10 * firm.expected_activity(1e6)


@pytest.mark.parametrize(
    ("prior", "exists"),
    [
        (FAMILIES["HalfCauchy"], False),
        (FAMILIES["Exponential"], False),
        (FAMILIES["Gamma2"], False),
        (FAMILIES["HalfNormal"], True),
        (priors.HalfNormal(1), False),
    ],
)
def test_when_the_mean_of_a_lognormal_exists(prior, exists):
    # A new county's mean has variance sigma**2 (1 + 1 / counties); the likelihood is a power.
    counties, far = 3, np.array([1e3, 2e3])
    variance = far**2 * (1 + 1 / counties)
    log_integrand = prior.logpdf(far) + variance / 2 - 85 * np.log(far)
    assert (np.diff(log_integrand)[0] < 0) == exists


def test_with_one_informed_county_the_sd_of_sigma_b_does_not_exist(homes):
    lone = homes[homes["county"].isin(["Hennepin", "Itasca", "Steele"])].copy()
    lone["county"] = lone["county"].cat.remove_unused_categories()
    assert (lone.groupby("county", observed=True)["floor"].sum() > 0).sum() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", exact.QuadratureWarning)
        posterior = exact.varying_slopes(lone, priors.ESSAY)
    with pytest.warns(exact.MomentWarning, match="sd of sigma_b does not exist"):
        assert posterior.sd("sigma_b") == np.inf


def test_three_schools_leave_tau_to_the_prior():
    schools = data.load_eight_schools()
    size = 5 / MEDIAN
    every = {
        "HalfCauchy": priors.HalfCauchy(5),
        "HalfNormal": priors.HalfNormal(FAMILIES["HalfNormal"].sd * size),
        "Exponential": priors.Exponential(FAMILIES["Exponential"].rate / size),
        "Gamma2": priors.Gamma2(FAMILIES["Gamma2"].rate / size),
        "vague": priors.HalfNormal(1000),
        "half-vague": priors.HalfCauchy(25),
    }

    def tau(table, prior):
        hyper = priors.EightSchoolsPriors(mu=priors.Normal(0, 100), tau=prior)
        return exact.eight_schools(table, hyper).quantile("tau", [0.5, 0.95])

    eight = {name: tau(schools, prior) for name, prior in every.items()}
    three = {name: tau(schools.head(3), prior) for name, prior in every.items()}
    tops = [upper for _, upper in eight.values()]
    assert 1.6 < max(tops) / min(tops) < 2
    assert schools["effect"].max() < 30
    assert three["vague"][1] > 100
    assert three["vague"][1] > 2 * three["half-vague"][1] > 4 * three["HalfCauchy"][1]
    medians = [median for median, _ in three.values()]
    assert max(medians) > 4 * min(medians)


# Near zero ----------------------------------------------------------------------------------


def test_gamma2_keeps_the_mode_off_the_boundary_and_cannot_say_that_counties_are_alike(
    homes, truth
):
    code = homes["county"].cat.codes.to_numpy()
    found = {name: [] for name in ("HalfNormal", "Gamma2")}
    for seed in range(1000, 1016):
        rng = np.random.default_rng(seed)
        county = rng.normal(truth.mean("mu_a"), truth.mean("sigma_a"), code.max() + 1)
        noise = rng.normal(0, truth.mean("sigma_y"), len(homes))
        world = homes.assign(log_radon=county[code] + truth.mean("mu_b") * homes["floor"] + noise)
        for name, rows in found.items():
            hyper = replace(priors.ESSAY, sigma_b=FAMILIES[name])
            posterior = exact.varying_slopes(world, hyper)
            mode = modes.marginal_mode(posterior, "sigma_b", log=False)
            upper = posterior.quantile("sigma_b", 0.95)
            rows.append([mode, posterior.cdf("sigma_b", 0.05), upper])
    firm, off = (np.array(rows) for rows in found.values())
    assert 2 <= (firm[:, 0] == 0).sum() <= 13
    assert (off[:, 0] > 0).all()
    assert firm[:, 1].mean() > 2 * off[:, 1].mean()
    assert 1 < off[:, 2].mean() / firm[:, 2].mean() < 1.25


def test_the_inverse_gamma_never_settles(truth):
    likelihood_at_zero = truth.density("sigma_b", 0.0) / np.exp(priors.HalfCauchy(5).logpdf(0))
    assert likelihood_at_zero > 0

    def alike(epsilon):
        def weight(log_sigma):
            sigma = np.exp(log_sigma)
            likelihood = truth.density("sigma_b", sigma) / np.exp(
                priors.HalfCauchy(5).logpdf(sigma)
            )
            return float(
                stats.invgamma(epsilon, scale=epsilon).pdf(sigma**2) * sigma**2 * likelihood
            )

        limits = np.log([1e-4, 0.05, 20])
        low, high = (integrate.quad(weight, a, b, limit=200)[0] for a, b in pairwise(limits))
        return low / (low + high)

    shares = [alike(epsilon) for epsilon in (0.1, 0.01, 0.001, 0.0001)]
    essay = truth.cdf("sigma_b", 0.05)
    assert shares[0] < shares[1] < 0.01
    assert shares[1] < essay < shares[2] < 0.5 * shares[3]


# New counties -------------------------------------------------------------------------------


def test_a_new_county_is_not_the_typical_one(truth):
    level = data.to_log_radon([4, 20])
    draws = truth.draws(20_000, seed=1000).posterior
    mu_a, sigma_a, sigma_y = (draws[n].to_numpy().ravel() for n in ["mu_a", "sigma_a", "sigma_y"])
    typical_mean = 1 - truth.cdf("mu_a", level[0])
    new_mean = stats.norm(mu_a, sigma_a).sf(level[0]).mean()
    assert typical_mean > 0.9
    assert new_mean < 0.65
    new_home = decisions.predict(truth, floor=0, county=None).probability_above([4, 20])
    forgot = [stats.norm(mu_a, sigma_y).sf(cut).mean() for cut in level]
    assert abs(forgot[0] - new_home[0]) < 0.01
    assert new_home[1] > 1.3 * forgot[1]


def test_first_floors_of_a_new_county(truth):
    level = data.to_log_radon(4)
    draws = truth.draws(40_000, seed=1001).posterior
    names = ["mu_a", "mu_b", "sigma_a", "sigma_b", "sigma_y"]
    flat = {name: draws[name].to_numpy().ravel() for name in names}
    z = np.random.default_rng(1002).normal(size=(3, 40_000))
    typical = flat["mu_a"] + flat["mu_b"]
    county = typical + flat["sigma_a"] * z[0] + flat["sigma_b"] * z[1]
    home = np.mean(county + flat["sigma_y"] * z[2] > level)
    exactly = float(decisions.predict(truth, floor=1, county=None).probability_above(4))
    assert abs(home - exactly) < 4 * np.sqrt(exactly * (1 - exactly) / 40_000)
    assert np.mean(typical > level) < 0.001
    assert np.mean(county > level) > 0.05
    point = {name: truth.mean(name) for name in names}
    known = truth.mean("a") + truth.mean("b")
    averaged = stats.norm(known, point["sigma_y"]).sf(level).mean()
    spread = np.sqrt(sum(point[n] ** 2 for n in ["sigma_a", "sigma_b", "sigma_y"]))
    plugged = stats.norm(point["mu_a"] + point["mu_b"], spread).sf(level)
    assert averaged < plugged < exactly
