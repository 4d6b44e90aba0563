"""GAN, VAEGAN, AdversarialAutoencoder and IntroVAE: their published losses, who trains whom, and bad input."""

import keras
import numpy as np
import pytest
from adversarial import images
from cases import QUICKLY, adversarial_autoencoder, compiled, gan, introvae, vaegan
from keras import ops

import kvae
from kvae.callbacks import Checkpoint
from kvae.cli import build, main, runs
from kvae.cli import options as run_options
from kvae.distributions import Normal
from kvae.models import capabilities
from kvae.models.batches import Batch
from kvae.networks import discriminator, mlp

SHAPE = (8, 8, 1)
MODELS = {
    "gan": gan,
    "vaegan": lambda: vaegan(beta=0.5),
    "frozen": lambda: vaegan(learned_similarity="frozen"),
    "aae": adversarial_autoencoder,
    "introvae": introvae,
    "hard": lambda: introvae(soft=False, beta=0.5),
}
NETWORKS = {  # of the trained networks, the losses that each minimises
    "gan": {"decoder": "decoder_loss", "discriminator": "discriminator_loss"},
    "vaegan": {"encoder": "encoder_loss", "decoder": "decoder_loss", "discriminator": "discriminator_loss"},
    "introvae": {"encoder": "encoder_loss", "decoder": "decoder_loss"},
}


def built(name):
    keras.utils.set_random_seed(0)
    return MODELS[name]()


def one_pass(model, x):
    return model.run_batch(Batch(ops.convert_to_tensor(x)), training=False)


def numbers(result):
    return {name: ops.convert_to_numpy(term).astype("float64") for name, term in result.terms.items()}


def run(network, x):
    return ops.convert_to_numpy(network(ops.convert_to_tensor(np.asarray(x, "float32")))).astype("float64")


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def kl_of(params):
    mean, log_var = np.split(params, 2, axis=-1)
    return 0.5 * np.sum(np.exp(log_var) + mean**2 - 1 - log_var, axis=-1)


def cross_entropy(x, logits):
    return np.sum(np.maximum(logits, 0) - x * logits + np.log1p(np.exp(-np.abs(logits))), axis=(1, 2, 3))


@pytest.fixture
def noiseless(monkeypatch):
    """All normal noise is ½."""
    monkeypatch.setattr(keras.random, "normal", lambda shape, *_, **__: ops.full(shape, 0.5, "float32"))


# Values, against NumPy.


def judged(model, x):
    """log-odds that images are real."""
    return run(model.discriminator, x)[:, 0]


def decoded(model, z):
    return sigmoid(run(model.decoder, z))


def drawn(n):
    return np.full((n, 2), 0.5)


def posterior_draw(params):
    mean, log_var = np.split(params, 2, axis=-1)
    return mean + 0.5 * np.exp(0.5 * log_var)


def expected_gan(model, x):
    fake, real = judged(model, decoded(model, drawn(len(x)))), judged(model, x)
    return {
        "decoder_loss": -np.log(sigmoid(fake)),
        "discriminator_loss": -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake)),
        "real_accuracy": real > 0,
        "fake_accuracy": fake < 0,
    }


def expected_vaegan(model, x):
    params = run(model.encoder, x)
    kinds = decoded(model, posterior_draw(params)), decoded(model, drawn(len(x)))
    judge = keras.Model(model.discriminator.input, model.discriminator.get_layer("features").output)
    difference = run(judge, x) - run(judge, kinds[0])
    feature_loss = 0.5 * np.sum(difference**2 + np.log(2 * np.pi), axis=1)
    fakes, real = [judged(model, kind) for kind in kinds], judged(model, x)
    return {
        "kl_loss": kl_of(params),
        "feature_loss": feature_loss,
        "encoder_loss": 0.5 * kl_of(params) + feature_loss,
        "decoder_loss": model.gamma * feature_loss - sum(np.log(sigmoid(fake)) for fake in fakes),
        "discriminator_loss": -np.log(sigmoid(real)) - sum(np.log(1 - sigmoid(fake)) for fake in fakes),
        "real_accuracy": sigmoid(real) > 1 / 3,  # one of three images is real
        "fake_accuracy": np.mean([sigmoid(fake) < 1 / 3 for fake in fakes], axis=0),
    }


def expected_aae(model, x):
    z = run(model.encoder, x)
    real, fake = judged(model, drawn(len(x))), judged(model, z)
    return {
        "reconstruction_loss": np.sum((x - run(model.decoder, z)) ** 2, axis=(1, 2, 3)),
        "penalty_loss": np.zeros(len(x)),
        "fooling_loss": -np.log(sigmoid(fake)),
        "discriminator_loss": -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake)),
        "real_accuracy": real > 0,
        "fake_accuracy": fake < 0,
    }


def expected_introvae(model, x):
    params = run(model.encoder, x)
    z = posterior_draw(params)
    reconstruction_loss, kl = cross_entropy(x, run(model.decoder, z)), kl_of(params)
    kinds = decoded(model, z), decoded(model, drawn(len(x)))
    fake_params = [run(model.encoder, kind) for kind in kinds]
    fake_kl = [kl_of(each) for each in fake_params]
    if model.soft:
        scale = 1 / 64
        energies = [
            cross_entropy(kind, run(model.decoder, posterior_draw(each))) + model.beta_negative * kl_of(each)
            for kind, each in zip(kinds, fake_params, strict=True)
        ]
        real = reconstruction_loss + model.beta_negative * kl
        game = 0.5 * np.mean(np.exp(-2 * scale * np.array(energies)), axis=0)
        encoder_loss = (scale * (reconstruction_loss + kl) + game) / scale
        decoder_loss = reconstruction_loss + np.mean(fake_kl, axis=0)
    else:
        energies, real = fake_kl, kl
        encoder_loss = reconstruction_loss + 0.5 * kl + 0.25 * sum(np.maximum(20.0 - each, 0) for each in fake_kl)
        decoder_loss = reconstruction_loss + 0.25 * sum(fake_kl)
    middle = 0.5 * (np.mean(real) + np.mean(energies))
    return {
        "reconstruction_loss": reconstruction_loss,
        "kl_loss": kl,
        "elbo": -reconstruction_loss - kl,
        "encoder_loss": encoder_loss,
        "decoder_loss": decoder_loss,
        "fake_kl_loss": np.mean(fake_kl, axis=0),
        "real_accuracy": real < middle,
        "fake_accuracy": np.mean([each > middle for each in energies], axis=0),
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gan", expected_gan),
        ("vaegan", expected_vaegan),
        ("aae", expected_aae),
        ("introvae", expected_introvae),
        ("hard", expected_introvae),
    ],
)
def test_the_losses_are_the_published_ones(name, expected, noiseless):
    model, x = built(name), images(12)
    found, wanted = numbers(one_pass(model, x)), expected(model, x)
    assert set(found) == set(wanted) == set(model.logged_terms)
    for term, values in wanted.items():
        np.testing.assert_allclose(found[term], values, rtol=1e-4, atol=1e-5, err_msg=term)


def test_a_frozen_discriminator_gives_the_features_and_is_not_trained():
    model, x = built("frozen"), images(16)
    assert set(model.logged_terms) == {"kl_loss", "feature_loss"}
    before = [np.array(w) for w in model.discriminator.get_weights()]
    model.compile(optimizer="adam", **QUICKLY)  # a single optimizer
    logs = model.fit(x, batch_size=8, verbose=0).history
    assert logs["loss"][0] == pytest.approx(logs["kl_loss"][0] + logs["feature_loss"][0], rel=1e-5)
    for old, new in zip(before, model.discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    again = type(model).from_config(model.get_config())
    assert not again.discriminator.trainable
    assert not capabilities.has(again, "adversary")


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_minimises_its_own_loss_alone(name):
    """A step of size h along the gradient of the sum lowers a network's own loss by h times its squared norm."""
    x = images(16)
    for network, loss in NETWORKS[name].items():
        model = built(name)
        start = ops.convert_to_numpy(model.seed_generator.state)
        before = numbers(one_pass(model, x))[loss].mean()
        weights = [np.array(w) for w in getattr(model, network).get_weights()]
        rate = 1e-3
        model.seed_generator.state.assign(start)
        model.compile(
            optimizer=keras.optimizers.SGD(rate if network not in model.optimizer_groups else 0.0),
            **{
                f"{group}_optimizer": keras.optimizers.SGD(rate if network == group else 0.0)
                for group in model.optimizer_groups
            },
            **QUICKLY,
        )
        model.fit(x, batch_size=16, shuffle=False, verbose=0)
        moved = [new - old for old, new in zip(weights, getattr(model, network).get_weights(), strict=True)]
        for part in ("encoder", "decoder", "discriminator"):  # with an optimizer of rate 0, or the same one
            if part != network and hasattr(model, part) and (part in model.optimizer_groups):
                other = built(name)
                for old, new in zip(
                    getattr(other, part).get_weights(), getattr(model, part).get_weights(), strict=True
                ):
                    np.testing.assert_array_equal(old, new)
        restored = built(name)
        getattr(restored, network).set_weights([old + step for old, step in zip(weights, moved, strict=True)])
        restored.seed_generator.state.assign(start)
        after = numbers(one_pass(restored, x))[loss].mean()
        norm = sum(np.sum(np.square(step.astype("float64"))) for step in moved) / rate
        assert before - after == pytest.approx(norm, rel=0.05)


@pytest.mark.long
def test_a_checkpoint_goes_on_to_the_bit(tmp_path):
    def fitted(epochs, callbacks=()):
        model = compiled(built("vaegan"), optimizer=keras.optimizers.Adam(1e-2), **QUICKLY)
        model.fit(images(10), batch_size=5, epochs=epochs, callbacks=list(callbacks), verbose=0)
        return [ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]

    whole = fitted(2)
    for epochs in (1, 2):
        resumed = fitted(epochs, [Checkpoint(tmp_path / "checkpoint.npz")])
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_convolutions_and_the_layer_to_compare():
    judge = discriminator((9, 9, 3), hidden=(4, 6), network="conv")
    kinds = [type(layer).__name__ for layer in judge.layers]
    assert kinds == [
        "InputLayer", "Conv2D", "LeakyReLU", "Conv2D", "BatchNormalization", "LeakyReLU", "Flatten", "Dense",
    ]  # fmt: skip
    assert judge.get_layer("features").output.shape == (None, 3 * 3 * 6)
    assert judge.output_shape == (None, 1)
    model = kvae.VAEGAN(*mlp((9, 9, 3), 2, hidden=(8,)), judge, feature_layer=judge.layers[2].name)
    assert model.features(np.zeros((2, 9, 9, 3), "float32")).shape == (2, 5 * 5 * 4)
    assert discriminator((6,), hidden=(8, 4)).get_layer("features").output.shape == (None, 4)


# The doctor.


def diagnosed(model, x):
    return {finding.name: finding for finding in kvae.evaluation.diagnose(model, x)}


def guessing(model, bias=1.0):
    """The model with a discriminator that takes everything for real."""
    kernel, _ = model.discriminator.layers[-1].get_weights()
    model.discriminator.layers[-1].set_weights([np.zeros_like(kernel), np.full(1, bias)])
    return model


@pytest.mark.long
def test_a_discriminator_that_has_won(digits):
    model = built("gan")
    model.compile(optimizer=keras.optimizers.SGD(0.0), discriminator_optimizer=keras.optimizers.Adam(1e-2))
    model.fit(digits.x_train[:320], epochs=8, verbose=0)
    state = ops.convert_to_numpy(model.seed_generator.state)
    found = diagnosed(model, digits.x_test)["discriminator_won"]
    assert found.severity == "problem"
    assert found.value > 0.97
    assert "of generated images right" in found.message
    assert "decoder_loss has grown from" in found.message
    np.testing.assert_array_equal(state, ops.convert_to_numpy(model.seed_generator.state))


def test_a_discriminator_that_has_lost(digits):
    found = diagnosed(guessing(built("gan")), digits.x_test)["discriminator_lost"]
    assert found.value == 0.5
    assert "gets 100% of real and 0% of generated images right" in found.message
    assert "discriminator_lost" in diagnosed(guessing(built("aae")), digits.x_test)


@pytest.mark.parametrize("name", ["gan", "vaegan", "introvae"])
def test_mode_collapse(digits, name):
    model = built(name)
    kernel = model.decoder.layers[-2].get_weights()[0]
    one = np.clip(digits.x_test[3].ravel(), 0.01, 0.99)
    model.decoder.layers[-2].set_weights([0.01 * kernel, np.log(one / (1 - one))])
    found = diagnosed(model, digits.x_test)["mode_collapse"]
    assert found.value < 0.01
    assert "9 of 10 clusters" in found.message


def test_images_like_the_data_are_healthy(digits, monkeypatch):
    model = guessing(built("gan"))
    monkeypatch.setattr(model, "generate", lambda n, seed: digits.x_train[:n])
    (found,) = kvae.evaluation.diagnose(model, digits.x_test)
    assert (found.name, found.severity) == ("healthy", "ok")
    assert "10 of 10 clusters of the data" in found.message
    model.compile("sgd", discriminator_optimizer="sgd")
    callback = kvae.callbacks.Diagnosis(digits.x_test)
    callback.set_model(model)
    callback.on_train_begin()


# The command line.


@pytest.mark.parametrize(
    ("given", "cls", "optimizers"),
    [
        ({"model": "vaegan", "gamma": 0.5, "beta": 0.1}, kvae.VAEGAN, {"discriminator_optimizer": 1e-4}),
        ({"model": "introvae", "margin": 5.0}, kvae.IntroVAE, {"encoder_optimizer": 1e-4}),
        ({"model": "adversarial_autoencoder"}, kvae.AdversarialAutoencoder, {"discriminator_optimizer": 1e-4}),
    ],
)
def test_options_become_the_model_and_its_optimizers(digits, given, cls, optimizers):
    options = run_options.complete({"hidden": [8], "adversary_learning_rate": 1e-4, **given})
    model = build.build(options, digits)
    made = build.optimizers(options, model, num_steps=10)
    assert type(model) is cls
    for name, value in given.items():
        if name != "model":
            assert model.get_config()[name] == value
    rates = {name: float(each.learning_rate) for name, each in made.items()}
    assert rates == pytest.approx({"optimizer": 2e-3, **optimizers})
    assert getattr(model, "soft", False) is False


@pytest.mark.long
def test_a_gan_is_trained_evaluated_and_drawn(tmp_path, monkeypatch, capsys, small_pictures):
    monkeypatch.chdir(tmp_path)
    metrics, _ = runs.train({"model": "gan", "epochs": 1, "hidden": [8]}, "run", verbose=False)
    assert metrics["frechet_distance"] > 0
    assert "reconstruction_mse" not in metrics
    assert {path.name for path in (tmp_path / "run" / "pictures").iterdir()} == {
        "sample_grid_epoch_0001.png", "latent_manifold_epoch_0001.png",
    }  # fmt: skip

    def said(*arguments, code=0):
        assert main.main(list(arguments)) == code
        return capsys.readouterr().err if code else capsys.readouterr().out

    assert "mode collapse" in said("evaluate", "run/model.keras", "--doctor")  # after a single epoch
    said("plot", "run/model.keras")
    drawn = {path.stem for path in (tmp_path / "run" / "plots").iterdir()}
    assert drawn == {"samples", "manifold", "traversal", "history"}
    said("generate", "run/model.keras", "--count", "2", "--out", "two.npz")
    assert np.load("two.npz")["images"].shape == (2, 8, 8, 1)
    for command, message in {
        ("plot", "run/model.keras", "--kind", "reconstructions"): "`kind` must be one of",
        ("apply", "anomaly", "run/model.keras"): "`reconstruct` needs an encoder",
        ("apply", "denoise", "run/model.keras"): "must have an encoder and a decoder network",
        ("train", "--model", "gan", "--beta", "2"): "`beta` requires model=",
        ("train", "--model", "vae", "--gamma", "2"): "`gamma` requires model=vaegan",
    }.items():
        error = said(*command, code=1)
        assert message in error
        assert len(error.splitlines()) == 1


# Without an encoder.


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: m.encode(x),
        lambda m, x: m.reconstruct(x),
        lambda m, x: m.predict(x),
        lambda m, x: m.export("gan"),
        lambda m, x: kvae.applications.anomaly_score(m, x, method="reconstruction"),
        lambda m, x: kvae.plots.interpolation(m, x[0], x[1]),
    ],
)
def test_what_needs_an_encoder_says_so(use):
    with pytest.raises(ValueError, match=r"needs an encoder, and a GAN has none: .*Received: GAN"):
        use(gan(), images(4))


def test_what_needs_both_networks_or_a_density_says_so():
    with pytest.raises(ValueError, match=r"must have an encoder and a decoder network\. Received: GAN"):
        kvae.applications.denoise(gan(), images(4), 0.5, method="optimise")
    with pytest.raises(ValueError, match=r"must have densities .* Received: VAEGAN"):
        kvae.evaluation.log_likelihood(vaegan(), images(4))


# Bad input.


def ending_in(activation, shape=SHAPE):
    z = keras.Input((2,))
    return keras.Model(z, keras.layers.Reshape(shape)(keras.layers.Dense(64, activation)(z)))


def judge_of(*layers):
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), *layers])


_, DECODER = mlp(SHAPE, 2, hidden=(4,))
BAD = {
    "one optimizer": (lambda: gan().compile("adam"), r"\['optimizer', 'discriminator_optimizer'\].*: \['optimizer'\]"),
    "an introvae's": (lambda: introvae().compile(), r"\['optimizer', 'encoder_optimizer'\].*: \['optimizer'\]"),
    "ten logits": (
        lambda: kvae.GAN(DECODER, judge_of(keras.layers.Dense(10))),
        r"`discriminator` must map images of shape \(8, 8, 1\) to 1 logit.* to \(10,\)",
    ),
    "a probability": (
        lambda: kvae.GAN(DECODER, judge_of(keras.layers.Dense(1, "sigmoid"))),
        "`discriminator` must give logits: drop its last activation",
    ),
    "no network": (lambda: kvae.GAN(DECODER, None), "`discriminator` must be a built Functional keras.Model"),
    "a judge of images": (
        lambda: kvae.AdversarialAutoencoder(*mlp(SHAPE, 2, hidden=(4,), posterior=None), discriminator(SHAPE)),
        r"`discriminator` must map codes of shape \(2,\) to 1 logit",
    ),
    "another shape": (
        lambda: kvae.GAN(DECODER, discriminator((6, 6, 1), hidden=(4,))),
        r"`decoder` must give \(6, 6, 1\) per example",
    ),
    "no such layer": (lambda: vaegan(feature_layer="third"), "have a layer called 'third'.*: .*'features'"),
    "another similarity": (lambda: vaegan(learned_similarity="both"), r"one of \['joint', 'frozen'\].*'both'"),
    "a bound": (lambda: introvae(bound="renyi"), "`bound` of an IntroVAE must be the reparameterized ELBO"),
    "a prior": (lambda: introvae(prior="mixture"), "`prior` of an IntroVAE must be \"standard\".*Received: Mixture"),
    "no margin": (lambda: introvae(margin=0), "`margin` must be a finite number above 0"),
    "a network": (lambda: discriminator(SHAPE, network="dense"), r"`network` must be one of \['mlp', 'conv'\]"),
    "no layers": (lambda: discriminator(SHAPE, hidden=()), "`hidden` must hold at least one layer"),
    "no image": (lambda: discriminator((6,), network="conv"), r"must be \(height, width, channels\)"),
    "logits in a sigmoid": (
        lambda: kvae.GAN(ending_in("sigmoid"), discriminator(SHAPE, hidden=(4,))),
        "`decoder` must not bound the logits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_said_in_a_line(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1), ("relu", 0, 400), (None, -400, 400)]
)
def test_images_must_lie_in_the_decoders_range(activation, low, high):
    likelihood = Normal(sigma=1.0)
    model = kvae.GAN(ending_in(activation), discriminator(SHAPE, hidden=(4,)), likelihood=likelihood)
    x = np.linspace(low, high, 128, dtype="float32").reshape(2, *SHAPE)
    np.testing.assert_array_equal(model.check_images(x), x)
    if activation is not None:
        compiled(model)
        with pytest.raises(ValueError, match=rf"must lie between {low} and .*Received: values from {low - 1} to"):
            model.fit(np.where(x == low, low - 1, x), verbose=0)
