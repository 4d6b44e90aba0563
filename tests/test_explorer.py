"""The page of `kvae.explore`: what it holds, and that its decoder computes what Keras computes.

The decoder of the page is JavaScript, so these numbers are compared where Node.js is installed.
"""

import base64
import hashlib
import html
import html.parser
import io
import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from cases import CASES
from keras import layers, ops
from PIL import Image

import kvae
from kvae.explorer import graph
from kvae.explorer.latent import directions

pytestmark = [pytest.mark.backend_independent, pytest.mark.usefixtures("without_graphs")]
STATIC = Path(kvae.explorer.__file__).with_name("static")
TOLERANCE = 2e-3  # of half-precision weights
NODE = shutil.which("node")
# Reads pages' data; prints the pixel means of each point from its code, moved there as a click does.
RUN = """
globalThis.Image = class {};
const jobs = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(jobs.map((data) => {
  const space = new Space(data, () => {});
  if (!space.count) return [Array.from(space.decode(space.z, 0))];
  return Array.from({ length: space.count }, (_, i) => {
    space.goTo(space.code(i));
    return Array.from(space.decode(space.z, space.labels?.[i], i));
  });
})));
"""


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.DOTALL)[1])


def decoded(*pages):
    """What the decoders of pages give for the codes of their points."""
    if NODE is None:
        pytest.skip("Node.js is not installed, which runs the page's decoder")
    program = "".join((STATIC / name).read_text() for name in ("decode.js", "pictures.js", "space.js")) + RUN
    jobs = json.dumps([data_of(page) for page in pages])
    done = subprocess.run([NODE, "-e", program], input=jobs, capture_output=True, text=True, check=True)
    return [np.array(each) for each in json.loads(done.stdout)]


def randomized(model, seed=0):
    """The model with weights of every size, in place of zero biases and unit variances."""
    rng = np.random.default_rng(seed)
    parts = [getattr(model, name) for name in ("encoder", "quantizer", "decoder") if hasattr(model, name)]
    for weight in [weight for part in parts for weight in part.weights]:
        if weight.dtype == "float32":
            low, high = (0.5, 2.0) if "variance" in weight.path else (-0.4, 0.4)
            weight.assign(rng.uniform(low, high, weight.shape))
    return model


class InNotebook:
    kernel = None


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=InNotebook))


@pytest.mark.long
@pytest.mark.usefixtures("notebook")
def test_the_page_decodes_as_keras_does():
    names = ["cvae-image", "cvae-own-prior", "auxiliary-skip", "vqvae", "vqvae-residual", "autoencoder-tied", "gan"]
    pages, expected = [], []
    for name in names:
        model, (x, y) = randomized(CASES[name].build()), CASES[name].arrays(4)
        y = y if y is None else np.maximum(y, 0)
        has_codes = name != "gan"
        pages.append(kvae.explore(model, x if has_codes else None, y))
        expected.append(model.reconstruct(x, y) if has_codes else model.decode(np.zeros((1, 2))))
    for name, found, wanted in zip(names, decoded(*pages), expected, strict=True):
        assert np.ptp(wanted) > 0.05, name  # flat images would agree with anything
        np.testing.assert_allclose(found, wanted.reshape(len(wanted), -1), atol=TOLERANCE, err_msg=name)


def many_layers():
    """A decoder with the layers and operations that kvae's own networks do not use."""
    z = keras.Input((3,))
    h = layers.Dense(24, activation="gelu")(layers.Dropout(0.5)(z))
    inner = [layers.Reshape((2, 3, 4)), layers.UpSampling2D(2, interpolation="bilinear"), layers.LeakyReLU()]
    h = keras.Sequential([keras.Input((24,)), *inner])(h)
    h = layers.Conv2D(5, 3, strides=(1, 2), padding="same", activation="softplus")(h)
    h = layers.Conv2DTranspose(4, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (3, 0)))(h))
    h = layers.Permute((2, 1, 3))(layers.Conv2D(3, (2, 3), activation="silu")(h))
    h = layers.Cropping2D(((2, 3), (1, 2)))(h)
    wide = layers.Concatenate(axis=2)([h, layers.ELU(0.5)(h)])
    wide = layers.AveragePooling2D((1, 2))(layers.Multiply()([wide, layers.Activation("tanh")(wide)]))
    series = layers.Conv1DTranspose(4, 3, strides=2, padding="same")(layers.Reshape((-1, 3))(wide))
    series = layers.Softmax()(layers.Conv1D(6, 3, padding="same")(series))
    flat = layers.Dense(12)(layers.Flatten()(series))
    return keras.Model(z, ops.reshape(1.5 - 2.0 * ops.sigmoid(flat) * ops.flip(flat, 1), (-1, 3, 4, 1)))


@pytest.mark.usefixtures("notebook")
def test_every_other_layer_decodes_as_keras_does():
    encoder = keras.Sequential([keras.Input((3, 4, 1)), layers.Flatten(), layers.Dense(3)])
    model = randomized(kvae.Autoencoder(encoder, many_layers()))
    x = np.random.default_rng(0).normal(0.0, 4.0, (4, 3, 4, 1))
    (found,) = decoded(kvae.explore(model, x))
    wanted = model.reconstruct(x).reshape(4, -1)
    assert wanted.std(axis=0).min() > 3 * TOLERANCE
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


HOSTILE = "</script><script>alert(1)</script>"


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    model, (x, y) = CASES["cvae"].build(), CASES["cvae"].arrays(30)
    out = tmp_path_factory.mktemp("explorer") / "new" / "page.html"
    made = kvae.explore(model, x, y, out=out, class_names=[HOSTILE, "b&amp;", "ü"], title=f"<b>{HOSTILE}")
    assert out.read_text(encoding="utf-8") == made.html
    return made, x, y


def test_the_page_asks_nothing_of_a_network(page):
    text = page[0].html
    tags = Tags(text).found
    assert not re.search(r"(https?:)?//[a-z0-9]", re.sub(r"<script type.*?</script>", "", text, flags=re.DOTALL))
    assert not any({"src", "href", "style"} & set(attributes) for _, attributes in tags)
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    (policy,) = (a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for rule, element in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_text_is_never_read_as_html(page):
    text = page[0].html
    assert text.count("<script") == text.count("</script>") == 2
    assert "<b>" not in text
    assert html.escape(f"<b>{HOSTILE}") in text
    assert data_of(page[0])["classes"] == [HOSTILE[:20], "b&amp;", "ü"]


def tiles(picture, count):
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["url"].split(",")[1]))))
    height, width = picture["height"], picture["width"]
    places = [divmod(i, picture["columns"]) for i in range(count)]
    return np.stack([image[r * height : (r + 1) * height, c * width : (c + 1) * width] for r, c in places])


def test_the_points_are_the_training_data(page):
    made, x, y = page
    points = data_of(made)["points"]
    assert points["labels"] == y.tolist()
    np.testing.assert_allclose(tiles(points["originals"], 30) / 255, x[..., 0], atol=0.5 / 255 + 1e-6)


def test_weights_are_of_half_precision(notebook):
    model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), latent_dim=2))
    assert model.decoder.count_params() * 2 * 4 / 3 < len(kvae.explore(model).html) < 1.6e6


def test_a_decoder_that_is_too_large_becomes_a_sheet(notebook, monkeypatch):
    monkeypatch.setattr(graph, "MOST_WEIGHTS", 100)
    model, (x, _) = CASES["vae"].build(), CASES["vae"].arrays(20)
    page = kvae.explore(model, x)
    data = data_of(page)
    side = data["sheet"]["side"]
    assert data["program"] is None
    assert f"the nearest of {side} × {side} is shown" in page.notes[-1]
    shown = directions(model, model.encode(x))
    up, across = np.linspace(shown.high[1], shown.low[1], side), np.linspace(shown.low[0], shown.high[0], side)
    for row, column in ((0, 0), (3, 7), (side - 1, side - 2)):
        z = shown.origin + np.array([across[column], up[row]]) @ shown.basis
        (wanted,) = model.decode(z[None].astype("float32"))[..., 0]
        found = tiles(data["sheet"]["images"][0], side**2)[row * side + column]
        np.testing.assert_allclose(found / 255, wanted, atol=0.51 / 255)
    again = tiles(data["points"]["reconstructions"], 20)
    np.testing.assert_allclose(again / 255, model.reconstruct(x)[..., 0], atol=0.51 / 255)


def test_a_large_latent_space_is_projected_and_the_page_says_how(notebook):
    model = kvae.VAE(*kvae.networks.mlp((8, 8, 1), latent_dim=20, hidden=(8,)))
    x = np.random.default_rng(0).random((50, 8, 8, 1), dtype="float32")
    page = kvae.explore(model, x)
    codes = model.encode(x)
    variances = np.sort(np.linalg.eigvalsh(np.cov(codes.T)))[::-1]
    share = f"{variances[:12].sum() / variances.sum():.0%}"
    (note,) = page.notes
    assert note.startswith("The 20 latent dimensions are projected: to the 12 principal components")
    assert share in note
    assert note in page.html
    assert "The first 12 of 20 latent dimensions" in kvae.explore(model).html


def test_dimensions_that_vary_come_first():
    codes = np.random.default_rng(0).normal(0.0, [0.1, 2.0, 1.0], (50, 3))
    shown = directions(types.SimpleNamespace(capabilities=()), codes)
    assert shown.names == ["z2", "z3", "z1"]
    np.testing.assert_allclose((codes - shown.origin) @ shown.basis.T, codes[:, [1, 2, 0]])
    assert (shown.low < codes[:, [1, 2, 0]].min(axis=0)).all()
    assert (shown.high > codes[:, [1, 2, 0]].max(axis=0)).all()


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(notebook):
    frame = kvae.explore(CASES["vae"].build())._repr_html_()
    ((tag, attributes),) = Tags(frame).found
    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts")
    assert Tags(attributes["srcdoc"]).found[0] == ("html", {"lang": "en"})


def odd_model(layer):
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(9), layer, layers.Dense(64), layers.Reshape((8, 8, 1))])
    return kvae.VAE(kvae.networks.mlp((8, 8, 1), 2, hidden=(4,))[0], decoder)


class Twice(layers.Dense):
    def call(self, inputs):
        return 2.0 * super().call(inputs)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: (CASES["energy-noise"].build(),), "with a decoder, such as a VAE.*Received: EnergyNetwork"),
        (lambda: (kvae.baselines.PCA(2),), "with a decoder.*Received: PCA"),
        (lambda: (odd_model(layers.LayerNormalization(name="odd")),), "sheet=True.*LayerNormalization 'odd'"),
        (lambda: (odd_model(Twice(9)),), "sheet=True.*Twice"),
        (lambda: (odd_model(layers.Dense(9, activation=lambda v: v * v)),), "sheet=True.*Dense.*the activation"),
        (lambda: (CASES["cvae-attributes"].build(),), "decodes under the conditions of examples"),
        (
            lambda: (CASES["vae"].build(), np.zeros((3, 8, 8, 1)), np.zeros(2, int)),
            "`y` must have one entry per example",
        ),
        (lambda: (CASES["vae"].build(), np.zeros((3, 9, 8, 1))), "`x` must have shape"),
    ],
)
def test_bad_input_is_one_line(make, words, notebook):
    with pytest.raises(ValueError, match=words) as error:
        kvae.explore(*make())
    assert "\n" not in str(error.value)


def test_weights_that_are_not_finite_are_refused(notebook):
    model = CASES["vae"].build()
    model.decoder.weights[0].assign(np.full(model.decoder.weights[0].shape, np.nan))
    with pytest.raises(ValueError, match="must have finite weights"):
        kvae.explore(model)


@pytest.mark.parametrize("ipython", [None, types.SimpleNamespace(get_ipython=lambda: None)])
def test_outside_a_notebook_a_file_must_be_named(ipython, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    with pytest.raises(ValueError, match=r'out="page\.html"'):
        kvae.explore(CASES["vae"].build())
