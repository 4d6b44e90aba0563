"""`model.export`: the exported function gives what `predict` gives, and needs neither kvae nor Keras."""

import keras
import numpy as np
import pytest
from cases import CASES, QUICKLY
from test_extending import label_and_image, several

import kvae

TENSORFLOW = keras.backend.backend() == "tensorflow"
no_saved_model = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras 3.15 exports no SavedModel from current PyTorch"
)


def expected(name, method="reconstruct"):
    """A model after `fit`, five images or codes (with their conditions), and what the method gives for them."""
    if name == "several conditions":
        model = kvae.CVAE(*several(), num_classes=(3, None), prior="learned")
        x, y = CASES["vae"].arrays(12)[0], label_and_image(np.random.default_rng(0))
    else:
        model, (x, y) = CASES[name].build(), CASES[name].arrays(12)
    model.compile(**QUICKLY)
    model.fit(x, y, epochs=1, verbose=0)
    x, y = x[:5], y if y is None else keras.tree.map_structure(lambda part: part[:5], y)
    if method == "decode":
        x = np.random.default_rng(0).normal(size=(5, *model.latent_shape)).astype("float32")
    conditions = y if isinstance(y, tuple) else () if y is None else (y,)
    inputs = [x, *(part.astype("int32") if part.dtype.kind == "i" else part for part in conditions)]
    if method == "reconstruct":
        return model, inputs, model.predict(x if y is None else (x, y), verbose=0)
    return model, inputs, getattr(model, method)(x, y)


@pytest.mark.long
@no_saved_model
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("vae-learned-sigma", "reconstruct"),
        ("several conditions", "reconstruct"),
        ("several conditions", "encode"),
        ("cvae", "decode"),
    ],
)
def test_saved_model(name, method, tmp_path):
    tf = pytest.importorskip("tensorflow", reason="a SavedModel needs TensorFlow")
    model, inputs, output = expected(name, method)
    model.export(tmp_path / "model", method=method, verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    exported = loaded.serve(inputs if len(inputs) > 1 else inputs[0]).numpy()
    np.testing.assert_allclose(exported, output, atol=1e-6)


@no_saved_model
def test_the_decoder_of_tied_weights_generates(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="a SavedModel needs TensorFlow")
    model = CASES["autoencoder-tied"].build()
    model.decoder.export(tmp_path / "decoder", verbose=False)
    z = np.ones((5, 2), "float32")
    loaded = tf.saved_model.load(tmp_path / "decoder")
    np.testing.assert_allclose(loaded.serve(z).numpy(), model.decode(z), atol=1e-6)


def test_methods_that_cannot_be_exported(tmp_path):
    for name, method in (("vae", "predict"), ("vqvae", "decode")):
        with pytest.raises(ValueError, match=f"`method` must be one of .* Received: '{method}'"):
            CASES[name].build().export(tmp_path / "model", method=method)


@pytest.mark.long  # where the gate has installed the extra `export`
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("cvae", "reconstruct"),
        ("cvae", "encode"),
        ("cvae", "decode"),
        ("autoencoder-tied", "reconstruct"),
        ("vae-conv", "reconstruct"),
    ],
)
def test_onnx(name, method, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX needs the extra `export`")
    for converter in {"tensorflow": ["tf2onnx"], "jax": ["flax", "jax2onnx"], "torch": ["onnx"]}[
        keras.backend.backend()
    ]:
        pytest.importorskip(converter, reason=f"Keras exports to ONNX with {converter}")
    model, inputs, output = expected(name, method)
    path = str(tmp_path / "model.onnx")  # a string, for tf2onnx
    model.export(path, format="onnx", method=method, verbose=False)
    session = onnxruntime.InferenceSession(path)
    names = ["z" if method == "decode" else "x", "y"][: len(inputs)]
    assert [each.name for each in session.get_inputs()] == names
    (exported,) = session.run(None, dict(zip(names, inputs, strict=True)))
    np.testing.assert_allclose(exported, output, atol=1e-6)


@pytest.mark.long
@pytest.mark.skipif(not TENSORFLOW, reason="TFLite is tried on TensorFlow")
def test_tflite_reconstructs(tmp_path):
    import tensorflow as tf

    model, inputs, reconstruction = expected("cvae")
    model.export(str(tmp_path / "model.tflite"), format="litert", verbose=False)
    run = tf.lite.Interpreter(model_path=str(tmp_path / "model.tflite")).get_signature_runner()
    (exported,) = run(x=inputs[0], y=inputs[1]).values()
    np.testing.assert_allclose(exported, reconstruction, atol=1e-6)
