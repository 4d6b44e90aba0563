"""`kvae report` and `kvae compare`: what run folders say, on a page and as a table.

The run folders are written here, with an untrained model; tests/test_cli.py reports on one that was trained.
"""

import base64
import hashlib
import html.parser
import io
import itertools
import json
import math
import re
import shlex

import numpy as np
import pytest
from PIL import Image

import kvae
from kvae.cli import comparison, main, parser, report, run_folder, run_record, saved_model
from kvae.cli import options as run_options
from kvae.io import atomic

pytestmark = pytest.mark.backend_independent
HOSTILE = "</style><script>alert(1)</script>&amp;"
HISTORY = {
    "loss": [31.25, 27.5, 25.125],
    "reconstruction_loss": [30.0, 26.0, 22.0],
    "kl_loss": [1.25, 1.5, 3.125],
    "val_loss": [30.5, 26.75, 27.0],
}
METRICS = {
    "model": "CVAE",
    "dataset": "digits",
    "latent_dim": 2,
    "test_examples": 360,
    "negative_elbo": 21.9,
    "negative_elbo_standard_error": 0.2,
    "reconstruction_loss": 16.4,
    "kl_loss": 5.5,
    "reconstruction_mse": 0.02371,
    "pca_reconstruction_mse": 0.0532,
    "label_agreement": 0.982,
    "training_seconds": 12.3,
    "notes": ["A note < and more."],
}


def write_run(folder, data, metrics=METRICS, history=HISTORY, **options):
    """A run folder as `kvae train` leaves it, without a model."""
    folder.mkdir(parents=True)
    options = run_options.complete({"hidden": [8], "epochs": 3, "seed": 4, **options})
    config = {
        "options": options,
        "backend": "tensorflow",
        "versions": {"keras": "3.15"},
        "devices": "none",
        "data": data,
    }
    run_folder.write_json(folder / "config.json", config)
    if history:
        rows = [",".join(["epoch", *history])]
        rows += [",".join(map(str, [i + 1, *row])) for i, row in enumerate(zip(*history.values(), strict=True))]
        (folder / "history.csv").write_text("\n".join(rows) + "\n")
    if metrics:
        run_folder.write_json(folder / "metrics.json", metrics)
    return folder


@pytest.fixture(scope="module")
def data(digits):
    return run_folder.describe(digits)


@pytest.fixture
def here(tmp_path, monkeypatch, capsys, small_pictures):
    """Run the command in an empty folder: its output and its errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        assert main.main(list(map(str, arguments))) == code
        return capsys.readouterr()

    return call


class Reader(html.parser.HTMLParser):
    """The tags of a page, the rows of its tables and the texts of its other elements."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.rows, self.texts, self._open = [], [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open += [tag] if tag not in ("meta", "img") else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        for tag in self._open:
            self.texts[tag][-1] += text
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += text

    def row(self, name):
        (found,) = (row[1:] for row in self.rows if row[0] == name)
        return found


@pytest.fixture(scope="module")
def reported(tmp_path_factory, data, digits):
    """A run with a model, what the doctor was given and found, and its page."""
    folder = write_run(tmp_path_factory.mktemp("report") / "run", data)
    model = kvae.CVAE(*kvae.networks.mlp((8, 8, 1), 2, hidden=(8,), num_classes=10), num_classes=10, seed=0)
    model.save(folder / "model.keras")
    (folder / "pictures").mkdir()
    for epoch in (2, 10):
        pixels = np.full((20, 30), epoch, "uint8")
        Image.fromarray(pixels).save(folder / "pictures" / f"sample_grid_epoch_{epoch:04d}.png")
    examined = []
    diagnose = saved_model.diagnose
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "diagnose", lambda *given: examined.extend([given, diagnose(*given)]) or examined[1])
        assert main.main(["report", str(folder), "--out", str(folder.parent / "page.html")]) == 0
    return folder, examined, (folder.parent / "page.html").read_text(encoding="utf-8")


def test_the_page_has_the_numbers_of_the_files(reported):
    folder, _, page = reported
    read = Reader(page)
    assert read.texts["h1"] == read.texts["title"] == ["CVAE on digits: run"]
    assert read.row("−ELBO")[0] == "21.90 ± 0.20"
    assert read.row("MSE")[0] == "0.0237"
    assert read.row("label agreement")[0] == "0.982"
    assert read.row("epoch 1, first") == ["31.25", "30.50", "30.00", "1.25"]
    assert read.row("epoch 2, lowest validation loss") == ["27.50", "26.75", "26.00", "1.50"]
    assert read.row("epoch 3, last") == ["25.12", "27.00", "22.00", "3.12"]
    assert [row for row in read.rows if row[0].startswith("--")] == [
        ["--hidden", "8", "–"],
        ["--epochs", "3", "30"],
        ["--seed", "4", "0"],
    ]
    assert "1,437 training and 360 test examples, 8 × 8 × 1 values each" in read.row("data")[0]
    assert "A note < and more." in read.texts["li"]
    (record,) = run_record.read([folder])
    assert record.placement.text in read.texts["p"]
    assert "it differs from this one in hidden, epochs" in record.placement.text


def test_the_page_has_the_doctors_findings(reported, digits):
    _, ((model, data, x, y, seed), found), page = reported
    assert (type(model), data.name, seed) == (kvae.CVAE, "digits", 4)
    np.testing.assert_array_equal(x, digits.x_test)
    np.testing.assert_array_equal(y, digits.y_test)
    assert any(finding.severity == "problem" for finding in found)
    items = Reader(page).texts["li"]
    for finding in found:
        said = f"{finding.severity}, {finding.name.replace('_', ' ')}: {finding.message}"
        assert any(item.startswith(said) for item in items)
    assert "Not usable yet: −ELBO 21.90 ± 0.20 nats; the doctor found" in Reader(page).texts["p"][0]


def test_the_command_on_the_page_repeats_the_options(reported, tmp_path, data):
    folders = [reported[0], write_run(tmp_path / "other", data, model="vae", bound="renyi", alpha=-math.inf, beta=0.5)]
    config = folders[1] / "config.json"
    config.write_text(config.read_text().replace('"backend": "tensorflow"', '"backend": "jax"'))
    for record in run_record.read(folders):
        kvae_, *words = shlex.split(record.command())
        arguments = vars(parser.parser(main.COMMANDS).parse_args(words))
        given = {name: arguments[name] for name in run_options.DEFAULTS if arguments[name] is not None}
        assert kvae_ == "kvae"
        assert run_options.complete(given) == record.options
        assert (arguments["backend"] or "tensorflow") == record.config["backend"]
    assert folders[0].name in Reader(reported[2]).texts["code"][1]


def test_only_the_last_picture_of_a_kind_is_shown(reported):
    folder, _, page = reported
    *curves, picture = (attributes for tag, attributes in Reader(page).tags if tag == "img")
    assert len(curves) == 2
    said = "loss in training from 31.25 to 25.12, validation from 30.50 to 27.00 nats"
    assert curves[0]["alt"] == f"Loss per epoch: {said}"
    shown = base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))
    assert shown == (folder / "pictures" / "sample_grid_epoch_0010.png").read_bytes()


def test_large_pictures_are_made_smaller_and_too_many_are_counted(tmp_path, data, rng, monkeypatch):
    from kvae.cli import report_figures

    folder = write_run(tmp_path / "run", data)
    (folder / "pictures").mkdir()
    for name in ("one", "two"):
        noise = Image.fromarray(rng.integers(256, size=(50, 1500, 3), dtype="uint8"))
        noise.save(folder / "pictures" / f"{name}_epoch_0001.png")
    (folder / "pictures" / "three_epoch_0001.png").write_bytes(b"\x89PNG and nothing more")
    monkeypatch.setattr(report_figures, "MOST_BYTES", 80_000)  # of which one of them takes about 50,000
    read = Reader("".join(report_figures.pictures(run_record.read([folder]))))
    (attributes,) = (attributes for tag, attributes in read.tags if tag == "img")
    with Image.open(io.BytesIO(base64.b64decode(attributes["src"].split(",")[1]))) as image:
        assert image.size == (1200, 40)
    assert read.texts["p"] == ["2 more in the folders pictures/."]


def check_alone(page):
    """Raise unless a page loads nothing and runs nothing, and its policy says so."""
    tags = Reader(page).tags
    assert not re.search(r"(https?:)?//[a-z0-9]", re.sub(r'src="data:[^"]*"', "", page))
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "b", "i"})
    for tag, attributes in tags:
        assert not {"href", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png;").startswith("data:image/png;")
        assert (tag == "img") == bool(attributes.get("alt"))
    (policy,) = (a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == f"'sha256-{digest}'"
    assert "script-src" not in rules
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    assert len(page) < 2e6


@pytest.mark.filterwarnings("default::UserWarning:kvae")  # of different data
def test_a_page_asks_nothing_of_a_network_and_takes_no_text_for_html(reported, tmp_path, data, here):
    check_alone(reported[2])
    strange = {**METRICS, "model": HOSTILE, "dataset": HOSTILE, "notes": [HOSTILE]}
    folders = [
        write_run(tmp_path / "a <b>bold<b> $x^ _", data, strange, dataset=HOSTILE),
        write_run(tmp_path / "_b\udcff", {**data, "checksum": HOSTILE}),
    ]
    here("report", folders[0])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    check_alone(page)
    assert HOSTILE in Reader(page).texts["li"]
    here("report", *folders)
    check_alone((tmp_path / "report.html").read_text(encoding="utf-8"))


STATES = {
    "interrupted": (METRICS, HISTORY, ["checkpoint.npz"], "interrupted after 3 of 9 epochs"),
    "killed": ({}, HISTORY, ["checkpoint.npz"], "interrupted after 3 of 9 epochs, before it was evaluated"),
    "before the first epoch": ({}, {}, [], "interrupted after 0 of 9 epochs, before it was evaluated"),
    "not finite": ({**METRICS, "stopped_in_epoch": 3}, HISTORY, [], "stopped after 3 of 9 epochs, because a number"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_run_that_is_not_finished_is_reported_as_far_as_it_got(name, tmp_path, data, here):
    metrics, history, files, words = STATES[name]
    folder = write_run(tmp_path / "run", data, metrics, history, epochs=9)
    for file in files:
        (folder / file).touch()
    here("report", folder)
    page = Reader((tmp_path / "report.html").read_text())
    assert words in page.texts["p"][0]
    assert ("−ELBO" in [row[0] for row in page.rows]) == bool(metrics)
    assert any("kvae train --resume" in code for code in page.texts["code"]) == (name != "not finite")
    assert "There are none: training did not end, so that no model is saved." in page.texts["p"]
    assert "no reference card" in " ".join(page.texts["p"]) or not metrics


def test_a_run_that_still_trains_is_not_called_interrupted(tmp_path, data):
    folder = write_run(tmp_path / "run", data, {})
    with atomic.locked(folder):
        (record,) = run_record.read([folder])
    assert record.progress == "still training, 3 of 3 epochs so far"
    assert run_record.read([folder])[0].state == "interrupted"


def test_a_healthy_run_within_its_cards_band_is_called_so(tmp_path, data):
    folder = write_run(tmp_path / "run", data, epochs=30, hidden=None, seed=0)
    (record,) = run_record.read([folder])
    from kvae.cli.report_page import Examination, verdict

    low, high = record.placement.card.band
    level, word, sentence = verdict(record, Examination())
    assert (level, word) == ("good", "Healthy")
    assert f"−ELBO 21.90 ± 0.20 nats, within the range of its reference card, {low:.2f} to {high:.2f}" in sentence
    assert verdict(record, Examination(reason="no model"))[0] == "plain"
    (folder / "metrics.json").write_text(json.dumps({**METRICS, "negative_elbo": 30.0}))
    level, _, sentence = verdict(run_record.read([folder])[0], Examination())
    assert level == "caution"
    assert "worse than the range of its reference card" in sentence


def test_data_that_have_changed_are_not_examined(reported, data):
    (record,) = run_record.read([reported[0]])
    record.config["data"] = {**data, "checksum": 1}
    assert report.examine(record).reason == "the data set is no longer the one of the training."


@pytest.fixture
def three(tmp_path, data):
    """Runs whose −ELBO is 21.9, 22.3 and 22.6, each with a standard error of 0.2."""
    names = {"one": 21.9, "a-rather-long-name-of-a-run-in-a-sweep": 22.3, "three": 22.6}
    return [
        write_run(tmp_path / "runs" / name, data, {**METRICS, "negative_elbo": value}, beta=float(i), seed=4 + i)
        for i, (name, value) in enumerate(names.items())
    ]


def test_the_best_is_marked_and_what_its_errors_do_not_tell_from_it(three):
    records = run_record.read(three)
    assert comparison.marks(records, "negative_elbo") == [comparison.BEST, comparison.CLOSE, ""]  # 2 √2 0.2 = 0.57
    assert comparison.marks(records, "kl_loss") == ["", "", ""]
    assert comparison.marks(records, "reconstruction_mse") == ["", "", ""]  # which are equal
    records[1].metrics["label_agreement"] = 0.99
    assert comparison.marks(records, "label_agreement") == ["", comparison.BEST, ""]
    assert comparison.differing(records) == {"beta": [0.0, 1.0, 2.0], "seed": [4, 5, 6]}
    assert comparison.verdict(records).endswith("do not tell it from a-rather-long-name-of-a-run-in-a-sweep.")
    del records[0].metrics["negative_elbo"]
    assert comparison.marks(records, "negative_elbo") == ["", comparison.BEST, comparison.CLOSE]


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("negative_elbo", {"likelihood": "gaussian"}, ["likelihood"]),
        ("negative_elbo", {"model": "vae"}, ["model"]),
        ("reconstruction_mse", {"likelihood": "gaussian"}, []),
        ("reconstruction_mse", {"binarization": "dynamic"}, ["binarization"]),
        ("frechet_distance", {"seed": 5}, ["seed"]),
    ],
)
def test_numbers_on_different_scales_are_not_ranked(name, changes, reason, tmp_path, data):
    metrics = [{**METRICS, name: 1.0}, {**METRICS, name: 2.0}]
    folders = [write_run(tmp_path / "a", data, metrics[0]), write_run(tmp_path / "b", data, metrics[1], **changes)]
    records = run_record.read(folders)
    assert comparison.obstacles(records, name) == reason
    assert any(comparison.marks(records, name)) == (not reason)
    said = f"{comparison.title(name)} is not ranked: the runs differ in {' and '.join(reason)}"
    assert (said in comparison.notes(records)) == bool(reason)


def test_models_without_a_condition_are_ranked_with_each_other(tmp_path, data):
    folders = [write_run(tmp_path / model, data, model=model) for model in ("vae", "introvae", "cvae")]
    records = run_record.read(folders)
    assert comparison.obstacles(records[:2], "negative_elbo") == []
    assert comparison.obstacles(records, "negative_elbo") == ["model"]


def test_a_static_binarization_by_another_seed_is_the_same_data(tmp_path, data):
    folders = [
        write_run(tmp_path / str(seed), {**data, "checksum": seed}, binarization="static", seed=seed) for seed in (0, 1)
    ]
    assert not comparison.different_data(run_record.read(folders))


def test_compare_prints_a_table_that_fits(three, here):
    printed = here("compare", *three)
    lines = printed.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert printed.err == ""
    (one,) = (line for line in lines if re.match("one +3/3", line))
    assert re.split(r"\s{2,}", one)[:3] == ["one", "3/3", "21.90 ± 0.20 *"]
    assert "22.30 ± 0.20 ~" in printed.out
    assert re.search(r"^three +2\.0 +6$", printed.out, re.MULTILINE)
    narrow = comparison.as_text(run_record.read(three), 40).splitlines()
    assert max(map(len, narrow)) <= 40
    assert "0.0237" in "".join(narrow)
    assert here("compare", three[0]).out.count("one") == 1


def test_the_page_of_several_runs_has_the_same_table(three, here, tmp_path):
    here("report", *three)
    page = (tmp_path / "report.html").read_text()
    read = Reader(page)
    check_alone(page)
    (first, *_), options = ([row for row in read.rows if row[0] == name] for name in ("one", "three"))
    assert first[1:3] == ["3/3", "★ 21.90 ± 0.20"]
    assert options[1][1:] == ["2.0", "6"]
    assert [attributes["alt"].split(",")[0] for tag, attributes in read.tags if tag == "img"] == [
        "Loss",
        "Reconstruction",
        "KL",
    ]
    assert "the end: one 27.00" in next(attributes["alt"] for tag, attributes in read.tags if tag == "img")


@pytest.mark.filterwarnings("default::UserWarning:kvae")  # of different data
def test_runs_on_different_data_are_said_to_be(three, here, tmp_path, data):
    other = write_run(tmp_path / "runs" / "other", {**data, "checksum": 7}, {**METRICS, "negative_elbo": 1.0})
    for command in ("compare", "report"):
        printed = here(command, *three, other)
        (line,) = printed.err.splitlines()
        assert line.startswith(f"kvae {command}: The runs used different data, and are not ranked: digits, 1,437")
        assert "checksum 7 (other)" in line
        assert "*" not in printed.out
    page = Reader((tmp_path / "report.html").read_text())
    assert page.texts["p"][0] == "These runs used different data, so none of them is the best."
    assert any(item.startswith("The runs used different data") for item in page.texts["li"])
    assert not any("★" in cell for row in page.rows for cell in row)


BAD = {
    "no run": (
        ("absent",),
        "must be the folder of a run, with its config.json. Received: absent, which does not exist",
    ),
    "a file": (("notes",), "Received: notes, a file"),
    "another folder": (("empty",), "Received: empty, without one"),
    "twice": (("run", "./empty/../run"), "`run` must name each run once. Received: empty/../run twice"),
    "damaged config": (("config",), "`run` must hold a config.json that kvae wrote. Received: config/config.json"),
    "an unknown option": (("unknown",), "Options must be among"),
    "damaged metrics": (("metrics",), "`run` must hold a metrics.json that kvae wrote. Received: metrics/metrics.json"),
    "damaged history": (("history",), "`path` must be the history.csv of a run"),
    "out is a folder": (("run", "--out", "empty"), "must be a new or regular file"),
    "out in no folder": (("run", "--out", "absent/page.html"), "`out` must be a file in an existing folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_one_line_and_writes_nothing(name, here, tmp_path, data):
    for each in ("run", "config", "unknown", "metrics", "history"):
        write_run(tmp_path / each, data)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").touch()
    (tmp_path / "config" / "config.json").write_text("[1, 2]")
    (tmp_path / "unknown" / "config.json").write_text('{"options": {"colour": "red"}}')
    (tmp_path / "metrics" / "metrics.json").write_text('{"negative_elbo": 2')
    (tmp_path / "history" / "history.csv").write_text("epoch,loss\n1,x\n")
    before = sorted(tmp_path.rglob("*"))
    arguments, message = BAD[name]
    for command in ("report", "compare")[: 1 if "--out" in arguments else 2]:
        (line,) = here(command, *arguments, code=1).err.splitlines()
        assert line.startswith(f"kvae {command}: ")
        assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_numbers_of_any_type_are_read_from_a_strangers_file(tmp_path, data, here):
    strange = {
        "negative_elbo": "inf",
        "kl_loss": None,
        "reconstruction_mse": [1],
        "model": 3,
        "dataset": 4,
        "notes": "x",
        "accuracy": 2.0,
        "test_examples": -1,
        "perplexity": 3.0,
        "perplexity_standard_error": 10**400,
    }
    folder = write_run(tmp_path / "run", {"image_shape": 3}, strange)
    (record,) = run_record.read([folder])
    assert record.number("negative_elbo") is None
    here("report", folder)
    assert "−ELBO" not in [row[0] for row in Reader((tmp_path / "report.html").read_text()).rows]
