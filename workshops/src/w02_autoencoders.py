# ---
# jupyter:
#   kvae:
#     worksheet: 2
#     topic: Autoencoders
#     about: "bottleneck, tied weights, what a random code decodes to"
#     lectures: "000"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 2: Autoencoders
#
# **50 minutes.** After it you can
#
# 1. write an autoencoder in Keras and say what its loss measures;
# 2. compare a bottleneck of $k$ numbers with PCA's, and say when the two agree;
# 3. tie a decoder's weights to the encoder's, $W_{L-\ell+1} = W_\ell^T$, and check that they stay tied;
# 4. show why an autoencoder is not a generative model: what a random code decodes to, and why.
#
# **How it works.** Replace each `...` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong, the
# check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down always
# run. You need NumPy, a first Keras model, and PCA, from worksheet 1 or elsewhere.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 5 minutes, exercises 2.1 to 2.6 take 37, the figures and the summary
# 8. Students spend the most time on 2.3: write the shapes on the board, one below the other. Fast students continue with 2.7.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import layers, ops

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes one or two minutes
EPOCHS = {"digits": 60, "mnist": 3}[DATASET]

data = kvae.load_data(DATASET)
x_train, x_test = data.x_train, data.x_test
pixels = x_train[0].size
print("training images", x_train.shape, "test images", x_test.shape)
some = x_test[:20].reshape(2, 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(some, title="To be compressed to k numbers"))

# %% [markdown]
# ## Through the bottleneck and back
#
# $$\mathbf x \;\xrightarrow{\text{encoder}}\; \mathbf z \in \mathbb R^k \;\xrightarrow{\text{decoder}}\; \hat{\mathbf x}, \qquad
# \text{minimise}\quad \mathbb E_{\mathbf x}\left[\lVert \mathbf x - \hat{\mathbf x} \rVert^2\right]$$
#
# We do not say what $\mathbf z$ should be. But if $k$ is much smaller than the number of pixels, the networks have to find
# out what is worth keeping about a digit. PCA did the same with a single matrix; here both directions are nonlinear networks.
#
# ## Exercise 2.1: the squared error (4 minutes)
#
# $\lVert \mathbf x - \hat{\mathbf x} \rVert^2$: one number per image, the **sum** over its pixels.
#
# <details><summary>Hint</summary>
#
# `ops.sum(..., axis=(1, 2, 3))` keeps the first axis, which runs over the images.
# </details>


# %%
def squared_error(x, x_hat):
    """Squared error ‖x − x̂‖² of each image, `(batch,)`, for arguments `(batch, height, width, 1)`. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.sum(ops.square(x - x_hat), axis=(1, 2, 3))
    ### END SOLUTION


squared_error = kvae.worksheet.check("2.1", squared_error)

# %% [markdown]
# ## Exercise 2.2: the autoencoder (8 minutes)
#
# A Keras model can register losses during a call with `self.add_loss(number)`, and `fit` minimises their sum. Fill in `call`:
#
# 1. encode `x` and decode the code;
# 2. register the mean over the batch of your `squared_error`;
# 3. return the reconstruction.
#
# <details><summary>Hint</summary>
#
# `z = self.encoder(x)`, and finally `self.add_loss(ops.mean(...))`.
# </details>


# %%
class Autoencoder(keras.Model):
    """An encoder and a decoder, trained together to reconstruct their input."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def call(self, x):
        ### BEGIN SOLUTION
        z = self.encoder(x)
        x_hat = self.decoder(z)
        self.add_loss(ops.mean(squared_error(x, x_hat)))
        return x_hat
        ### END SOLUTION


Autoencoder = kvae.worksheet.check("2.2", Autoencoder)

# %% [markdown]
# ## Two numbers per digit
#
# `kvae.networks.mlp` builds plain Keras networks: pixels → 128 → 64 → k and back, with relu in the hidden layers.
#
# **Predict before you run.** The points are the codes of test images, coloured by labels that the model never saw. Will the digits be separated? Will the
# codes be centred at 0? Will they fill the square?


# %%
def train(encoder, decoder):
    """Your autoencoder, built from two networks and trained."""
    model = Autoencoder(encoder, decoder)
    model.compile(optimizer=keras.optimizers.Adam(3e-3))
    model.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])
    return model


def networks(k, hidden=(128, 64)):
    """A new encoder and decoder."""
    keras.utils.set_random_seed(0)
    return kvae.networks.mlp(data.image_shape, k, hidden=hidden, posterior=None)


flat = train(*networks(k=2))
codes = ops.convert_to_numpy(flat.encoder(x_test[:2000]))
kvae.worksheet.show(kvae.plots.latent_scatter(codes, data.y_test[:2000], title="Two numbers per digit"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Partly, and better than in PCA's plane, though it has never seen a label. The codes are neither centred at 0 nor do
# they fill the square: there are holes, in which no image was ever encoded.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Compare with PCA's plane in worksheet 1. Let students find the three problems from the lecture in the figure: there are holes; the
# codes are not centred anywhere in particular; and the distance between two digits says nothing about how different they look. Another seed gives another map.

# %% [markdown]
# ## Is it better than PCA?
#
# Three models with a bottleneck of $k = 8$: PCA; an autoencoder without hidden layers, which is also linear; and one with hidden layers.
#
# **Predict before you run.** PCA has the smallest squared error of all *linear* models. So where will the linear autoencoder end up? And the deep one?

# %%
K = 8
pca = kvae.baselines.PCA(K).fit(x_train)
linear, deep = train(*networks(K, hidden=())), train(*networks(K))
rows = {
    "original": x_test[:10],
    "PCA": pca.reconstruct(x_test[:10]),
    "linear": linear(x_test[:10]),
    "deep": deep(x_test[:10]),
}


def test_error(x_hat):
    """Mean squared error of the reconstructed test images."""
    return float(ops.mean(squared_error(x_test, x_hat)))


for name, x_hat in {"PCA": pca.reconstruct(x_test), "linear": linear(x_test), "deep": deep(x_test)}.items():
    print(f"{name:>6}, k = {K}: mean squared error of the test images {test_error(x_hat):.2f}")
pictures = np.stack([ops.convert_to_numpy(row) for row in rows.values()])
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=list(rows), title="Eight numbers per image"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The linear autoencoder ends up where PCA does, up to what training has not finished. The deep one is better: its
# surface can be curved.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The linear autoencoder finds PCA's plane but not PCA's axes: any basis of the plane is equally good. Ask fast students to try `K = 32`.
# PCA then wins on the 8×8 digits (0.17 against 0.24): 32 directions already hold nearly everything, and a network has to learn the identity from data.

# %% [markdown]
# ## Exercise 2.3: tied weights (7 minutes)
#
# The decoder mirrors the encoder, so why learn twice as many weights? Tie them: layer $L - \ell + 1$ uses the kernel of layer $\ell$, transposed. With
# two layers on each side ($L = 4$), the encoder is $\mathbf h = \operatorname{relu}(\mathbf x W_1 + \mathbf c_1)$, $\mathbf z = \mathbf h W_2 + \mathbf c_2$, and the decoder
#
# $$W_3 = W_2^T, \quad W_4 = W_1^T: \qquad \mathbf h' = \operatorname{relu}(\mathbf z\, W_2^T + \mathbf b_1), \qquad \hat{\mathbf x} = \mathbf h' W_1^T + \mathbf b_2$$
#
# Only the biases belong to the decoder alone.
#
# <details><summary>Hint</summary>
#
# Shapes: `(batch, k) @ (k, h)`, then `(batch, h) @ (h, d)`. `ops.matmul`, `ops.transpose`, `ops.relu`.
# </details>


# %%
def decode_tied(z, w1, w2, b1, b2):
    """Reconstructions x̂ `(batch, d)` of codes `(batch, k)`, with the encoder's kernels w1 `(d, h)` and w2 `(h, k)`."""
    ### BEGIN SOLUTION
    h = ops.relu(ops.matmul(z, ops.transpose(w2)) + b1)
    return ops.matmul(h, ops.transpose(w1)) + b2
    ### END SOLUTION


decode_tied = kvae.worksheet.check("2.3", decode_tied)

# %% [markdown]
# ## Exercise 2.4: a random code (4 minutes)
#
# Can an autoencoder invent digits? Its decoder turns any eight numbers into an image, but *which* eight should we choose? Let us give it a good chance and draw from a Gaussian
# with the mean $\mathbf m$ and standard deviation $\mathbf s$ of the training codes in each dimension:
#
# $$\mathbf z_{\text{new}} = \mathbf m + \mathbf s \odot \boldsymbol\epsilon, \qquad \boldsymbol\epsilon \sim \mathcal N(\mathbf 0, \mathbf I)$$
#
# <details><summary>Hint</summary>
#
# You need one mean and one standard deviation per dimension: `axis=0`.
# </details>


# %%
def random_codes(z, noise):
    """New codes `(n, k)` from training codes `(m, k)` and noise ε `(n, k)`; NumPy arrays."""
    ### BEGIN SOLUTION
    return z.mean(axis=0) + z.std(axis=0) * noise
    ### END SOLUTION


random_codes = kvae.worksheet.check("2.4", random_codes)

# %% [markdown]
# **Predict before you run.** Three rows: the codes of real test images, decoded; your random codes; and codes from $\mathcal N(\mathbf 0, \mathbf I)$,
# the natural first choice. Which rows show digits?

# %%
z_train = ops.convert_to_numpy(deep.encoder(x_train[:10_000]))
z_test = ops.convert_to_numpy(deep.encoder(x_test[:2000]))
noise = np.random.default_rng(0).normal(size=(500, K)).astype("float32")
z_random = random_codes(z_train, noise)
rows = {"test images": z_test[:12], "random codes": z_random[:12], "N(0, I)": noise[:12]}
decoded = np.stack([ops.convert_to_numpy(deep.decoder(z)) for z in rows.values()])
kvae.worksheet.show(kvae.plots.image_grid(decoded, row_labels=list(rows), title="Decoded codes"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The first row. Among the random codes a few look like digits, since they have the right centre and widths; those of
# $\mathcal N(\mathbf 0, \mathbf I)$ hardly do.
# </details>

# %% [markdown]
# ## Exercise 2.5: how far from the training codes? (6 minutes)
#
# The decoder was trained on the training codes only. How far is a code from the nearest of them?
#
# $$\operatorname{dist}(\mathbf z) = \min_n \lVert \mathbf z - \mathbf z_n \rVert$$
#
# <details><summary>Hint</summary>
#
# `z[:, None] - z_train[None]` has shape `(m, n, k)`: all differences at once. `np.linalg.norm` takes an `axis`.
# </details>


# %%
def nearest(z, z_train):
    """Distance `(m,)` from each code `(m, k)` to the nearest training code `(n, k)`; NumPy arrays."""
    ### BEGIN SOLUTION
    distances = np.linalg.norm(z[:, None] - z_train[None], axis=-1)
    return distances.min(axis=1)
    ### END SOLUTION


nearest = kvae.worksheet.check("2.5", nearest)

# %% [markdown]
# **Predict before you run.** Below are, out of 500 random codes, the twelve nearest to a training code and the twelve farthest from one. Which row looks more like
# digits? And how far away are the codes of *test* images, which the model has never seen either?

# %%
home = z_train[:2000]
far = nearest(z_random, home)
print(f"distance to the nearest training code: test images {nearest(z_test[:500], home).mean():.2f},", end=" ")
print(f"random codes {far.mean():.2f}, N(0, I) {nearest(noise, home).mean():.2f}")
order = np.argsort(far)
decoded = [ops.convert_to_numpy(deep.decoder(z_random[some])) for some in (order[:12], order[-12:])]
kvae.worksheet.show(
    kvae.plots.image_grid(np.stack(decoded), row_labels=["nearest", "farthest"], title="Random codes, decoded")
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The nearest row. Codes of test images are about half as far from the training codes as random ones: new digits land
# where digits are.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The Gaussian has the right centre and widths and still misses: in eight dimensions the codes lie in a few thin clouds, and most of the Gaussian
# is elsewhere. A VAE approaches the problem from the other end: instead of fitting a Gaussian to the codes, it trains the codes to fit a Gaussian.

# %% [markdown]
# ## Exercise 2.6: find the bug (8 minutes)
#
# Here is a layer for the tied decoder, written by a colleague who has solved exercise 2.3. The shapes are right, no error is raised, and the loss falls.
#
# **Predict before you run.** With half as many kernels it should do somewhat worse than the deep network above. How much worse, would you say?


# %%
class BrokenTied(layers.Layer):
    """The colleague's dense layer, which uses the transposed kernel of another layer."""

    def __init__(self, dense, activation=None):
        super().__init__()
        self.kernel = ops.transpose(dense.kernel)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(self.kernel.shape[1],), initializer="zeros")

    def call(self, h):
        return self.activation(ops.matmul(h, self.kernel) + self.bias)


def tied_networks(layer_class):
    """An encoder pixels → 64 → k and its tied decoder."""
    keras.utils.set_random_seed(0)
    first, second = layers.Dense(64, activation="relu"), layers.Dense(K)
    encoder = keras.Sequential([keras.Input(data.image_shape), layers.Flatten(), first, second])
    mirror = [layer_class(second, "relu"), layer_class(first), layers.Reshape(data.image_shape)]
    return encoder, keras.Sequential([keras.Input((K,)), *mirror])


broken = train(*tied_networks(BrokenTied))
W_2, W_3 = broken.encoder.layers[-1].kernel, broken.decoder.layers[0].kernel
print(f"its mean squared error {test_error(broken(x_test)):.2f}, the deep network's {test_error(deep(x_test)):.2f}")
print(f"largest difference between W₃ and W₂ᵀ: {float(ops.max(ops.abs(W_3 - ops.transpose(W_2)))):.2f}")
rows = {"original": x_test[:10], "deep": deep(x_test[:10]), "broken": broken(x_test[:10])}
pictures = np.stack([ops.convert_to_numpy(row) for row in rows.values()])
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=list(rows), title="Are the weights tied?"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Much worse: its error is about four times the deep network's. Half as many kernels do not explain that.
# </details>

# %% [markdown]
# $W_3$ should *be* $W_2^T$. When was it last equal to it? Write `call` of the fixed layer, which holds the encoder's layer as `self.dense`.
#
# <details><summary>Hint</summary>
#
# `ops.transpose(...)` creates a new array. Which line of the broken layer does that, and how often does that line run during training?
# </details>


# %%
class FixedTied(layers.Layer):
    """A dense layer that uses the transposed kernel of another layer and has its own bias."""

    def __init__(self, dense, activation=None):
        super().__init__()
        self.dense = dense
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        self.bias = self.add_weight(shape=(self.dense.kernel.shape[0],), initializer="zeros")

    def call(self, h):
        ### BEGIN SOLUTION
        return self.activation(ops.matmul(h, ops.transpose(self.dense.kernel)) + self.bias)
        ### END SOLUTION


FixedTied = kvae.worksheet.check("2.6", FixedTied)

# %%
tied = train(*tied_networks(FixedTied))
print(f"mean squared error {test_error(tied(x_test)):.2f}, broken {test_error(broken(x_test)):.2f}")
(w1, w2), (b1, b2) = (
    [layer.kernel for layer in tied.encoder.layers[-2:]],
    [each.bias for each in tied.decoder.layers[:2]],
)
z = tied.encoder(x_test)
yours = ops.reshape(decode_tied(z, w1, w2, b1, b2), x_test.shape)
print(f"largest difference from your decode_tied: {float(ops.max(ops.abs(yours - tied.decoder(z)))):.5f}")

# %% [markdown] tags=["instructor"]
# *For the instructor.* The copy was made only once, when the layer was created, from random weights. The encoder and the biases then learnt around a decoder whose kernels never
# changed. The loss fell, as it does in nearly every broken model; only a comparison (with the deep network, or of $W_3$ with $W_2^T$) reveals the bug.

# %% [markdown]
# ## Exercise 2.7, stretch: from one digit to another (at home, or if you finish early)
#
# A small step in code space should be a small step in image space. Walk along the straight line between two codes:
#
# $$\mathbf z(t) = (1 - t)\, \mathbf z_0 + t\, \mathbf z_1, \qquad t = 0, \dots, 1$$
#
# <details><summary>Hint</summary>
#
# `t = np.linspace(0, 1, steps)[:, None]` is a column, with one row per code.
# </details>


# %%
def interpolate(z_start, z_end, steps):
    """Codes `(steps, k)` on the line from `z_start` `(k,)` to `z_end` `(k,)`, including both ends."""
    ### BEGIN SOLUTION
    t = np.linspace(0, 1, steps)[:, None]
    return (1 - t) * z_start + t * z_end
    ### END SOLUTION


interpolate = kvae.worksheet.check("2.7", interpolate)

# %% [markdown]
# **Predict before you run.** The first row interpolates between codes, the second between the *images*, pixel by pixel. How will they differ in the middle?

# %%
start, end = np.flatnonzero(data.y_test == 0)[0], np.flatnonzero(data.y_test == 1)[0]
line = interpolate(z_test[start], z_test[end], 11).astype("float32")
blend = interpolate(x_test[start].ravel(), x_test[end].ravel(), 11).reshape(11, *data.image_shape)
pictures = np.stack([ops.convert_to_numpy(deep.decoder(line)), blend])
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=["codes", "pixels"], title="From a 0 to a 1"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# In the middle of the first row is a digit, or nearly one: strokes move. In the second, both digits are there at
# once, each half as bright.
# </details>

# %% [markdown]
# ## Summary
#
# - An autoencoder minimises $\mathbb E[\lVert\mathbf x - \hat{\mathbf x}\rVert^2]$ through a bottleneck of $k$ numbers.
# - Without hidden layers it finds PCA's plane. With them the surface can be curved, and it loses less at the same small $k$.
# - Tied weights, $W_{L-\ell+1} = W_\ell^T$, halve the number of kernels. Tied means sharing the same array at every step, not copying its initial value.
# - Nothing gives the codes a particular distribution: there are holes, and centre and scale are arbitrary. A random code usually falls into a hole and does not decode to a digit.
#
# **Next:** worksheet 3 keeps an autoencoder from simply copying its input; worksheet 6 gives the codes a known distribution, from which we can then sample.
