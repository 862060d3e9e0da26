"""Ensembles of parameters: what is read, what is refused, what they are propagated to."""

import hashlib
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import DECKS, TA_VACANCY, TA_VACANCY_READ, ta_data
from hypothesis import given, settings
from hypothesis import strategies as st

from lammps_implicit import LammpsImplicitError, Minimum
from lammps_implicit.ensembles.ensemble import from_covariance, from_regression, from_samples, read_ensemble
from lammps_implicit.ensembles.propagation import propagate
from lammps_implicit.expansion.covariance import covariance_factor
from lammps_implicit.expansion.directions import leading_directions
from lammps_implicit.observables.bulk import lattice_parameters
from lammps_implicit.observables.distances import distance_from_jacobian
from lammps_implicit.observables.observable import STABILITIES, Observable, stabilities
from lammps_implicit.potentials.interface import Parameters
from lammps_implicit.potentials.snap_files import parse_coefficients
from lammps_implicit.response.cubic import Cubic, ResponseMetric

TEXT = "# made up\n1 3\nTa 0.5 1.0\n1.5\n-2.0\n30.0\n"
PARAMETERS = Parameters(("Ta:0", "Ta:1", "Ta:2"), np.array([1.5, -2.0, 30.0]), TEXT)
SAMPLES = PARAMETERS.theta * (1 + 0.01 * np.random.default_rng(0).standard_normal((40, 3)))
COVARIANCE = np.cov(SAMPLES.T)


def write_csv(path, labels, samples=SAMPLES):
    rows = [",".join(labels)] if labels else []
    path.write_text("\n".join([*rows, *(",".join(map(repr, row)) for row in samples.tolist())]) + "\n")


@pytest.fixture
def files(tmp_path):
    """The same samples in every form."""
    np.save(tmp_path / "e.npy", SAMPLES)
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    np.savez(tmp_path / "e.npz", samples=SAMPLES, names=np.array(PARAMETERS.names), potential_sha256=digest)
    write_csv(tmp_path / "labelled.csv", PARAMETERS.names)
    write_csv(tmp_path / "e.csv", ())
    (tmp_path / "folder").mkdir()
    for number, theta in enumerate(SAMPLES):
        text = parse_coefficients(TEXT, "made up").with_theta(theta).text()
        (tmp_path / "folder" / f"member_{number}.snapcoeff").write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", ["e.npy", "e.npz", "e.csv", "labelled.csv", "folder"])
def test_all_forms_hold_the_same_samples(files, name):
    assert read_ensemble(files / name, PARAMETERS).samples == pytest.approx(SAMPLES, rel=1e-14)


@pytest.mark.parametrize("form", ["npy", "csv", "labelled.csv"])
def test_a_covariance_in_a_table_is_taken_as_one_only_when_asked(tmp_path, form):
    file, names = tmp_path / f"c.{form}", PARAMETERS.names
    if form == "npy":
        np.save(file, COVARIANCE)
    else:
        write_csv(file, names if form == "labelled.csv" else (), COVARIANCE)
    with pytest.raises(LammpsImplicitError, match="--covariance"):
        read_ensemble(file, PARAMETERS)
    found = read_ensemble(file, PARAMETERS, draws=100, covariance=True)
    assert found.samples == pytest.approx(from_covariance(COVARIANCE, PARAMETERS, draws=100).samples, rel=1e-9)


def test_labels_may_head_the_rows_of_a_covariance(tmp_path):
    rows = [",".join([name, *map(repr, row)]) for name, row in zip(PARAMETERS.names, COVARIANCE.tolist(), strict=True)]
    (tmp_path / "c.csv").write_text("\n".join([",".join(["", *PARAMETERS.names]), *rows]))
    found = read_ensemble(tmp_path / "c.csv", PARAMETERS, draws=100, covariance=True)
    assert found.samples == pytest.approx(from_covariance(COVARIANCE, PARAMETERS, draws=100).samples, rel=1e-9)
    (tmp_path / "c.csv").write_text("\n".join([",".join(["", *PARAMETERS.names]), *rows[::-1]]))
    with pytest.raises(LammpsImplicitError, match="another order"):
        read_ensemble(tmp_path / "c.csv", PARAMETERS, covariance=True)


def test_a_mean_far_away_is_accepted_when_asked():
    far = SAMPLES + 100.0
    with pytest.raises(LammpsImplicitError, match="--accept-mean"):
        from_samples(far, PARAMETERS)
    assert from_samples(far, PARAMETERS, accept_mean=True).samples == pytest.approx(far)


def test_a_covariance_is_drawn_from(tmp_path):
    np.savez(tmp_path / "c.npz", covariance=COVARIANCE, mean=PARAMETERS.theta)
    found = read_ensemble(tmp_path / "c.npz", PARAMETERS, draws=20_000, seed=3)
    assert np.cov(found.samples.T) == pytest.approx(COVARIANCE, rel=0.1, abs=1e-2 * np.abs(COVARIANCE).max())
    assert found.samples.mean(axis=0) == pytest.approx(PARAMETERS.theta, rel=1e-3)
    again = read_ensemble(tmp_path / "c.npz", PARAMETERS, draws=20_000, seed=3)
    assert again.digest == found.digest


def test_a_regression_brings_its_posterior():
    popsregression = pytest.importorskip("popsregression")
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((300, 3))
    model = popsregression.POPSRegression(fit_intercept=False)
    model.fit(rows, rows @ PARAMETERS.theta + 0.1 * np.sin(3 * rows[:, 0]))
    found = from_regression(model, PARAMETERS)
    assert found.samples == pytest.approx(model.coef_ + model.posterior_samples_.T)
    ridge = SimpleNamespace(coef_=PARAMETERS.theta, sigma_=COVARIANCE)
    assert from_regression(ridge, PARAMETERS, draws=5).samples.shape == (5, 3)


SINGULAR = np.outer(PARAMETERS.theta, PARAMETERS.theta)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"samples": SAMPLES[:, :2]}, r"shape \(40, 2\), expected one row per sample with 3 columns, Ta:0 to Ta:2"),
        ({"samples": np.where(np.arange(3) == 1, np.nan, SAMPLES)}, "Ta:1 of sample 1 is nan"),
        ({"samples": np.where(np.arange(3) == 2, np.inf, SAMPLES)}, "Ta:2 of sample 1 is inf"),
        ({"samples": SAMPLES[:0]}, "shape"),
        ({"samples": 10 * SAMPLES}, "standard deviations away from the potential's parameters"),
        ({"samples": SAMPLES.astype(object)}, "not arrays of numbers"),
        ({"samples": SAMPLES + 1j}, "not arrays of numbers"),
        ({"samples": SAMPLES, "names": np.array(["Ta:1", "Ta:0", "Ta:2"])}, "another order: column 1 is Ta:1"),
        ({"samples": SAMPLES, "names": np.array(["W:0", "W:1", "W:2"])}, "W:0 is not one of them"),
        ({"samples": SAMPLES, "potential_sha256": "0" * 64}, "for another potential"),
        ({"theta": SAMPLES}, "neither 'samples' nor 'covariance'"),
        ({"covariance": COVARIANCE[:2]}, r"covariance of shape \(2, 3\)"),
        ({"covariance": COVARIANCE + np.triu(COVARIANCE, 1)}, "not symmetric"),
        ({"covariance": COVARIANCE - 2 * np.diag(np.diag(COVARIANCE) * [1, 0, 0])}, "no covariance"),
        ({"covariance": COVARIANCE * np.nan}, "not finite"),
        ({"covariance": SINGULAR}, "singular, of rank 1 for 3 parameters"),
        ({"covariance": 0 * SINGULAR}, "is zero"),
        ({"covariance": COVARIANCE, "mean": PARAMETERS.theta[:2]}, "mean of shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(LammpsImplicitError, match=message):
        read_ensemble(tmp_path / "bad.npz", PARAMETERS)


def test_files_that_cannot_be_read_are_refused(files):
    (files / "cut.npz").write_bytes((files / "e.npz").read_bytes()[:300])
    (files / "words.csv").write_text("a,b,c\n1,2,x\n")
    write_csv(files / "order.csv", ("Ta:0", "Ta:2", "Ta:1"))
    (files / "empty").mkdir()
    other = (files / "folder" / "member_3.snapcoeff").read_text().replace("Ta", "W")
    (files / "folder" / "member_3.snapcoeff").write_text(other)
    for name, message in {
        "cut.npz": "not arrays of numbers",
        "words.csv": "not a table of numbers",
        "order.csv": "another order: column 2 is Ta:2, expected Ta:1",
        "empty": "no .snapcoeff file",
        "folder": "member_3.snapcoeff is for another potential",
        "nothing.npy": "does not exist",
    }.items():
        with pytest.raises(LammpsImplicitError, match=message):
            read_ensemble(files / name, PARAMETERS)


def test_a_singular_covariance_may_be_meant():
    found = from_covariance(SINGULAR * 1e-4, PARAMETERS, draws=50, allow_singular=True)
    assert np.linalg.matrix_rank(found.changes(PARAMETERS.theta)) == 1


@given(st.integers(1, 5), st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_a_covariance_is_the_square_of_its_factor(rank, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((5, rank)) * 10.0 ** rng.integers(-4, 4, (5, 1))
    factor = covariance_factor(root @ root.T)
    assert factor.shape == (5, rank)
    scale = np.sqrt(np.diag(root @ root.T))
    assert (factor @ factor.T) / np.outer(scale, scale) == pytest.approx(
        (root @ root.T) / np.outer(scale, scale), abs=1e-9
    )


def made_up(rng, parameters, rank=2):
    """An observable with derivatives of all orders, and its exact value."""
    gradient = rng.standard_normal(parameters)
    hessian = rng.standard_normal((parameters, parameters))
    hessian = hessian + hessian.T
    vectors = rng.standard_normal((parameters, rank))
    duals = np.linalg.pinv(vectors).T
    # A form that is symmetric in three arguments, and vanishes where two of them are off the directions.
    cube = rng.standard_normal((rank, rank, rank))
    inner = sum(
        np.transpose(cube, order) for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    )
    tensor = inner @ duals.T
    observable = Observable(np.asarray(2.0), gradient, "eV", hessian, Cubic(duals, tensor, inner))

    def exact(change):
        weights = change @ duals
        cubic = np.einsum("abc,a,b,c->", inner, weights, weights, weights) / 6
        return 2.0 + gradient @ change + 0.5 * change @ hessian @ change + cubic

    return observable, exact


def test_propagation_sums_the_series_of_every_sample():
    rng = np.random.default_rng(5)
    observable, exact = made_up(rng, 3)
    ensemble = from_samples(SAMPLES, PARAMETERS)
    found = propagate({"made up": observable}, PARAMETERS.theta, ensemble).distributions["made up"]
    expected = [exact(change) for change in ensemble.changes(PARAMETERS.theta)]
    assert found.estimates[2] == pytest.approx(expected)
    first = 2.0 + ensemble.changes(PARAMETERS.theta) @ observable.gradient
    assert found.orders == ("first", "second", "third")
    assert found.mean[0] == pytest.approx(first.mean())
    assert found.deviation[0] == pytest.approx(first.std())
    correlations = [np.corrcoef(column, first)[0, 1] for column in SAMPLES.T]
    assert found.parameter_shares == pytest.approx(np.square(correlations))
    assert found.direction_shares.sum() == pytest.approx(1.0, abs=0.05)
    assert np.isnan(found.error).all()
    assert not found.flagged.any()
    changes = ensemble.changes(PARAMETERS.theta)
    response = np.diag(1 / changes.std(axis=0)) / np.sqrt(3)
    metric = ResponseMetric(response @ response.T, response)
    judged = propagate({"f": observable}, PARAMETERS.theta, ensemble, response_metric=metric).distributions["f"]
    responses = np.linalg.norm(changes @ response, axis=1)
    assert judged.error / judged.error[0] == pytest.approx((responses / responses[0]) ** 4)
    typical = np.sqrt(np.mean((judged.estimates[2] - judged.estimates[1]) ** 2))
    assert 0.3 * typical < judged.error[np.argmin(np.abs(responses - 1))] < 1.5 * typical
    changed = np.abs(judged.estimates[2] - 2.0)
    assert np.array_equal(judged.flagged, judged.error > 0.1 * np.maximum(changed, judged.spread))
    assert found.spread == pytest.approx(found.deviation[2], rel=0.3)
    uncertain = replace(observable, second_order_error=np.asarray(0.7))
    worse = propagate({"f": uncertain}, PARAMETERS.theta, ensemble, response_metric=metric).distributions["f"]
    assert worse.error - judged.error == pytest.approx(0.7 * responses**2)
    assert worse.flagged.sum() > judged.flagged.sum()


def test_a_covariance_of_low_rank_is_propagated_in_its_own_coordinates():
    rng = np.random.default_rng(6)
    theta = rng.standard_normal(8) + 3
    parameters = Parameters(tuple(f"Ta:{k}" for k in range(8)), theta, "")
    root = 0.01 * rng.standard_normal((8, 2))
    observable, _ = made_up(rng, 8)
    low = from_covariance(root @ root.T, parameters, draws=300, allow_singular=True)
    assert low.factored(theta)[1].shape == (300, 3)
    full = from_samples(low.samples, parameters)
    found, expected = (propagate({"f": observable}, theta, e).distributions["f"] for e in (low, full))
    assert found.estimates == pytest.approx(expected.estimates, rel=1e-10)


def test_an_ensemble_without_spread_of_a_parameter_is_propagated():
    samples = SAMPLES.copy()
    samples[:, 1] = PARAMETERS.theta[1]
    observable, _ = made_up(np.random.default_rng(7), 3)
    found = propagate({"f": observable}, PARAMETERS.theta, from_samples(samples, PARAMETERS))
    assert found.distributions["f"].parameter_shares[1] == 0
    still = from_samples(np.tile(PARAMETERS.theta, (4, 1)), PARAMETERS)
    assert propagate({"f": observable}, PARAMETERS.theta, still).distributions["f"].deviation[0] == 0


@pytest.mark.parametrize("cell", ["none", "iso"])
def test_third_derivatives_against_relaxing_again(tmp_path, cell):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    held = {} if cell == "none" else {"cell": "iso", "pressure": "20 GPa"}
    with Minimum.from_deck(tmp_path / "in.ta", ftol=1e-9, **held) as minimum:
        theta = minimum.potential.theta
        changes = 3e-3 * np.random.default_rng(0).standard_normal((500, len(theta))) * np.abs(theta)
        hessian = minimum.energy_hessian(1e-6, cell=cell)
        directions = leading_directions(changes, [hessian])
        third = minimum.third_derivative(directions, 1e-6)
        assert third.asymmetry < 1e-5
        assert directions.share > 0.999
        gradient, pressure = minimum.energy_gradient(), minimum.target[0, 0]
        errors, volumes = [], []
        for size in (0.5, 1.0, 2.0):
            change = size * changes[3]
            upto = gradient @ change + 0.5 * change @ hessian @ change + float(third.enthalpy.term(change))
            if cell == "none":
                errors.append(minimum.relaxed_at(change, 1e-10)[1] - minimum.energy - upto)
                continue
            relaxed = minimum.relaxed_at(change, 1e-10, cell=cell)
            volume = np.linalg.det(relaxed.cell)
            known = minimum.energy + pressure * minimum.engine.volume
            errors.append(relaxed.energy + pressure * volume - known - upto)
            moved = minimum.volume_gradient(1e-6) @ change + 0.5 * change @ third.volume_hessian @ change
            volumes.append(volume - minimum.engine.volume - moved)
        # The energy is good to third order, the volume to second.
        assert np.diff(np.log2(np.abs(errors))) == pytest.approx(4.0, abs=0.3)
        assert np.diff(np.log2(np.abs(volumes))) == pytest.approx(3.0, abs=0.3)


def test_lattice_parameters_to_second_order_against_relaxing_again():
    """Beryllium answers with a and c, and both bend."""
    deck, small = DECKS / "in.be_hcp", {"n": "1"}
    with Minimum.from_deck(deck, parameters="Be:*", variables=small, ftol=1e-9, cell="ortho") as minimum:
        theta = minimum.potential.theta
        changes = 3e-3 * np.random.default_rng(0).standard_normal((200, len(theta))) * np.abs(theta)
        directions = leading_directions(changes, [minimum.relaxation_hessian(1e-6, cell="ortho")])
        minimum.third_derivative(directions, 1e-6)
        found, errors = lattice_parameters(minimum, (1, 1, 1), 1e-6, 2), []
        assert found.component(2).hessian == pytest.approx(found.hessian[:, :, 2])
        first, second = found.terms(changes[3])
        for size in (0.5, 1.0, 2.0):
            cell = minimum.relaxed_at(size * changes[3], 1e-10, cell="ortho").cell
            true = np.linalg.norm(cell, axis=1) - found.value
            errors.append(true - size * first - size**2 * second)
        assert np.diff(np.log2(np.abs(errors)), axis=0) == pytest.approx(np.full((2, 3), 3.0), abs=0.3)
        assert (np.abs(errors[1]) < 0.05 * np.abs(second)).all()


def test_steps_along_wide_ensembles_are_shortened(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    with Minimum.from_deck(tmp_path / "in.ta", cell="iso", pressure="20 GPa", ftol=1e-9) as minimum:
        theta, found = minimum.potential.theta, []
        hessian = minimum.energy_hessian(1e-6, cell="iso")
        changes = np.random.default_rng(0).standard_normal((200, len(theta))) * np.abs(theta)
        for width in (3e-3, 1.0):
            third = minimum.third_derivative(leading_directions(width * changes, [hessian], most=2), 1e-6)
            found.append((third.enthalpy.term(1e-3 * changes[:20]), third.volume_hessian))
        assert found[1][0] == pytest.approx(found[0][0], rel=0.2, abs=0.05 * np.abs(found[0][0]).max())
        assert found[1][1] == pytest.approx(found[0][1], abs=0.2 * np.abs(found[0][1]).max())


def test_softening_is_how_the_stiffness_of_the_softest_mode_changes(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    with Minimum.from_deck(tmp_path / "in.ta", ftol=1e-10) as minimum:
        theta = minimum.potential.theta
        changes = 1e-3 * np.random.default_rng(0).standard_normal((50, len(theta))) * np.abs(theta)
        directions = leading_directions(changes, [minimum.energy_hessian(1e-6)], most=1)
        third = minimum.third_derivative(directions, 1e-6)
        modes = [equal.modes[0].vector for equal in minimum.softest_modes(count=3)]
        stiffness = []
        for sign in (1, -1):
            with minimum.excursion(sign * changes[0]):
                minimum.relax_away(1e-10)
                stiffness.append([float(np.vdot(mode, minimum.hessian.product(mode, 1e-8))) for mode in modes])
        assert third.softening[:3] @ changes[0] == pytest.approx(np.log(np.divide(*stiffness)) / 2, rel=2e-2)


def test_stability_depends_on_no_numbering(tmp_path):
    """Atoms numbered otherwise get other random vectors: other starts of searches, and other springs."""
    (tmp_path / "in.ta").write_text(TA_VACANCY_READ)
    found = []
    for ids in (range(1, 54), np.random.default_rng(1).permutation(53) + 1):
        (tmp_path / "atoms.data").write_text(ta_data(ids))
        with Minimum.from_deck(tmp_path / "in.ta", ftol=1e-10) as minimum:
            theta = minimum.potential.theta
            changes = 1e-3 * np.random.default_rng(0).standard_normal((50, len(theta))) * np.abs(theta)
            directions = leading_directions(changes, [minimum.energy_hessian(1e-6)], most=1)
            third = minimum.third_derivative(directions, 1e-6)
            assert (third.softening_errors < 1e-4).all()
            found.append(changes @ third.softening.T)
    assert found[1] == pytest.approx(found[0], abs=2e-4 * np.abs(found[0]).max())


def test_a_mode_whose_stiffness_changes_flags():
    ensemble = from_samples(SAMPLES, PARAMETERS)
    softening = np.array([-60.0, 0.0, 0.0])
    found = propagate(stabilities(softening[None]), PARAMETERS.theta, ensemble)
    left = 1.0 + ensemble.changes(PARAMETERS.theta) @ softening
    assert np.array_equal(found.flagged, np.abs(left - 1) > 0.5)
    assert 0 < found.flagged.sum() < 40
    # Of the next modes only those that soften do.
    found = propagate(stabilities(np.array([0 * softening, softening])), PARAMETERS.theta, ensemble)
    assert np.array_equal(found.flagged, left < 0.25)
    assert 0 < found.flagged.sum() < 40


def test_a_minimum_propagates_an_ensemble(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    with Minimum.from_deck(tmp_path / "in.ta", cell="iso", pressure="20 GPa", ftol=1e-9) as minimum:
        theta = minimum.potential.theta
        samples = theta + 3e-3 * np.random.default_rng(2).standard_normal((64, len(theta))) * np.abs(theta)
        found = minimum.propagate(samples, distances=[(2, 40)])
        assert set(found.distributions) == {"enthalpy", "volume", *STABILITIES, "distance 2-40"}
        for row in (5, 6):
            relaxed = minimum.relaxed_at(samples[row] - theta, 1e-9, cell="iso")
            volume = np.linalg.det(relaxed.cell)
            enthalpy = relaxed.energy + minimum.target[0, 0] * volume
            values = {name: one.estimates[-1, row] - one.value for name, one in found.distributions.items()}
            first = found.distributions["volume"].estimates[0, row] - minimum.engine.volume
            assert values["enthalpy"] == pytest.approx(
                enthalpy - minimum.energy - minimum.target[0, 0] * minimum.engine.volume, abs=1e-5
            )
            change = volume - minimum.engine.volume
            assert abs(values["volume"] - change) < 0.1 * abs(first - change)
            places = [np.flatnonzero(minimum.ids == id_)[0] for id_ in (2, 40)]
            moved = minimum.positions + relaxed.displacement
            stretched = relaxed.cell[0, 0] / minimum.engine.cell[0, 0]
            apart = minimum.engine.nearest_image((moved[places[1]] - moved[places[0]])[None] / stretched)[0] * stretched
            assert np.linalg.norm(apart) == pytest.approx(
                found.distributions["distance 2-40"].estimates[0, row], abs=2e-4
            )
        with pytest.raises(LammpsImplicitError, match="no atom 1"):
            distance_from_jacobian(minimum, (1, 2))
        with pytest.raises(LammpsImplicitError, match="two atoms"):
            distance_from_jacobian(minimum, (2, 2))
        with pytest.raises(LammpsImplicitError, match="expected one row per sample"):
            minimum.propagate(samples[:, :-1])


def test_regressions_that_tell_nothing_are_refused():
    for model, message in (
        (SimpleNamespace(), "has not been fitted"),
        (SimpleNamespace(coef_=PARAMETERS.theta), "neither posterior_samples_ nor sigma_"),
        (
            SimpleNamespace(coef_=PARAMETERS.theta, feature_names_in_=["Ta:1", "Ta:0", "Ta:2"], sigma_=COVARIANCE),
            "another order",
        ),
        (SimpleNamespace(coef_=PARAMETERS.theta, posterior_samples_=np.zeros((4, 9))), "without intercept"),
    ):
        with pytest.raises(LammpsImplicitError, match=re.escape(message)):
            from_regression(model, PARAMETERS)


def test_another_ensemble_than_that_of_the_third_derivatives_is_refused(tmp_path):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    with Minimum.from_deck(tmp_path / "in.ta", ftol=1e-9) as minimum:
        theta = minimum.potential.theta
        scale, rng = np.abs(theta), np.random.default_rng(3)
        one, other = (np.zeros((60, len(theta))) for _ in range(2))
        one[:, 12] = 3e-3 * scale[12] * rng.standard_normal(60)
        other[:, 20] = 3e-3 * scale[20] * rng.standard_normal(60)
        found = minimum.propagate(theta + one)
        assert found.distributions["energy"].orders == ("first", "second", "third")
        metric = minimum.third.directions.response_metric
        with pytest.raises(LammpsImplicitError, match="lies along the directions of the third derivatives"):
            propagate({}, theta, from_samples(theta + other, minimum.parameters), response_metric=metric)
        assert minimum.propagate(theta + other, order=2).distributions["energy"].orders == ("first", "second")


@pytest.mark.parametrize("pattern", ["Ta:0", "Ta:[0-2]"])
def test_parameters_that_move_nothing_are_propagated(tmp_path, pattern):
    (tmp_path / "in.ta").write_text(TA_VACANCY)
    settings = {"cell": "iso", "pressure": "20 GPa", "parameters": pattern, "ftol": 1e-9}
    with Minimum.from_deck(tmp_path / "in.ta", **settings) as minimum:
        theta = minimum.potential.theta
        samples = theta + np.random.default_rng(0).standard_normal((20, len(theta))) * [0.1, 0.01, 0.01][: len(theta)]
        found = minimum.propagate(samples).distributions["enthalpy"]
        assert found.deviation[-1] > 0
        assert np.isfinite(found.estimates).all()
    one = from_regression(
        SimpleNamespace(coef_=[[1.5]], sigma_=[[0.01]]), Parameters(("Ta:0",), np.array([1.5]), ""), 7
    )
    assert one.samples.shape == (7, 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"covariance": np.diag([1e-4, -1e-4, 1e-2])}, "a variance is negative"),
        ({"covariance": np.array([[0.0, 1e-3, 0], [1e-3, 1e-3, 0], [0, 0, 1e-2]])}, "zero where a covariance is not"),
        ({"covariance": COVARIANCE, "samples": SAMPLES}, "both 'samples' and 'covariance'"),
    ],
)
def test_matrices_that_are_none_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(LammpsImplicitError, match=message):
        read_ensemble(tmp_path / "bad.npz", PARAMETERS, allow_singular=True)


def test_few_samples_may_be_anywhere_near():
    assert from_samples(PARAMETERS.theta[None] * 1.01, PARAMETERS).samples.shape == (1, 3)


def test_a_symmetric_root_does_not_depend_on_signs():
    found = covariance_factor(COVARIANCE)
    scale = np.sqrt(np.diag(COVARIANCE))
    assert found / scale[:, None] == pytest.approx((found / scale[:, None]).T)
    assert np.linalg.eigvalsh(found / scale[:, None]).min() > 0
