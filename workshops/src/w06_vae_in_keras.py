# ---
# jupyter:
#   kvae:
#     worksheet: 6
#     topic: A VAE in Keras
#     about: "`train_step`, `add_loss`, Bernoulli likelihood, the manifold"
#     lectures: "000, 001"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 6: A VAE in Keras
#
# **50 minutes.** After it you can
#
# 1. write the two terms of the negative ELBO in Keras, in nats per image;
# 2. build a `keras.Model` that registers them with `add_loss`, and write its `train_step`;
# 3. draw a learned manifold and say why neighbours on it look alike;
# 4. see from a figure that the two terms are out of balance, and find the line at fault.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last line
# checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours
# if it is not, so the cells further down always run. You need NumPy, a first Keras model, and worksheet 5 or lecture 000 up to the
# reparameterization trick.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 6 minutes, exercises 6.1 to 6.6 take 36, the figures and the summary
# 8. Students spend the most time on 6.4: keep the formula of −ELBO on the board. Fast students continue with 6.7.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # exercise 6.5 writes a train_step for TensorFlow
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

DATASET = "mnist_small"  # 10,000 images; or "mnist" for all 70,000, or "digits" for 8×8 pixels, which is faster
EPOCHS = {"mnist_small": 12, "mnist": 5, "digits": 60}[DATASET]

keras.utils.set_random_seed(0)
data = kvae.load_data(DATASET, binarization="static")
x_train, x_test = data.x_train, data.x_test
print("training images", x_train.shape, "values", np.unique(x_train))
some = x_train[:20].reshape(2, 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(some, title="Black or white pixels: x ∈ {0, 1}ᵈ"))

# %% [markdown]
# ## The model
#
# | | | |
# | --- | --- | --- |
# | prior | $p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I)$ | $\mathbf z \in \mathbb R^2$, so that we can plot it |
# | likelihood | $p_\theta(\mathbf x \mid \mathbf z) = \prod_i \pi_i^{x_i} (1 - \pi_i)^{1 - x_i}$ | the decoder returns the logits of $\boldsymbol\pi$ |
# | approximate posterior | $q_\phi(\mathbf z \mid \mathbf x) = \mathcal N(\boldsymbol\mu, \operatorname{diag}(\boldsymbol\sigma^2))$ | the encoder returns $\boldsymbol\mu$ and $\log \boldsymbol\sigma^2$; in lecture 001, $\log \boldsymbol\sigma$ (and $\operatorname{diag}(\boldsymbol\sigma)$, which should be $\boldsymbol\sigma^2$) |
#
# We minimise the negative evidence lower bound, averaged over the images:
#
# $$-\mathcal L_{\theta,\phi}(\mathbf x) = \underbrace{-\mathbb E_{q_\phi(\mathbf z \mid \mathbf x)}[\log p_\theta(\mathbf x \mid \mathbf z)]}_{\text{reconstruction}}
# + \underbrace{D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)]}_{\text{regularisation}}$$
#
# The encoder and the decoder are plain Keras networks. Neither ends in an activation, since $\boldsymbol\mu$, $\log\boldsymbol\sigma^2$ and the logits can be any real numbers.

# %%
LATENT_DIM = 2


def networks():
    """A new encoder, images to [μ, log σ²], and a new decoder, codes to logits."""
    encoder = keras.Sequential(
        [
            keras.Input(data.image_shape),
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(2 * LATENT_DIM),
        ],
        name="encoder",
    )
    decoder = keras.Sequential(
        [
            keras.Input((LATENT_DIM,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(x_train[0].size),
            layers.Reshape(data.image_shape),
        ],
        name="decoder",
    )
    return encoder, decoder


encoder, decoder = networks()
print("encoder", encoder.output_shape, "decoder", decoder.output_shape)

# %% [markdown]
# ## Exercise 6.1: a sample of the posterior (4 minutes)
#
# $$\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon, \qquad \boldsymbol\epsilon \sim \mathcal N(\mathbf 0, \mathbf I)$$
#
# The randomness enters from outside, so the gradient can flow through $\boldsymbol\mu$ and $\boldsymbol\sigma$ to the encoder.
#
# <details><summary>Hint</summary>
#
# The encoder returns $\log \sigma^2$. $\log \sigma$ is half of it.
# </details>


# %%
def sample(z_mean, z_log_var, noise):
    """z `(batch, latent)` from μ, log σ² and ε of the same shape; use keras.ops."""
    ### BEGIN SOLUTION
    return z_mean + ops.exp(0.5 * z_log_var) * noise
    ### END SOLUTION


sample = kvae.worksheet.check("6.1", sample)

# %% [markdown]
# ## Exercise 6.2: the KL term (6 minutes)
#
# For independent Gaussians, with $K$ latent dimensions,
#
# $$D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)] = \tfrac12 \sum_{k=1}^{K} \left[\sigma_k^2 + \mu_k^2 - \ln \sigma_k^2 - 1\right]$$
#
# Return one number per image. What must it be at $\boldsymbol\mu = \mathbf 0$, $\boldsymbol\sigma = \mathbf 1$, and why?
#
# <details><summary>Hint</summary>
#
# `ops.exp(z_log_var)` is $\sigma^2$, and the latent dimensions are `axis=-1`.
# </details>


# %%
def kl(z_mean, z_log_var):
    """KL(q(z|x) ‖ p(z)) of each image, `(batch,)`, in nats."""
    ### BEGIN SOLUTION
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0, axis=-1)
    ### END SOLUTION


kl = kvae.worksheet.check("6.2", kl)

# %% [markdown] tags=["instructor"]
# *For the instructor.* It is 0 there: q is then the prior and carries no information about x. Ask for the other end too: what
# happens to the KL as σ goes to 0? (It grows like −log σ: the more precise the code, the more nats it costs.)

# %% [markdown]
# ## Exercise 6.3: the reconstruction term (6 minutes)
#
# $$-\log p_\theta(\mathbf x \mid \mathbf z) = -\sum_{i=1}^{d} \left[x_i \log \pi_i + (1 - x_i) \log(1 - \pi_i)\right], \qquad \pi_i = \operatorname{sigmoid}(a_i)$$
#
# The decoder returns the logits $a_i$. Work with them directly: if you compute $\log \operatorname{sigmoid}(a)$ in two steps, $a = -200$ gives $\log 0$.
#
# <details><summary>Hint</summary>
#
# `ops.binary_crossentropy(x, x_logits, from_logits=True)` is the bracket with its minus sign, one number per pixel.
# </details>


# %%
def reconstruction(x, x_logits):
    """−log p(x|z) of each image, `(batch,)`, in nats; both arguments `(batch, height, width, 1)`."""
    ### BEGIN SOLUTION
    return ops.sum(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=(1, 2, 3))
    ### END SOLUTION


reconstruction = kvae.worksheet.check("6.3", reconstruction)

# %% [markdown]
# **Predict before you run.** The logits of an untrained decoder are near 0. What is then the reconstruction term of an image with $d$ pixels?
# Write the number down for $d = 28 \cdot 28 = 784$.

# %%
codes = keras.random.normal((len(x_test), LATENT_DIM), seed=0)
print(
    "reconstruction term of an untrained decoder:",
    round(float(ops.mean(reconstruction(x_test, decoder(codes))))),
    "nats",
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# $d \log 2$, 543.4 nats for $d = 784$: logits of 0 mean that each pixel is a fair coin.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* $d \log 2$: every pixel is a fair coin, 784 · 0.693 = 543.4 nats. If you see a different number before
# training, there is a bug; this is the cheapest test there is.

# %% [markdown]
# ## Exercise 6.4: the model, with `add_loss` (9 minutes)
#
# A Keras model can register losses during a call: whatever is passed to `self.add_loss(number)` is then found in `self.losses`.
# This keeps the objective next to the values that it is computed from. Fill in `call`:
#
# 1. draw z with your `sample`, and decode it into logits;
# 2. register the two terms, each the **mean over the batch**.
#
# <details><summary>Hint</summary>
#
# `x_logits = self.decoder(z)`, and for the first term `self.add_loss(ops.mean(reconstruction(x, x_logits)))`.
# </details>


# %%
class VAE(keras.Model):
    """Encoder, decoder, and the two terms of −ELBO."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.seed_generator = keras.random.SeedGenerator(0)
        self.loss_tracker = keras.metrics.Mean(name="mean_loss")

    def call(self, x):
        z_mean, z_log_var = ops.split(self.encoder(x), 2, axis=-1)
        noise = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        ### BEGIN SOLUTION
        z = sample(z_mean, z_log_var, noise)
        x_logits = self.decoder(z)
        self.add_loss(ops.mean(reconstruction(x, x_logits)))
        self.add_loss(ops.mean(kl(z_mean, z_log_var)))
        ### END SOLUTION
        return ops.sigmoid(x_logits)


VAE = kvae.worksheet.check("6.4", VAE)

# %% [markdown]
# ## Exercise 6.5: the training step (8 minutes)
#
# `fit` calls `train_step` on every batch. Keras's default would work here, but write it yourself once, in TensorFlow:
#
# 1. under a `tf.GradientTape`, call the model on `x` with `training=True` and sum `self.losses`, as `loss`;
# 2. take the gradients of `loss` with respect to `self.trainable_variables`;
# 3. pass both to `self.optimizer.apply`.
#
# <details><summary>Hint</summary>
#
# ```python
# with tf.GradientTape() as tape:
#     ...
# gradients = tape.gradient(loss, self.trainable_variables)
# ```
# </details>


# %%
class TrainableVAE(VAE):
    """The VAE with its own training step."""

    def train_step(self, x):
        ### BEGIN SOLUTION
        with tf.GradientTape() as tape:
            self(x, training=True)
            loss = sum(self.losses)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        ### END SOLUTION
        self.loss_tracker.update_state(loss)  # so that `fit` reports the mean over the epoch
        return {"loss": self.loss_tracker.result()}


TrainableVAE = kvae.worksheet.check("6.5", TrainableVAE)

# %% [markdown]
# ## Training
#
# **Predict before you run.** Before training, the reconstruction term is near the number that you wrote down: the cell prints it, with the KL. (The curve starts lower, because its first
# point is the mean over the first epoch.) Does the loss fall to 0? What would a loss of 0 mean for each of the two terms?

# %%
model = TrainableVAE(encoder, decoder)
model.compile(optimizer=keras.optimizers.Adam(2e-3))
model(x_train)
before = [float(loss) for loss in model.losses]
history = model.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])
model(x_train)
for name, terms in {"before": before, "after": [float(loss) for loss in model.losses]}.items():
    print(f"{name:>6} training: reconstruction {terms[0]:.1f} + KL {terms[1]:.1f} = {sum(terms):.1f} nats")
kvae.worksheet.show(kvae.plots.history(history, title="Our VAE"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It does not. The reconstruction term would be 0 only if each pixel were certain, and the KL only if the code said
# nothing about the image: not both at once.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* It does not: with a KL of 0, z carries no information about x, and then the reconstruction cannot be exact. The
# loss is an upper bound on −log p(x), whose mean is positive for binary images that are not all the same.

# %% [markdown]
# ## The manifold
#
# Two latent dimensions fit on a page. `quantile_codes` returns the quantiles of $p(\mathbf z)$ along both axes, so each image represents
# an equal share of the prior.
#
# **Predict before you run.** Will there be images between two digits? Where on the page are the most probable codes, and where the least probable?

# %%
grid = kvae.plots.quantile_codes(12)  # (12, 12, 2): the first coordinate increases to the right, the second upwards
images = ops.convert_to_numpy(ops.sigmoid(model.decoder(grid.reshape(-1, 2))))
manifold = images.reshape(12, 12, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(manifold, title="What z decodes to", gap=1))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Yes: a step in the plane changes the image a little. The most probable codes are in the middle of the page and the
# least probable at its edges; but all images represent equal shares of the prior.
# </details>

# %% [markdown]
# Neighbours look alike because, for each training image, the decoder saw a cloud of codes $\boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$ and had to
# decode all of them to that image; and the KL term pulls the clouds together until there are hardly any gaps.
#
# ## `kvae.VAE` does the same
#
# You have written the core of `kvae.VAE`. The class adds likelihoods, posteriors, bounds, labels, callbacks and saving.

# %%
keras.utils.set_random_seed(0)
library = kvae.VAE(*networks(), seed=0)
library.compile(optimizer=keras.optimizers.Adam(2e-3))
library.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])

for name, each in {
    "ours": VAE(model.encoder, model.decoder),
    "kvae.VAE": VAE(library.encoder, library.decoder),
}.items():
    each(x_test)
    print(f"{name:>8}: −ELBO on the test images {float(sum(each.losses)):.1f} nats")

# %% [markdown]
# ## Exercise 6.6: find the bug (8 minutes)
#
# This model was trained for as many epochs on the same data. Its author reports a much lower loss than yours.
#
# **Predict before you run.** What do you expect its samples to look like?


# %%
def broken_loss(x, x_logits, z_mean, z_log_var):
    """The author's −ELBO of each image."""
    crossentropy = ops.binary_crossentropy(x, x_logits, from_logits=True)
    divergence = 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0)
    return ops.mean(crossentropy, axis=(1, 2, 3)) + ops.sum(divergence, axis=-1)


class BrokenVAE(keras.Model):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def call(self, x):
        z_mean, z_log_var = ops.split(self.encoder(x), 2, axis=-1)
        x_logits = self.decoder(sample(z_mean, z_log_var, keras.random.normal(ops.shape(z_mean))))
        self.add_loss(ops.mean(broken_loss(x, x_logits, z_mean, z_log_var)))
        return x_logits


keras.utils.set_random_seed(0)
broken = BrokenVAE(*networks())
broken.compile(optimizer=keras.optimizers.Adam(2e-3))
history = broken.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])
z_mean, z_log_var = ops.split(broken.encoder(x_test), 2, axis=-1)
print(f"its loss {history.history['loss'][-1]:.2f}, its KL {float(ops.mean(kl(z_mean, z_log_var))):.3f} nats")
samples = [
    ops.convert_to_numpy(ops.sigmoid(each.decoder(keras.random.normal((12, LATENT_DIM), seed=1))))
    for each in (model, broken)
]
kvae.worksheet.show(kvae.plots.image_grid(np.stack(samples), row_labels=["ours", "broken"], title="Samples"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Not digits. See below why they all look alike.
# </details>

# %% [markdown]
# Whatever z is, the decoder draws the same image. As the KL shows, the code is not used: the posterior has **collapsed** onto the prior.
# Which line of `broken_loss` made that worthwhile? Write the correct loss; you can use your functions from above.
#
# <details><summary>Hint</summary>
#
# At most how many nats can a code save, given the way in which the pixels are combined here?
# </details>


# %%
def fixed_loss(x, x_logits, z_mean, z_log_var):
    """−ELBO of each image, `(batch,)`, in nats."""
    ### BEGIN SOLUTION
    return reconstruction(x, x_logits) + kl(z_mean, z_log_var)
    ### END SOLUTION


fixed_loss = kvae.worksheet.check("6.6", fixed_loss)

# %% [markdown] tags=["instructor"]
# *For the instructor.* The mean over the pixels divides the reconstruction term by d, which is equivalent to weighting the KL by
# β = d = 784. No code is worth its cost any more. The bug is common because `keras.losses` average, and because the
# loss looks better in nats per pixel.

# %% [markdown]
# ## Exercise 6.7, stretch: the KL without a closed form (at home, or if you finish early)
#
# For most posteriors there is no closed form. But the KL is an expectation, which we can estimate from samples:
#
# $$D_{\mathrm{KL}}[q_\phi \,\|\, p] = \mathbb E_{q_\phi(\mathbf z \mid \mathbf x)}\left[\log q_\phi(\mathbf z \mid \mathbf x) - \log p(\mathbf z)\right]$$
#
# Write the expression in brackets for one sample per image, then see how its mean over many samples approaches your closed form.
#
# <details><summary>Hint</summary>
#
# $\log \mathcal N(z \mid \mu, \sigma^2) = -\tfrac12 \left[\log 2\pi + \log \sigma^2 + (z - \mu)^2 / \sigma^2\right]$; the $\log 2\pi$ cancels.
# </details>


# %%
def log_ratio(z, z_mean, z_log_var):
    """log q(z|x) − log p(z) of each image, `(batch,)`, in nats; all arguments `(batch, latent)`."""
    ### BEGIN SOLUTION
    log_q = -0.5 * (z_log_var + ops.square(z - z_mean) * ops.exp(-z_log_var))
    log_p = -0.5 * ops.square(z)
    return ops.sum(log_q - log_p, axis=-1)
    ### END SOLUTION


log_ratio = kvae.worksheet.check("6.7", log_ratio)

# %%
z_mean, z_log_var = ops.split(model.encoder(x_test), 2, axis=-1)
print(f"closed form: {float(ops.mean(kl(z_mean, z_log_var))):.3f} nats")
estimates = []
for number in (1, 10, 100):
    while len(estimates) < number:
        noise = keras.random.normal(ops.shape(z_mean), seed=len(estimates))
        estimates.append(float(ops.mean(log_ratio(sample(z_mean, z_log_var, noise), z_mean, z_log_var))))
    print(f"{number:>3} samples per image: {np.mean(estimates):.3f} nats")

# %% [markdown]
# ## Summary
#
# - −ELBO = reconstruction + KL. Both are **summed** within an image (over pixels, over latent dimensions) and **averaged** over images.
# - The noise enters from outside: $\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$.
# - `add_loss` in `call` keeps the objective next to the values that it is computed from; `train_step` minimises `sum(self.losses)`.
# - Before training, the reconstruction term is $d \log 2$. If it is not, look for a mean instead of a sum, or for one sigmoid too many or too few.
# - If the KL is near 0 and all samples look alike, the posterior has collapsed. First check that the two terms have the same units.
#
# **Next:** worksheet 7 gives the KL a weight on purpose, and makes the bound tighter.
