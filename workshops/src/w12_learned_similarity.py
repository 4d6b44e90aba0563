# ---
# jupyter:
#   kvae:
#     worksheet: 12
#     topic: Sharp
#     about: "a learned similarity (VAE/GAN), convolutions, the discriminator, which gradient goes where"
#     lectures: "003"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 12: Sharp, by a learned similarity
#
# **50 minutes.** After it you can
#
# 1. say why a VAE with a likelihood of pixels is blurred, and what it means to compare images by learned features instead;
# 2. compute the shape of a convolution, the loss of a discriminator from its logits, and a likelihood of features;
# 3. say which of the three losses of a VAE/GAN trains which of its three networks, and why not the others;
# 4. recognise a discriminator that has been trained to be fooled, although all losses look good.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last
# line checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours if it is not, so
# the cells further down always run. You need a VAE in Keras (worksheet 6). The times allow for a second attempt at each exercise.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 6 minutes, exercises 12.1 to 12.5 take 34, the figures and the summary 10. Draw the three networks on the board, with an arrow for each loss: 12.4 and 12.5
# are about which arrows go back. Fast students continue with 12.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # the training step below is written for TensorFlow
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from scipy.ndimage import zoom

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes several times as long
EPOCHS = {"digits": 60, "mnist": 12}[DATASET]
LATENT_DIM, BETA, GAMMA = 8, 0.05, 1.0

data = kvae.load_data(DATASET)
x_train, x_test, y_test = data.x_train[:10_000], data.x_test[:1000], data.y_test[:1000]


def networks():
    """A new encoder, from images to [μ, log σ²], and decoder, from codes to logits of the pixels."""
    return kvae.networks.mlp(data.image_shape, LATENT_DIM, hidden=(256, 128))


def larger(images):
    """Images drawn larger, with soft pixels, so that 8×8 of them can be read from the back of a room."""
    factor = max(1, 40 // images.shape[-2])
    return np.clip(zoom(images, (1,) * (images.ndim - 3) + (factor, factor, 1), order=1), 0, 1)


keras.utils.set_random_seed(0)
gaussian = kvae.distributions.Normal(sigma=0.2)
pair = kvae.networks.mlp(data.image_shape, LATENT_DIM, hidden=(256, 128), likelihood=gaussian)
vae = kvae.VAE(*pair, likelihood=gaussian, seed=0)
vae.compile(optimizer=keras.optimizers.Adam(2e-3))
progress = [kvae.worksheet.progress()]
vae.fit(x_train, epochs=EPOCHS // 2, batch_size=64, verbose=0, callbacks=progress)
rows = {"real": x_test[:10], "VAE": vae.reconstruct(x_test[:10]), "VAE, drawn": vae.generate(10, seed=0)}
title = "Real digits, and a VAE's"
kvae.worksheet.show(kvae.plots.image_grid(larger(np.stack(list(rows.values()))), list(rows), title=title))

# %% [markdown]
# ## Why a VAE is blurred
#
# $-\log p_\theta(\mathbf x \mid \mathbf z)$ of pixels compares them one by one. Move a stroke by one pixel and to us it is the same digit; pixel by pixel it is wrong twice, where the stroke was and where it is. Where the code does not say
# exactly where the stroke is, the safest answer is grey: a blur. Lecture 003 shows a way out, that of Larsen, Sønderby, Larochelle and Winther (2016), "GAN + VAE, best of both models": compare images by the **features of a discriminator** $D$, a network that is trained to tell real images from decoded ones, and so learns what matters.
#
# | network | from | to |
# | --- | --- | --- |
# | encoder | image $\mathbf x$ | $q_\phi(\mathbf z \mid \mathbf x)$ |
# | decoder | a code | $\tilde{\mathbf x}$ from $\mathbf z \sim q_\phi(\mathbf z \mid \mathbf x)$, and $\mathbf x_p$ from $\mathbf z_p \sim p(\mathbf z)$ |
# | discriminator | image | features $D_l$ of a hidden layer, and the probability $D$ that it is real |
#
# ## Exercise 12.1: the shape of a convolution (6 minutes)
#
# For images, the discriminator uses strided convolutions, as DCGAN does (lecture 003). A convolution moves $f$ filters of $k \times k$ pixels over the image in steps of the **stride** $s$; each filter sums over all $c$ channels of its input, and has a bias. With `padding="same"` the sides of the output are
#
# $$\left\lceil \frac{\text{height}}{s} \right\rceil \times \left\lceil \frac{\text{width}}{s} \right\rceil$$
#
# How many channels does it have, and how many parameters are there to learn?
#
# <details><summary>Hint</summary>
#
# `-(-a // b)` rounds up. One filter is a block of $k \cdot k \cdot c$ weights, used at every position, and one bias.
# </details>


# %%
def convolution(height, width, channels, filters, kernel, stride):
    """Height, width and channels of the output, and the number of parameters: four integers."""
    ### BEGIN SOLUTION
    new_height, new_width = -(-height // stride), -(-width // stride)
    parameters = (kernel * kernel * channels + 1) * filters
    return new_height, new_width, filters, parameters
    ### END SOLUTION


convolution = kvae.worksheet.check("12.1", convolution)


# %%
def make_discriminator():
    """Two convolutions, the second of which gives the features, and a logit."""
    x = keras.Input(data.image_shape)
    h = layers.LeakyReLU(0.2)(layers.Conv2D(32, 4, strides=2, padding="same")(x))
    h = layers.LeakyReLU(0.2, name="features")(layers.Conv2D(64, 4, strides=2, padding="same")(h))
    return keras.Model(x, layers.Dense(1)(layers.Flatten()(h)), name="discriminator")


shape = data.image_shape
convolutions = [layer for layer in make_discriminator().layers if isinstance(layer, layers.Conv2D)]
for filters, layer in zip((32, 64), convolutions, strict=True):
    *shape, count = convolution(*shape, filters, 4, 2)
    print(f"{tuple(shape)} with {count} parameters; Keras says {layer.output.shape[1:]} with {layer.count_params()}")

# %% [markdown]
# ## Exercise 12.2: the discriminator's loss (6 minutes)
#
# It minimises the cross-entropy of "real or decoded?". It sees a real image, its reconstruction and a new image:
#
# $$\text{judging} = -\log D(\mathbf x) - \log\big(1 - D(\tilde{\mathbf x})\big) - \log\big(1 - D(\mathbf x_p)\big), \qquad D = \operatorname{sigmoid}(a)$$
#
# The network gives the logits $a$. Work with them directly: $\operatorname{sigmoid}(-120)$ is 0 in float32, and its logarithm is not a number to learn from.
#
# <details><summary>Hint</summary>
#
# $-\log \operatorname{sigmoid}(a) = \log(1 + e^{-a}) =$ `ops.softplus(-a)`, and $1 - \operatorname{sigmoid}(a) = \operatorname{sigmoid}(-a)$.
# </details>


# %%
def discriminator_loss(real, decoded, drawn):
    """Judging, `(batch,)`, from the logits `(batch,)` of x, x̃ and x_p. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.softplus(-real) + ops.softplus(decoded) + ops.softplus(drawn)
    ### END SOLUTION


discriminator_loss = kvae.worksheet.check("12.2", discriminator_loss)

# %% [markdown]
# ## Exercise 12.3: a likelihood of features (7 minutes)
#
# The likelihood is still Gaussian, but of the $m$ features of layer $l$ instead of the pixels, with variance 1:
#
# $$-\log p(D_l(\mathbf x) \mid \mathbf z) = -\log \mathcal N\big(D_l(\mathbf x) \mid D_l(\tilde{\mathbf x}), \mathbf I\big) = \tfrac12 \lVert D_l(\mathbf x) - D_l(\tilde{\mathbf x}) \rVert^2 + \tfrac m2 \ln 2\pi$$
#
# <details><summary>Hint</summary>
#
# The features have the shape `(batch, height, width, channels)`: sum the squares over `axis=(1, 2, 3)`, and $m$ is the product `np.prod(real.shape[1:])`.
# </details>


# %%
def feature_loss(real, decoded):
    """−log N(D_l(x) | D_l(x̃), I), `(batch,)`; features `(batch, height, width, channels)`. Use keras.ops."""
    ### BEGIN SOLUTION
    squares = ops.sum(ops.square(real - decoded), axis=(1, 2, 3))
    count = float(np.prod(real.shape[1:]))
    return 0.5 * squares + 0.5 * count * np.log(2 * np.pi)
    ### END SOLUTION


feature_loss = kvae.worksheet.check("12.3", feature_loss)

# %% [markdown]
# ## Exercise 12.4: which gradient goes where (8 minutes)
#
# There are four terms, and three networks that want different things:
#
# - the **encoder**: codes that fit the prior, with the KL weighted by $\beta$, and that keep the features. It takes no part in the GAN;
# - the **decoder**: the same features, weighted by $\gamma$, and images that $D$ takes for real, $\text{fooling} = -\log D(\tilde{\mathbf x}) - \log D(\mathbf x_p)$;
# - the **discriminator**: judging, and nothing else.
#
# Each gets a loss of its own, and later only its own variables are moved by it. What would happen if all three minimised one sum?


# %%
def network_losses(kl, feature, fooling, judging, beta, gamma):
    """Losses of encoder, decoder and discriminator, each `(batch,)`, from four terms `(batch,)` and two weights."""
    ### BEGIN SOLUTION
    encoder_loss = beta * kl + feature
    decoder_loss = gamma * feature + fooling
    return encoder_loss, decoder_loss, judging
    ### END SOLUTION


network_losses = kvae.worksheet.check("12.4", network_losses)

# %% [markdown] tags=["instructor"]
# *For the instructor.* In one sum, fooling and judging pull D in opposite directions, and D can make the feature loss vanish by features that are always 0. The encoder could lower fooling by codes whose images are easy to draw, all alike.

# %% [markdown]
# ## Exercise 12.5: find the bug (7 minutes)
#
# The training step below takes the gradient of each loss and passes it to an optimizer. `updates` says **which variables** each loss moves. A colleague reasons: the decoder's loss is computed by the decoder *and* the discriminator, so both need its gradient.
#
# **Predict before you run.** Without its constant, the feature loss says by how much the features still differ. How will it develop in their training, and how will the digits look?


# %%
class VAEGAN(keras.Model):
    """Three networks, three losses, and a training step; `updates` gives pairs of a loss and variables."""

    def __init__(self, updates):
        super().__init__()
        self.encoder, self.decoder = networks()
        self.discriminator = make_discriminator()
        self.networks = (self.encoder, self.decoder, self.discriminator)
        layer = self.discriminator.get_layer("features")
        self.judge = keras.Model(self.discriminator.inputs, [layer.output, *self.discriminator.outputs])
        self.updates = updates
        self.adams = [keras.optimizers.Adam(rate, beta_1=0.5) for rate in (1e-3, 1e-3, 5e-4)]
        for adam, (_, variables) in zip(self.adams, updates("edD", *self.networks), strict=True):
            adam.build(variables)
        self.seed_generator = keras.random.SeedGenerator(0)

    def terms(self, x):
        """KL, feature loss, fooling and judging, each `(batch,)`."""
        z_mean, z_log_var = ops.split(self.encoder(x), 2, axis=-1)
        noise = keras.random.normal((2, *ops.shape(z_mean)), seed=self.seed_generator)
        z = z_mean + ops.exp(0.5 * z_log_var) * noise[0]
        decoded, drawn = (ops.sigmoid(self.decoder(code)) for code in (z, noise[1]))
        (features, real), (decoded_features, decoded), (_, drawn) = map(self.judge, (x, decoded, drawn))
        kl = 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0, axis=-1)
        fooling = ops.softplus(-decoded[:, 0]) + ops.softplus(-drawn[:, 0])
        judging = discriminator_loss(real[:, 0], decoded[:, 0], drawn[:, 0])
        return kl, feature_loss(features, decoded_features), fooling, judging

    def train_step(self, x):
        with tf.GradientTape(persistent=True) as tape:
            terms = self.terms(x)
            losses = [ops.mean(loss) for loss in network_losses(*terms, BETA, GAMMA)]
        pairs = self.updates(losses, *self.networks)
        for adam, (loss, variables) in zip(self.adams, pairs, strict=True):
            adam.apply(tape.gradient(loss, variables), variables)
        return {name: ops.mean(term) for name, term in zip(("kl", "feature", "fooling", "judging"), terms, strict=True)}

    def reconstruct(self, x):
        """Pixels decoded from the mean of q(z|x)."""
        return ops.convert_to_numpy(ops.sigmoid(self.decoder(self.encoder(x)[:, :LATENT_DIM])))

    def generate(self, n):
        """Pixels decoded from n draws of the prior."""
        return ops.convert_to_numpy(ops.sigmoid(self.decoder(keras.random.normal((n, LATENT_DIM), seed=0))))


def train(updates, epochs):
    """A VAE/GAN, and its training curves."""
    keras.utils.set_random_seed(0)
    model = VAEGAN(updates)
    model.compile(jit_compile=False)
    full = len(x_train) // 64 * 64  # batches of equal size
    return model, model.fit(x_train[:full], epochs=epochs, batch_size=64, verbose=0, callbacks=progress).history


def broken_updates(losses, encoder, decoder, discriminator):
    """The colleague's pairs of a loss and the variables that it moves."""
    encoder_loss, decoder_loss, discriminator_loss = losses
    return [
        (encoder_loss, encoder.trainable_variables),
        (decoder_loss, decoder.trainable_variables + discriminator.trainable_variables),
        (discriminator_loss, discriminator.trainable_variables),
    ]


broken, broken_curves = train(broken_updates, EPOCHS // 3)
constant = 0.5 * np.prod(broken.discriminator.get_layer("features").output.shape[1:]) * np.log(2 * np.pi)
last = {name: values[-1] for name, values in broken_curves.items()}
print(f"theirs: features differ by {last['feature'] - constant:.3f} nats", end=", ")
print(", ".join(f"{name} {last[name]:.2f} nats" for name in ("kl", "judging", "fooling")))
rows = {"real": x_test[:10], "theirs": broken.reconstruct(x_test[:10]), "theirs, drawn": broken.generate(10)}
kvae.worksheet.show(kvae.plots.image_grid(larger(np.stack(list(rows.values()))), list(rows), title="Theirs"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It falls to nearly nothing, and so do fooling and the KL: on paper all is well. And every image is the same one, which is not even a digit.
# </details>
#
# A discriminator that is trained to be fooled and to find all images alike is no judge: its features say less and less, so nothing tells the decoder what to draw. Only judging gives it away: at 8.8 nats, $D$ takes nearly everything for the wrong thing. Write the pairs so that each loss moves **its own network only**.
#
# <details><summary>Hint</summary>
#
# The gradient of the decoder's loss passes *through* the discriminator to the decoder. It must not stop there and move it.
# </details>


# %%
def updates(losses, encoder, decoder, discriminator):
    """Three pairs (loss, variables that it moves); each network has `trainable_variables`."""
    ### BEGIN SOLUTION
    networks = (encoder, decoder, discriminator)
    return [(loss, network.trainable_variables) for loss, network in zip(losses, networks, strict=True)]
    ### END SOLUTION


updates = kvae.worksheet.check("12.5", updates)

# %% [markdown]
# ## Training
#
# **Predict before you run.** Judging is $3 \ln 2 = 2.1$ nats for a discriminator that only guesses; 0 would mean that it has won. Where will ours settle, and theirs? Does the loss of a GAN fall as that of a VAE does?

# %%
model, curves = train(updates, EPOCHS)
figure = new_figure(11, 4.8, "Two trainings of the same VAE/GAN")
panels = {"features differ, nats": lambda c: np.array(c["feature"]) - constant, "judging, nats": lambda c: c["judging"]}
for axes, (title, value) in zip(figure.subplots(1, 2), panels.items(), strict=True):
    for color, (name, each) in zip(COLORS, {"ours": curves, "theirs": broken_curves}.items(), strict=False):
        axes.plot(value(each), color=color, linewidth=3, label=name)
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Ours stays a little below $3 \ln 2$: the two networks are level. Theirs grows far above, because the decoder's loss trains $D$ to be wrong. And no, ours does not fall: the judge gets better as the decoder does, so the number says who is ahead, not how good the images are.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Theirs looks better in the left panel: the features hardly differ, and that is the symptom. A loss that another network computes is only as good as that network.

# %% [markdown]
# ## The picture
#
# For comparison, VAE$_{\text{Dis}}$ of lecture 003: *train a GAN first, then use the discriminator of the GAN to train a VAE.* Its discriminator does not change any more.
#
# **Predict before you run.** Which model is the most faithful to the pixels when it reconstructs, and which draws the sharpest new images? Is it the same one?

# %%
keras.utils.set_random_seed(0)
gan = kvae.GAN(networks()[1], make_discriminator(), seed=0)
gan.compile(
    optimizer=keras.optimizers.Adam(1e-3, beta_1=0.5), discriminator_optimizer=keras.optimizers.Adam(5e-4, beta_1=0.5)
)
gan.fit(x_train, epochs=EPOCHS // 2, batch_size=64, verbose=0, callbacks=progress)
vae_dis = kvae.VAEGAN(*networks(), gan.discriminator, learned_similarity="frozen", beta=0.02, seed=0)
vae_dis.compile(optimizer=keras.optimizers.Adam(2e-3))
vae_dis.fit(x_train, epochs=EPOCHS // 2, batch_size=64, verbose=0, callbacks=progress)


def sharpness(images):
    """Mean absolute difference of neighbouring pixels."""
    return np.mean([np.abs(np.diff(images, axis=axis)).mean() for axis in (1, 2)])


rows = {
    "real": x_test,
    "VAE": vae.reconstruct(x_test),
    "VAE_Dis": vae_dis.reconstruct(x_test),
    "VAE/GAN": model.reconstruct(x_test),
}
drawn = {"VAE": vae.generate(500, seed=0), "VAE_Dis": vae_dis.generate(500, seed=0), "VAE/GAN": model.generate(500)}
print(f"real images: sharpness {sharpness(x_test):.3f}")
for name, images in drawn.items():
    error = np.mean((rows[name] - x_test) ** 2)
    print(
        f"{name:>11}: reconstructions' squared error {error:.3f} per pixel, new images' sharpness {sharpness(images):.3f}"
    )
shown = [np.flatnonzero(y_test == k)[1] for k in range(10)]
grid = larger(np.stack([images[shown] for images in rows.values()]))
kvae.worksheet.show(kvae.plots.image_grid(grid, list(rows), title="Reconstructions"))
rows = {"VAE": vae.generate(10, seed=0), "VAE_Dis": vae_dis.generate(10, seed=0), "VAE/GAN": model.generate(10)}
kvae.worksheet.show(
    kvae.plots.image_grid(larger(np.stack(list(rows.values()))), list(rows), title="Drawn from the prior")
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The VAE is the most faithful: it is the only one trained on pixels. The VAE/GAN is the least faithful and draws the sharpest new images: white strokes on black (last row), where those of the VAE and of VAE$_{\text{Dis}}$ are grey in places.
# Reconstructions of all three are about as sharp here, since eight numbers tell nearly everything about 64 pixels; the difference grows with the size of the images.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Sharpness is printed for new images, because in reconstructions no model has much to blur here. VAE$_{\text{Dis}}$ depends on what the GAN's discriminator happened to learn.

# %% [markdown]
# ## Exercise 12.6, stretch: the progression of an attribute (at home, or if you finish early)
#
# Lecture 003 moves one attribute of a face and leaves the rest. Larsen et al. need no conditional model for it: the direction of an attribute is the difference of two means of codes,
#
# $$\mathbf v = \operatorname{mean}_{\text{with}} \mathbf z - \operatorname{mean}_{\text{without}} \mathbf z, \qquad \mathbf z_t = \mathbf z + t\, \mathbf v$$
#
# <details><summary>Hint</summary>
#
# `codes[has]` are the codes with the attribute and `codes[~has]` the others. `steps[:, None] * v` has the shape `(steps, latent)`; add it to `z[:, None]`.
# </details>


# %%
def progression(codes, has, z, steps):
    """Codes `(n, steps, latent)` from z `(n, latent)`; codes `(m, latent)`, has `(m,)` Booleans, steps `(steps,)`."""
    ### BEGIN SOLUTION
    v = codes[has].mean(axis=0) - codes[~has].mean(axis=0)
    return z[:, None] + steps[:, None] * v
    ### END SOLUTION


progression = kvae.worksheet.check("12.6", progression)


# %%
def width(images):
    """Standard deviation of the ink across the columns of each image `(n,)`, in pixels."""
    ink = images.sum(axis=(1, 3)) / images.sum(axis=(1, 2, 3))[:, None]
    columns = np.arange(images.shape[2])
    return np.sqrt(ink @ columns**2 - (ink @ columns) ** 2)


codes = ops.convert_to_numpy(model.encoder(x_train))[:, :LATENT_DIM]
wide = width(x_train) > np.median(width(x_train))  # the attribute: wider than half of the digits
steps = np.linspace(-1.5, 1.5, 7)
z = ops.convert_to_numpy(model.encoder(x_test[shown[2:8]]))[:, :LATENT_DIM]
moved = progression(codes, wide, z, steps).astype("float32")
images = ops.convert_to_numpy(ops.sigmoid(model.decoder(moved.reshape(-1, LATENT_DIM))))
grid = larger(images.reshape(len(z), len(steps), *data.image_shape))
names = [f"t = {t:g}".replace("-", "−") for t in steps]
print("mean width in pixels:", ", ".join(f"{w:.2f}" for w in width(images).reshape(len(z), -1).mean(axis=0)))
kvae.worksheet.show(kvae.plots.image_grid(grid, None, names, title="From narrow to wide"))

# %% [markdown]
# ## Summary
#
# - A likelihood of pixels makes a VAE blurred: where the code leaves something open, grey is the safest answer.
# - A VAE/GAN compares features of a discriminator instead, which learns what tells real images from decoded ones.
# - Three networks, three losses, each of which moves its own network. The gradient passes *through* the discriminator and does not move it.
# - A loss computed by a trained network means nothing if that network may make it small. Look at images.
# - Sharp is not faithful: the model with the best pixels is not the one that draws the sharpest pictures.
#
# In kvae: `kvae.VAEGAN` (with `learned_similarity="frozen"` for VAE$_{\text{Dis}}$), `kvae.GAN`, `kvae.IntroVAE`, `kvae.networks.discriminator`.
