# ---
# jupyter:
#   kvae:
#     worksheet: 8
#     topic: Conditional VAE
#     about: "digits on demand, style × digit, style transfer, label agreement"
#     lectures: "003"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 8: Conditional VAE
#
# **50 minutes.** After it you can
#
# 1. turn a VAE into a conditional VAE, and say where the label $y$ enters the derivation;
# 2. draw a requested digit, all ten digits in one handwriting, and another digit in your own;
# 3. measure whether a model draws what it was asked for, and say what that number does not tell you;
# 4. recognise a model that ignores its label, although its loss looks good.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last
# line checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours if it is not, so
# the cells further down always run. You need the two terms of the ELBO in Keras (worksheet 6).

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 4 minutes, exercises 8.1 to 8.6 take 38, the figures and the summary
# 8. Keep the figures of 8.3 and 8.4 on the projector: a row is one z, a column one y. Fast students continue with 8.7.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import layers, ops

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes about three minutes instead of one
EPOCHS = {"digits": 40, "mnist": 4}[DATASET]
LATENT_DIM, NUM_CLASSES, SIGMA = 2, 10, 0.2
DIGITS = np.arange(NUM_CLASSES)

keras.utils.set_random_seed(0)
data = kvae.load_data(DATASET)
x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train, data.x_test))  # images as vectors of d pixels
y_train, y_test = data.y_train, data.y_test
print("training images", x_train.shape, "labels", y_train.shape, "the first:", y_train[:10])
rows = np.stack([data.x_train[y_train == digit][:8] for digit in DIGITS], axis=1)
kvae.worksheet.show(kvae.plots.image_grid(rows, column_labels=list(DIGITS), title="Images x and their labels y"))

# %% [markdown]
# ## The model
#
# A VAE draws *some* digit. To draw a particular one on request, it must know the label. Lecture 003: **the derivation does not change.**
# Just condition everything on $y$:
#
# $$\log p_\theta(\mathbf x \mid y) \ge \mathcal L(\mathbf x, y)
# = \mathbb E_{q_\phi(\mathbf z \mid \mathbf x, y)}\big[\log p_\theta(\mathbf x \mid \mathbf z, y)\big]
# - D_{\mathrm{KL}}\big[q_\phi(\mathbf z \mid \mathbf x, y) \,\|\, p(\mathbf z)\big], \qquad p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I)$$
#
# The prior does not depend on $y$: whichever digit is requested, $\mathbf z$ comes from the same distribution. So $\mathbf z$ need not encode
# the digit; what is left for it is everything that the label does *not* determine: the **style**.
#
# The pixels are grey here, so the likelihood is a Gaussian around the decoder's output, $p_\theta(\mathbf x \mid \mathbf z, y) = \mathcal N(\mathbf m(\mathbf z, y), \sigma^2 \mathbf I)$, and its negative
# logarithm is the squared error of lecture 003 divided by $2\sigma^2$, plus a constant. (It is a density, so $-\mathcal L$ can be negative; only differences matter.) Here are the two terms, as in worksheet 6, and two plain networks. Look at their inputs.


# %%
def reconstruction(x, x_mean):
    """−log p(x|z, y) of each image, `(batch,)`: a Gaussian with standard deviation 0.2 in each pixel."""
    return ops.sum(0.5 * ops.square((x - x_mean) / SIGMA) + np.log(SIGMA * np.sqrt(2 * np.pi)), axis=-1)


def kl(z_mean, z_log_var):
    """KL(q(z|x, y) ‖ p(z)) of each image, `(batch,)`."""
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0, axis=-1)


def network(inputs, outputs):
    """A network from vectors to vectors, with two hidden layers and no activation at the end."""
    hidden = [layers.Dense(128, activation="relu"), layers.Dense(128, activation="relu")]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(outputs)])


def networks():
    """A new encoder, from pixels and label to [μ, log σ²], and decoder, from code and label to pixels."""
    pixels = x_train.shape[-1]
    return network(pixels + NUM_CLASSES, 2 * LATENT_DIM), network(LATENT_DIM + NUM_CLASSES, pixels)


# %% [markdown]
# ## Exercise 8.1: appending the label (4 minutes)
#
# Networks compute with numbers, but a 7 is not "more" than a 3. So we encode a label as a vector of ten entries, with a 1 at the position of
# the digit and 0 elsewhere, and append it to the vector $\mathbf h$:
#
# $$[\,\mathbf h,\ \operatorname{onehot}(y)\,] = [h_1, \dots, h_m, 0, \dots, 1, \dots, 0]$$
#
# <details><summary>Hint</summary>
#
# `ops.one_hot(y, NUM_CLASSES)` and `ops.concatenate([…, …], axis=-1)`.
# </details>


# %%
def beside(h, y):
    """Append labels `(batch,)`, integers, to vectors `(batch, m)`: vectors `(batch, m + 10)`. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.concatenate([h, ops.one_hot(y, NUM_CLASSES)], axis=-1)
    ### END SOLUTION


beside = kvae.worksheet.check("8.1", beside)

# %% [markdown]
# ## Exercise 8.2: the bound, given the label (9 minutes)
#
# Compute $-\mathcal L(\mathbf x, y)$ of each image with one sample $\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$. Look at the formula above:
# where does it say that the encoder sees $y$, and where the decoder?
#
# <details><summary>Hint</summary>
#
# `z_mean, z_log_var = ops.split(encoder(…), 2, axis=-1)` gives $\boldsymbol\mu$ and $\log \boldsymbol\sigma^2$. Use your `beside` twice, and `reconstruction` and `kl` once each.
# </details>


# %%
def minus_elbo(encoder, decoder, x, y, noise):
    """−ELBO of each image given its label, `(batch,)`; `noise` is ε `(batch, latent)`."""
    ### BEGIN SOLUTION
    z_mean, z_log_var = ops.split(encoder(beside(x, y)), 2, axis=-1)
    z = z_mean + ops.exp(0.5 * z_log_var) * noise
    x_mean = decoder(beside(z, y))
    return reconstruction(x, x_mean) + kl(z_mean, z_log_var)
    ### END SOLUTION


minus_elbo = kvae.worksheet.check("8.2", minus_elbo)

# %% [markdown]
# ## Training, and digits on demand
#
# We train with your loss twice: once with the labels, and once with the label 0 for every image. A constant label carries
# no information, so the second model is a plain VAE. To draw, we do not need the encoder: $\mathbf z \sim p(\mathbf z)$, and $y$ is the digit we request.
#
# **Predict before you run.** Which model has the lower $-\mathcal L$ on test images, and by how many nats? (Encoding one of ten digits takes $\ln 10 = 2.3$ nats.)
# And what will the plain VAE draw when we ask for a 7?


# %%
class CVAE(keras.Model):
    """Encoder, decoder, and your loss."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        x, y = inputs
        noise = keras.random.normal((ops.shape(x)[0], LATENT_DIM), seed=self.seed_generator)
        self.add_loss(ops.mean(minus_elbo(self.encoder, self.decoder, x, y, noise)))
        return x

    def encode(self, x, y):
        """Means of q(z|x, y), an array `(n, latent)`."""
        return ops.convert_to_numpy(self.encoder(beside(x, y)))[:, :LATENT_DIM]

    def decode(self, z, y):
        """Decoded pixels `(n, d)` of codes and labels."""
        return ops.convert_to_numpy(self.decoder(beside(z, y)))


models = {}
for name, use in {"plain": 0, "conditional": 1}.items():
    keras.utils.set_random_seed(0)
    models[name] = CVAE(*networks())
    models[name].compile(optimizer=keras.optimizers.Adam(2e-3))
    models[name].fit(
        [x_train, use * y_train], epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()]
    )
    models[name]([x_test, use * y_test])
    print(f"{name:>11}: −ELBO on the test images {float(models[name].losses[0]):.1f} nats")
model = models["conditional"]

rng = np.random.default_rng(0)
asked = np.repeat(DIGITS, 3)  # three of each digit
z = rng.standard_normal((len(asked), LATENT_DIM)).astype("float32")
drawn = [models["plain"].decode(z, 0 * asked), model.decode(z, asked)]
columns = [each.reshape(NUM_CLASSES, 3, *data.image_shape).swapaxes(0, 1) for each in drawn]
names = [*["plain"] * 3, *["conditional"] * 3]
kvae.worksheet.show(
    kvae.plots.image_grid(np.concatenate(columns), names, list(DIGITS), title="Samples, requested digit above")
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The conditional one, by more than the 2.3 nats of the label: with only two dimensions, the plain VAE has to spend
# them on the digit. Asked for a 7 it draws any digit: it has never seen a label.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* For the true distributions the difference is the mutual information of x and y, which is at most $\ln 10$ = 2.3 nats and reaches this value if
# images leave no doubt about the digit. Here it is larger: with only two latent dimensions, the plain VAE has to spend them on the digit, while the label
# makes them available for style. With `LATENT_DIM = 8` the difference is about half as large.

# %% [markdown]
# ## Exercise 8.3: one handwriting, ten digits (6 minutes)
#
# If $\mathbf z$ is the style, then the same $\mathbf z$ with ten labels should give ten digits in one handwriting:
#
# $$\text{image}_{s, j} = \mathbf m(\mathbf z_s, y_j), \qquad \text{one row per style } s,\ \text{one column per digit } j$$
#
# `decode(z, y)` takes as many codes as labels, so first list all pairs, row by row.
#
# <details><summary>Hint</summary>
#
# `np.repeat([1, 2], 3)` is 1 1 1 2 2 2, `np.tile([1, 2], 3)` is 1 2 1 2 1 2. Which one do you need for the styles (with `axis=0`), and which for the digits?
# </details>


# %%
def style_by_digit(decode, z, digits):
    """Each style `(s, latent)` with each digit `(j,)`: array `(s, j, d)`."""
    ### BEGIN SOLUTION
    codes = np.repeat(z, len(digits), axis=0)
    labels = np.tile(digits, len(z))
    return decode(codes, labels).reshape(len(z), len(digits), -1)
    ### END SOLUTION


style_by_digit = kvae.worksheet.check("8.3", style_by_digit)

# %% [markdown]
# **Predict before you run.** There are seven styles: five along the first latent dimension, two at the ends of the second. What will a row have in common?
# And a column? Name one property of handwriting that you expect to find.

# %%
styles = np.array([[-2, 0], [-1, 0], [0, 0], [1, 0], [2, 0], [0, -2], [0, 2]], "float32")
names = [f"z = ({a:g}, {b:g})".replace("-", "−") for a, b in styles]
grid = style_by_digit(model.decode, styles, DIGITS).reshape(len(styles), NUM_CLASSES, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(grid, names, list(DIGITS), title="Rows are styles, columns are digits"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# A row has one handwriting: the same slant, width or thickness. A column has one digit.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Along z₀ the 1s lose their flag and gain a foot; slant and width are other typical answers. A latent dimension need not mean the same for a 1 and an 8:
# nothing in the bound requires it. It comes from the networks being smooth and shared by all digits.

# %% [markdown]
# ## Exercise 8.4: your handwriting, another digit (6 minutes)
#
# The style need not come from the prior. Take it from a real image, and draw other digits in that handwriting. There are two steps and two labels: **which label do you encode with, and which do you decode with?**
#
# $$\mathbf z = \boldsymbol\mu(\mathbf x, \,?\,), \qquad \text{image}_j = \mathbf m(\mathbf z, \,?\,)$$
#
# <details><summary>Hint</summary>
#
# Once you have the styles, this is exercise 8.3. The encoder never saw a 3 labelled as an 8 in training.
# </details>


# %%
def style_transfer(encode, decode, x, y, digits):
    """The style of each image `(n, d)`, which shows the digit y `(n,)`, with each of `digits` `(j,)`: array `(n, j, d)`."""
    ### BEGIN SOLUTION
    return style_by_digit(decode, encode(x, y), digits)
    ### END SOLUTION


style_transfer = kvae.worksheet.check("8.4", style_transfer)

# %% [markdown]
# **Predict before you run.** First figure, rows of 4s: which column looks most like the real image, and does a slanted 4 give slanted digits? The other two figures show the codes of both
# models, coloured by digit. The codes of the plain VAE largely cluster by digit. What about those of the conditional VAE?

# %%
fours = np.flatnonzero(y_test == 4)
leaning = fours[np.argsort(model.encode(x_test[fours], y_test[fours])[:, 0])]
chosen = leaning[np.linspace(0, len(leaning) - 1, 6).astype(int)]  # from one end of z₀ to the other
images = style_transfer(model.encode, model.decode, x_test[chosen], y_test[chosen], DIGITS)
images = np.concatenate([x_test[chosen][:, None], images], axis=1).reshape(6, 11, *data.image_shape)
title = "Six 4s from the test set, and other digits in their style"
kvae.worksheet.show(kvae.plots.image_grid(images, None, ["real", *DIGITS], title=title))

for name, use in {"plain": 0, "conditional": 1}.items():
    z_train, z_test = (models[name].encode(x, use * y) for x, y in ((x_train, y_train), (x_test, y_test)))
    read = kvae.classifier.linear_probe(z_train, y_train, z_test, y_test)
    print(f"{name:>11}: a linear classifier predicts the digit from z for {read:.0%} of the test images")
    kvae.worksheet.show(kvae.plots.latent_scatter(z_test, y_test, title=f"Codes, {name}"), dpi=48)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The 4 in its own column, decoded under its own label; a slanted 4 gives slanted digits. The codes of the conditional
# VAE do not cluster by digit: all share one cloud.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* All digits share the same cloud: z need not repeat what y already says, and each nat of z has a cost.
# 10% correct predictions would be chance; what exceeds it is style that depends on the digit (1s are narrow), and q(z|x, y) not being perfect.

# %% [markdown]
# ## Exercise 8.5: does it draw what it was asked for? (6 minutes)
#
# We let a **judge** decide: a classifier trained on real images. For each digit $k$, the **label agreement** is
#
# $$a_k = \frac{\text{images requested as } k \text{ that the judge classifies as } k}{\text{images requested as } k}$$
#
# <details><summary>Hint</summary>
#
# `predicted == asked` is a Boolean array; select the entries where `asked == k`, and take their mean.
# </details>


# %%
def agreement(predicted, asked):
    """Label agreement of each digit, array `(10,)`, from the labels given by the judge and those asked for, `(n,)`."""
    ### BEGIN SOLUTION
    return np.array([np.mean(predicted[asked == k] == k) for k in range(NUM_CLASSES)])
    ### END SOLUTION


agreement = kvae.worksheet.check("8.5", agreement)

# %% [markdown]
# **Predict before you run.** Will the agreement be below the judge's accuracy on real images, or above? And what would be the agreement of a model that drew the very same perfect 7 for every requested 7?

# %%
from sklearn.svm import SVC

few = slice(5000)  # all of the digits; enough of MNIST
judge = SVC().fit(data.x_train[few].reshape(len(data.x_train[few]), -1), y_train[few])
print(f"accuracy of the judge on real test images {judge.score(x_test, y_test):.1%}")
asked = np.repeat(DIGITS, 100)
z = rng.standard_normal((len(asked), LATENT_DIM)).astype("float32")
for name, each in models.items():
    shares = agreement(judge.predict(each.decode(z, asked if name == "conditional" else 0 * asked)), asked)
    print(f"{name:>11}: agreement {shares.mean():.1%};", " ".join(f"{k}: {a:.2f}" for k, a in enumerate(shares)))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# If anything above: the images drawn are smoother and more typical than real ones. The same perfect 7 for each
# request would have 100%: the number does not measure variety.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* If anything, above: the model's images are smoother and more typical than real ones, so they are easier for the judge. And the very same 7
# a hundred times over has an agreement of 100%: the number does not measure variety. The figure of 8.3 shows it.

# %% [markdown]
# ## Exercise 8.6: find the bug (7 minutes)
#
# `kvae.CVAE` is a complete version of the model that you have written. A colleague wants to try it on a random subset of the data, and
# shuffles them first. Training runs, the loss falls, and the reconstructions are fine.
#
# **Predict before you run.** The code is short. Read it; what will you see in a row of the figure?


# %%
def shuffled(x, y, seed):
    """Images and labels in random order."""
    rng = np.random.default_rng(seed)
    return rng.permutation(x), rng.permutation(y)


def trained(shuffled):
    """A `kvae.CVAE`, trained on a random thousand images."""
    x, y = shuffled(data.x_train, y_train, 0)
    keras.utils.set_random_seed(0)
    gaussian = kvae.distributions.Normal(sigma=SIGMA)
    sizes = {"latent_dim": LATENT_DIM, "hidden": (128, 128), "num_classes": NUM_CLASSES}
    pair = kvae.networks.mlp(data.image_shape, **sizes, likelihood=gaussian)
    result = kvae.CVAE(*pair, num_classes=NUM_CLASSES, likelihood=gaussian, seed=0)
    result.compile(optimizer=keras.optimizers.Adam(2e-3))
    result.fit(x[:1000], y[:1000], epochs=40, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])
    return result


label_judge = kvae.evaluation.LabelJudge(data.x_train, y_train, max_examples=5000)
broken = trained(shuffled)
print(f"−ELBO on the test images {-broken.elbo(data.x_test, y_test, seed=0).mean():.1f} nats")
print(f"label agreement {kvae.evaluation.label_agreement(broken, label_judge):.1%}")
kvae.worksheet.show(kvae.plots.style_by_digit(broken, n_styles=3, title="Broken: one style per row, digits 0 to 9"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The same picture in every column, whichever digit is requested.
# </details>

# %% [markdown]
# The label has next to no effect. The model itself is fine; its training data said that $y$ carries **no information** about $\mathbf x$, and that is what it learnt. Fix `shuffled`.
#
# <details><summary>Hint</summary>
#
# An image and its label must move to the same position. Draw the *order* once: `rng.permutation(len(x))`.
# </details>


# %%
def fixed(x, y, seed):
    """Images and labels in one random order, each image with its own label."""
    ### BEGIN SOLUTION
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order], y[order]
    ### END SOLUTION


fixed = kvae.worksheet.check("8.6", fixed)

# %%
repaired = trained(fixed)
print(f"−ELBO on the test images {-repaired.elbo(data.x_test, y_test, seed=0).mean():.1f} nats")
print(f"label agreement {kvae.evaluation.label_agreement(repaired, label_judge):.1%}")
kvae.worksheet.show(kvae.plots.style_by_digit(repaired, n_styles=3, title="Fixed: one style per row, digits 0 to 9"))

# %% [markdown] tags=["instructor"]
# *For the instructor.* The loss alone does not reveal the bug: it is that of a plain VAE, and nobody has both numbers side by side. Hence the rule: look at a row. You get the same figure
# if the decoder does not see the labels, if `shuffle` is applied to two data sets separately, or after a join on the wrong key.

# %% [markdown]
# ## Exercise 8.7, stretch: the model as a classifier (at home, or if you finish early)
#
# The model nearly knows $p_\theta(\mathbf x \mid y)$: $\mathcal L(\mathbf x, y)$ bounds its logarithm. So Bayes' rule tells us which digit an image shows, without a trained classifier:
#
# $$p(y \mid \mathbf x) = \frac{p(\mathbf x \mid y)\, p(y)}{\sum_{y'} p(\mathbf x \mid y')\, p(y')} \approx \frac{e^{\mathcal L(\mathbf x, y)}\, p(y)}{\sum_{y'} e^{\mathcal L(\mathbf x, y')}\, p(y')}$$
#
# <details><summary>Hint</summary>
#
# On MNIST $\mathcal L$ is below −100, on larger images below −800, where $e^{\mathcal L}$ underflows to 0. Subtract the largest logarithm of each row first: it cancels.
# </details>


# %%
def label_posterior(elbo, prior):
    """p(y|x), array `(n, 10)`, from the bounds L(x, y) `(n, 10)` and the label frequencies p(y) `(10,)`; in NumPy."""
    ### BEGIN SOLUTION
    logs = elbo + np.log(prior)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
    ### END SOLUTION


label_posterior = kvae.worksheet.check("8.7", label_posterior)

# %%
some = slice(1000)
x, y = data.x_test[some], y_test[some]
elbo = np.stack([repaired.elbo(x, np.full(len(x), k), num_samples=20, seed=0) for k in DIGITS], axis=1)
posterior = label_posterior(elbo, np.bincount(y_train) / len(y_train))
print(
    f"accuracy on the test images: Bayes' rule {np.mean(posterior.argmax(axis=1) == y):.1%}, the judge {judge.score(x_test, y_test):.1%}"
)
doubtful = np.argsort(posterior.max(axis=1))[:10]
names = [f"{y[i]} or {posterior[i].argmax()}?" if y[i] != posterior[i].argmax() else f"{y[i]}?" for i in doubtful]
kvae.worksheet.show(
    kvae.plots.image_grid(x[doubtful][None], None, names, title="Least certain: label, and other prediction if any")
)

# %% [markdown]
# ## Summary
#
# - A conditional VAE bounds $\log p_\theta(\mathbf x \mid y)$. The derivation does not change: everything is conditioned on $y$, so it goes into the encoder **and** the decoder.
# - Digits on demand: $\mathbf z \sim p(\mathbf z)$ and any $y$. The same $\mathbf z$ with all labels gives one handwriting. The $\mathbf z$ of an image, encoded with its **own** label, gives style transfer.
# - $\mathbf z$ need not repeat what $y$ says: the codes of all digits share one cloud.
# - Label agreement measures whether the model draws what it was asked for. It does not measure variety.
# - If all images in a row look alike, the label is ignored. Follow the labels from the file to the decoder.
#
# In kvae: `kvae.CVAE`, `generate(labels=…)`, `transfer_style`, `kvae.plots.style_by_digit`, `kvae.evaluation.label_agreement`.
#
# **Next:** worksheet 9 uses a trained model for other tasks, without training it again.
