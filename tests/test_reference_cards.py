"""Reference cards: how a number is rated, and that the shipped cards match the current commands."""

import dataclasses
import json

import numpy as np
import pytest

from kvae.cli import main, parser, printing, saved_model
from kvae.cli import options as run_options
from kvae.evaluation import reference_cards
from kvae.evaluation.reference_cards import Card, place

NO_FIGURE = {"value": None, "source": None, "why": "nobody measured it"}
DEMO = Card("kvae demo", {"epochs": 60, "batch_size": 32}, "negative_elbo", (20.5, 21.0, 21.5), NO_FIGURE)
VAE = Card("kvae train --model vae", {"model": "vae"}, "negative_elbo", (30.0, 31.0), NO_FIGURE)
COMPARABLE = {"value": 98.5, "source": "A 2016", "why": None}
ON_MNIST = Card("some", {"dataset": "mnist"}, "negative_elbo", (99.0, 101.0), COMPARABLE)
CARDS = [DEMO, VAE, ON_MNIST]


def placed(value, options=None, dataset="digits", **changes):
    options = {**run_options.DEFAULTS, **(DEMO.options if options is None else options), **changes}
    return place({"negative_elbo": value, "dataset": dataset}, options, run_options.DEFAULTS, CARDS)


@pytest.mark.parametrize(
    ("value", "nats", "words"),
    [
        (20.7, 0.0, "within the band"),
        (23.48, 0.0, "within"),
        (23.487, 0.0, "within"),
        (18.1158, -0.4, "0.40 nats better"),
        (25.9842, 2.5, "2.50 nats worse"),
    ],
)
def test_a_number_on_its_card(value, nats, words):
    placement = placed(value)
    assert placement.card is DEMO
    assert placement.distance == pytest.approx(nats, abs=1e-3)  # the band: 21 ± 4.3027 · 0.5 · √(4/3)
    assert words in placement.text
    assert "18.52 to 23.48 nats (95% of runs), mean 21.00 ± 0.29, 3 seeds" in placement.text
    assert "No published figure is comparable: nobody measured it." in placement.text
    assert "differs" not in placement.text


def test_the_seed_and_the_pictures_do_not_matter():
    assert placed(21.0, seed=7, pictures_every=3).differs == ()


def test_other_options_go_to_the_nearest_card_and_it_is_said():
    placement = placed(19.0, latent_dim=8)
    assert (placement.card, placement.differs) == (DEMO, ("latent_dim",))
    assert "differs from this one in latent_dim" in placement.text
    assert placed(30.5, {"model": "vae"}).card is VAE


@pytest.mark.parametrize(
    "changes",
    [{"dataset": "own.npz"}, {"likelihood": "gaussian"}, {"binarization": "static"}, {"model": "autoencoder"}],
)
def test_numbers_that_do_not_compare_have_no_card(changes):
    assert placed(21.0, **changes) is None


def test_a_model_on_data_of_another_kind_has_no_card():
    assert placed(21.0, dataset="mnist") is None  # trained on digits, evaluated on mnist
    options = {**run_options.DEFAULTS, "model": "autoencoder"}
    assert place({"dataset": "digits", "reconstruction_mse": 0.1}, options, run_options.DEFAULTS, CARDS) is None


def test_a_published_figure_is_said_with_its_source():
    placement = placed(100.0, {"dataset": "mnist"}, "mnist")
    assert "Published: 98.50 (A 2016)." in placement.text
    other = dataclasses.replace(ON_MNIST, published=COMPARABLE | {"why": "it is for binarized digits"})
    text = reference_cards.Placement(other, 100.0).text
    assert "Published: 98.50 (A 2016), which is not comparable: it is for binarized digits." in text


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_band_holds_the_share_of_healthy_runs_that_it_states(n, rng):
    """The extremes of five runs hold a sixth in two of three cases only."""
    values = rng.normal(100.0, 0.3, (2000, n + 1))
    bands = np.array([Card("", {}, "", tuple(row[:n]), NO_FIGURE).band for row in values])
    inside = (bands[:, 0] <= values[:, n]) & (values[:, n] <= bands[:, 1])
    assert np.mean(inside) == pytest.approx(reference_cards.COVERAGE, abs=0.02)  # four standard errors


@pytest.mark.parametrize(
    ("metric", "value", "distance", "words"),
    [
        ("accuracy", 0.95, -0.0103, "accuracy 0.950 is 0.010 better than the band"),
        ("accuracy", 0.84, 0.0197, "0.020 worse than the band of `few`: 0.860 to 0.940 (95% of runs), mean 0.900"),
        ("frechet_distance", 0.95, 0.0103, "frechet distance 0.95 is 0.01 worse than the band"),
    ],
)
def test_other_numbers_have_units_and_directions_of_their_own(metric, value, distance, words):
    card = Card("few", {"model": "semisupervised"}, metric, (0.892, 0.9, 0.908), NO_FIGURE)
    placement = reference_cards.Placement(card, value)
    assert placement.distance == pytest.approx(distance, abs=1e-3)
    assert words in placement.text


def test_the_summary_is_json():
    summary = placed(24.0).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert [summary["distance_from_band"], *summary["band"], summary["seeds"]] == pytest.approx(
        [0.516, 18.516, 23.484, 3], abs=1e-3
    )


def test_a_card_of_one_seed_has_no_band(tmp_path):
    run = {"seed": 0, "value": 1.0}
    content = {"options": {}, "metric": "negative_elbo", "published": NO_FIGURE}
    path = tmp_path / "cards.json"
    path.write_text(json.dumps({"one": {**content, "runs": [run]}, "two": {**content, "runs": [run, run]}}))
    assert [card.command for card in reference_cards.load(path)] == ["two"]


def test_the_shipped_cards_are_of_todays_commands():
    for card in reference_cards.load():
        arguments = parser.parser(main.COMMANDS).parse_args(card.command.split()[1:])
        given = {name: getattr(arguments, name, None) for name in run_options.DEFAULTS}
        base = run_options.DEMO if arguments.command == "demo" else run_options.DEFAULTS
        options = base | {name: value for name, value in given.items() if value is not None and name != "seed"}
        placement = place({card.metric: card.mean, "dataset": options["dataset"]}, options, run_options.DEFAULTS)
        assert (placement.card.command, placement.differs, placement.distance) == (card.command, (), 0.0)
        assert np.isfinite(card.values).all()
        assert card.published["value"] is not None or card.published["why"]


def test_metrics_hold_the_card_and_the_command_prints_it(monkeypatch, capsys):
    monkeypatch.setattr(reference_cards, "load", lambda: CARDS)
    metrics = {"negative_elbo": 21.2, "dataset": "digits"}
    saved_model.add_card(metrics, run_options.DEFAULTS | DEMO.options)
    assert metrics["card"]["command"] == "kvae demo"
    printing.metrics(metrics)
    assert "Is it good? negative elbo 21.20 is within the band of `kvae demo`" in capsys.readouterr().out
    without = {"negative_elbo": 21.2, "dataset": "digits"}
    saved_model.add_card(without, {})
    assert "card" not in without
