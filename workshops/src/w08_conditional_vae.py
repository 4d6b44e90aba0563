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
# 1. turn a VAE into a conditional one, and say where in the derivation the label $y$ comes in;
# 2. draw the digit that somebody asks for, ten digits in one hand, and your own handwriting as another digit;
# 3. measure whether a model draws what was asked for, and say what that number does not tell;
# 4. recognise a model whose label is ignored, although its loss looks well.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE`, and run the cell; its last
# line checks your answer. A check says what is wrong, not only that something is. It hands back your answer if that is right and ours if not, so
# the cells further down always run. You need: the two terms of the ELBO in Keras (worksheet 6).

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first picture 4 minutes, exercises 8.1 to 8.6 38 minutes, the pictures and the summary
# 8 minutes. Keep the rows of 8.3 and 8.4 on the projector: a row is one z, a column one y. Whoever is quick goes on to 8.7.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import keras
import numpy as np
from keras import layers, ops

import kvae

DATASET = "digits"  # the switch: "mnist" for 28×28 pixels, about three minutes instead of one
EPOCHS = {"digits": 40, "mnist": 4}[DATASET]
LATENT_DIM, NUM_CLASSES, SIGMA = 2, 10, 0.2
DIGITS = np.arange(NUM_CLASSES)

keras.utils.set_random_seed(0)
data = kvae.load_data(DATASET)
x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train, data.x_test))  # images as vectors of d pixels
y_train, y_test = data.y_train, data.y_test
print("training images", x_train.shape, "labels", y_train.shape, "the first:", y_train[:10])
rows = np.stack([data.x_train[y_train == digit][:8] for digit in DIGITS], axis=1)
kvae.worksheet.show(kvae.plots.image_grid(rows, column_labels=list(DIGITS), title="x, and its label y above"))

# %% [markdown]
# ## The model
#
# A VAE draws *some* digit. To be asked for one, it must know what a digit is called. Lecture 003: **none of the derivation changes.**
# Put a $y$ behind every bar:
#
# $$\log p_\theta(\mathbf x \mid y) \ge \mathcal L(\mathbf x, y)
# = \mathbb E_{q_\phi(\mathbf z \mid \mathbf x, y)}\big[\log p_\theta(\mathbf x \mid \mathbf z, y)\big]
# - D_{\mathrm{KL}}\big[q_\phi(\mathbf z \mid \mathbf x, y) \,\|\, p(\mathbf z)\big], \qquad p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I)$$
#
# The prior stays without $y$: whichever digit is asked for, $\mathbf z$ comes from the same cloud. So there is no use in $\mathbf z$ telling
# what the digit is; it is left with what the label does *not* say: the **style**.
#
# The pixels are grey here, so the likelihood is a Gaussian around what the decoder gives, $p_\theta(\mathbf x \mid \mathbf z, y) = \mathcal N(\mathbf m(\mathbf z, y), \sigma^2 \mathbf I)$, and its
# logarithm the squared error of lecture 003, divided by $2\sigma^2$. (It is a density: $-\mathcal L$ may be negative. Differences count.) Here are the two terms, as in worksheet 6, and two plain networks. Look at their inputs.


# %%
def reconstruction(x, x_mean):
    """−log p(x|z, y) of each image, `(batch,)`: a Gaussian of standard deviation 0.2 in each pixel."""
    return ops.sum(0.5 * ops.square((x - x_mean) / SIGMA) + np.log(SIGMA * np.sqrt(2 * np.pi)), axis=-1)


def kl(z_mean, z_log_var):
    """KL(q(z|x, y) ‖ p(z)) of each image, `(batch,)`."""
    return 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0, axis=-1)


def network(inputs, outputs):
    """Vectors to vectors, with two hidden layers and no activation at the end."""
    hidden = [layers.Dense(128, activation="relu"), layers.Dense(128, activation="relu")]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(outputs)])


def networks():
    """A fresh encoder, from pixels and label to [μ, log σ²], and decoder, from code and label to pixels."""
    pixels = x_train.shape[-1]
    return network(pixels + NUM_CLASSES, 2 * LATENT_DIM), network(LATENT_DIM + NUM_CLASSES, pixels)


# %% [markdown]
# ## Exercise 8.1: a label beside a vector (4 minutes)
#
# Networks compute with numbers, and a 7 is not "more" than a 3. So a label becomes a vector of ten entries, a 1 in the place of
# the digit and 0 elsewhere, which stands **behind** the vector $\mathbf h$ that it accompanies:
#
# $$[\,\mathbf h,\ \operatorname{onehot}(y)\,] = [h_1, \dots, h_m, 0, \dots, 1, \dots, 0]$$
#
# <details><summary>Hint</summary>
#
# `ops.one_hot(y, NUM_CLASSES)` and `ops.concatenate([…, …], axis=-1)`.
# </details>


# %%
def beside(h, y):
    """Vectors `(batch, m)` and labels `(batch,)`, integers, as vectors `(batch, m + 10)`; with keras.ops."""
    ### BEGIN SOLUTION
    return ops.concatenate([h, ops.one_hot(y, NUM_CLASSES)], axis=-1)
    ### END SOLUTION


beside = kvae.worksheet.check("8.1", beside)

# %% [markdown]
# ## Exercise 8.2: the bound, given the label (9 minutes)
#
# Write $-\mathcal L(\mathbf x, y)$ of each image with one sample $\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$. Read the formula above from right to left:
# where does it say that the encoder sees $y$, where the decoder?
#
# <details><summary>Hint</summary>
#
# `z_mean, z_log_var = ops.split(encoder(…), 2, axis=-1)` gives $\boldsymbol\mu$ and $\log \boldsymbol\sigma^2$. Your `beside` is used twice, and so are `reconstruction` and `kl`, once each.
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
# We train your loss twice: once with the labels, and once with the label 0 for every image. A label that is always the same says
# nothing, so the second is a plain VAE. For a picture the encoder is left out: $\mathbf z \sim p(\mathbf z)$, and $y$ is what we ask for.
#
# **Predict before you run.** Which has the lower $-\mathcal L$ on test images, and by how many nats? (To tell one of ten digits takes $\ln 10 = 2.3$ nats.)
# And what will the plain VAE draw, asked for a 7?


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
        """The means of q(z|x, y), an array `(n, latent)`."""
        return ops.convert_to_numpy(self.encoder(beside(x, y)))[:, :LATENT_DIM]

    def decode(self, z, y):
        """What codes decode to under labels, an array `(n, d)` of pixels."""
        return ops.convert_to_numpy(self.decoder(beside(z, y)))


models = {}
for name, use in {"plain": 0, "conditional": 1}.items():
    keras.utils.set_random_seed(0)
    models[name] = CVAE(*networks())
    models[name].compile(optimizer=keras.optimizers.Adam(2e-3))
    models[name].fit([x_train, use * y_train], epochs=EPOCHS, batch_size=64, verbose=0)
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
    kvae.plots.image_grid(np.concatenate(columns), names, list(DIGITS), title="Asked for the digit above")
)

# %% [markdown] tags=["instructor"]
# *For the instructor.* For the true distributions the difference is the mutual information of x and y, at most $\ln 10$ = 2.3 nats, all of it if
# images leave no doubt. Here it is more: two latent dimensions are few, and the plain VAE spends them on the digit. The label
# frees them. With `LATENT_DIM = 8` the difference is about half as large.

# %% [markdown]
# ## Exercise 8.3: one hand, ten digits (6 minutes)
#
# If $\mathbf z$ is the style, then the same $\mathbf z$ under ten labels should look like ten digits in one handwriting:
#
# $$\text{image}_{s, j} = \mathbf m(\mathbf z_s, y_j), \qquad \text{a row for each style } s,\ \text{a column for each digit } j$$
#
# `decode(z, y)` takes as many codes as labels, so first write out all pairs, row after row.
#
# <details><summary>Hint</summary>
#
# `np.repeat([1, 2], 3)` is 1 1 1 2 2 2, `np.tile([1, 2], 3)` is 1 2 1 2 1 2. Which is for the styles (with `axis=0`), which for the digits?
# </details>


# %%
def style_by_digit(decode, z, digits):
    """Each of the styles `(s, latent)` under each of the digits `(j,)`: array `(s, j, d)`."""
    ### BEGIN SOLUTION
    codes = np.repeat(z, len(digits), axis=0)
    labels = np.tile(digits, len(z))
    return decode(codes, labels).reshape(len(z), len(digits), -1)
    ### END SOLUTION


style_by_digit = kvae.worksheet.check("8.3", style_by_digit)

# %% [markdown]
# **Predict before you run.** Seven styles: five along the first latent dimension, two at the ends of the second. What will be alike in a row?
# What in a column? Name one property of handwriting that you expect to find.

# %%
styles = np.array([[-2, 0], [-1, 0], [0, 0], [1, 0], [2, 0], [0, -2], [0, 2]], "float32")
names = [f"z = ({a:g}, {b:g})".replace("-", "−") for a, b in styles]
grid = style_by_digit(model.decode, styles, DIGITS).reshape(len(styles), NUM_CLASSES, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(grid, names, list(DIGITS), title="A row is one style, a column one digit"))

# %% [markdown] tags=["instructor"]
# *For the instructor.* Along z₀ the 1s lose their flag and gain a foot; slant and width are other usual finds. What one dimension means for a 1 it need not mean for an 8:
# nothing in the bound asks for that, it comes of the networks being smooth and shared.

# %% [markdown]
# ## Exercise 8.4: your hand, another digit (6 minutes)
#
# The style need not come from the prior. Take it from a real image, and draw other digits in that hand. Two steps, two labels: **encode under which, decode under which?**
#
# $$\mathbf z = \boldsymbol\mu(\mathbf x, \,?\,), \qquad \text{image}_j = \mathbf m(\mathbf z, \,?\,)$$
#
# <details><summary>Hint</summary>
#
# Once the styles are there, it is exercise 8.3. The encoder was never trained on a 3 that is called an 8.
# </details>


# %%
def style_transfer(encode, decode, x, y, digits):
    """The style of each image `(n, d)`, a digit y `(n,)`, under each of `digits` `(j,)`: array `(n, j, d)`."""
    ### BEGIN SOLUTION
    return style_by_digit(decode, encode(x, y), digits)
    ### END SOLUTION


style_transfer = kvae.worksheet.check("8.4", style_transfer)

# %% [markdown]
# **Predict before you run.** First picture, rows of 4s: which column looks most like the real image, and does a slanted 4 give slanted digits? Second picture: the codes of both
# models, coloured by digit. The plain VAE's fall into ten islands. And the conditional one's?

# %%
fours = np.flatnonzero(y_test == 4)
leaning = fours[np.argsort(model.encode(x_test[fours], y_test[fours])[:, 0])]
chosen = leaning[np.linspace(0, len(leaning) - 1, 6).astype(int)]  # from one end of z₀ to the other
images = style_transfer(model.encode, model.decode, x_test[chosen], y_test[chosen], DIGITS)
images = np.concatenate([x_test[chosen][:, None], images], axis=1).reshape(6, 11, *data.image_shape)
title = "Six 4s of the test images, and their hands at other digits"
kvae.worksheet.show(kvae.plots.image_grid(images, None, ["real", *DIGITS], title=title))

for name, use in {"plain": 0, "conditional": 1}.items():
    z_train, z_test = (models[name].encode(x, use * y) for x, y in ((x_train, y_train), (x_test, y_test)))
    read = kvae.classifier.linear_probe(z_train, y_train, z_test, y_test)
    print(f"{name:>11}: a linear classifier reads the digit off z for {read:.0%} of the test images")
    kvae.worksheet.show(kvae.plots.latent_scatter(z_test, y_test, title=f"Codes, {name}"), dpi=48)

# %% [markdown] tags=["instructor"]
# *For the instructor.* All digits share the prior's cloud: what y says already, z need not say again, and each nat of z costs.
# A prediction of 10% is chance; what is left above it is style that goes with a digit (1s are narrow), and that q(z|x, y) is not perfect.

# %% [markdown]
# ## Exercise 8.5: does it draw what was asked for? (6 minutes)
#
# We let a **judge** look: a classifier trained on real images. For each digit $k$, the **label agreement** is
#
# $$a_k = \frac{\text{images asked for as } k \text{ that the judge takes for } k}{\text{images asked for as } k}$$
#
# <details><summary>Hint</summary>
#
# `predicted == asked` is an array of truths; pick those where `asked == k`, and take their mean.
# </details>


# %%
def agreement(predicted, asked):
    """Label agreement of each digit, array `(10,)`, from the judge's and the asked-for labels `(n,)`."""
    ### BEGIN SOLUTION
    return np.array([np.mean(predicted[asked == k] == k) for k in range(NUM_CLASSES)])
    ### END SOLUTION


agreement = kvae.worksheet.check("8.5", agreement)

# %% [markdown]
# **Predict before you run.** Will the agreement lie below the judge's accuracy on real images, or above? And a model that drew the very same perfect 7 for every 7 asked for: what would its agreement be?

# %%
from sklearn.svm import SVC

few = slice(5000)  # all of the digits; enough of MNIST
judge = SVC().fit(data.x_train[few].reshape(len(data.x_train[few]), -1), y_train[few])
print(f"the judge on real test images: right in {judge.score(x_test, y_test):.1%}")
asked = np.repeat(DIGITS, 100)
z = rng.standard_normal((len(asked), LATENT_DIM)).astype("float32")
for name, each in models.items():
    shares = agreement(judge.predict(each.decode(z, asked if name == "conditional" else 0 * asked)), asked)
    print(f"{name:>11}: agreement {shares.mean():.1%};", " ".join(f"{k}: {a:.2f}" for k, a in enumerate(shares)))

# %% [markdown] tags=["instructor"]
# *For the instructor.* Above, if anything: what the model draws is smoother and more typical than real images, so the judge finds it easier. And the very same 7
# a hundred times over has an agreement of 100%: the number knows nothing of variety. The picture of 8.3 does.

# %% [markdown]
# ## Exercise 8.6: find the bug (7 minutes)
#
# `kvae.CVAE` is the model that you have written, with everything around it. Somebody wants to try it on a random part of the data, and
# mixes them first. Training runs, the loss falls, the reconstructions are fine.
#
# **Predict before you run.** The code is short. Read it; what will you see in a row of the picture?


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
    result.fit(x[:1000], y[:1000], epochs=40, batch_size=64, verbose=0)
    return result


label_judge = kvae.evaluation.LabelJudge(data.x_train, y_train, max_examples=5000)
broken = trained(shuffled)
print(f"−ELBO on the test images {-broken.elbo(data.x_test, y_test, seed=0).mean():.1f} nats")
print(f"label agreement {kvae.evaluation.label_agreement(broken, label_judge):.1%}")
kvae.worksheet.show(kvae.plots.style_by_digit(broken, n_styles=3, title="Broken: one style a row, asked for 0 to 9"))

# %% [markdown]
# The label changes next to nothing. The model is in order; it was taught that $y$ says **nothing** about $\mathbf x$, and that is what it has learnt. Mend `shuffled`.
#
# <details><summary>Hint</summary>
#
# An image and its label must move to the same place. Draw the *order* once: `rng.permutation(len(x))`.
# </details>


# %%
def mended(x, y, seed):
    """Images and labels in a random order, each image beside its own label."""
    ### BEGIN SOLUTION
    order = np.random.default_rng(seed).permutation(len(x))
    return x[order], y[order]
    ### END SOLUTION


mended = kvae.worksheet.check("8.6", mended)

# %%
repaired = trained(mended)
print(f"−ELBO on the test images {-repaired.elbo(data.x_test, y_test, seed=0).mean():.1f} nats")
print(f"label agreement {kvae.evaluation.label_agreement(repaired, label_judge):.1%}")
kvae.worksheet.show(kvae.plots.style_by_digit(repaired, n_styles=3, title="Mended: one style a row, asked for 0 to 9"))

# %% [markdown] tags=["instructor"]
# *For the instructor.* The loss alone would not have told: the broken model's is that of a plain VAE, and who has both numbers side by side? Hence the rule: look at a row. The same picture
# comes of labels left out of the decoder, of `shuffle` on two data sets, and of a join on the wrong key.

# %% [markdown]
# ## Exercise 8.7, stretch: the model as a classifier (at home, or if you are early)
#
# The model knows $p_\theta(\mathbf x \mid y)$, nearly: $\mathcal L(\mathbf x, y)$ bounds its logarithm. Then Bayes' rule says which digit an image shows, although nobody has trained a classifier:
#
# $$p(y \mid \mathbf x) = \frac{p(\mathbf x \mid y)\, p(y)}{\sum_{y'} p(\mathbf x \mid y')\, p(y')} \approx \frac{e^{\mathcal L(\mathbf x, y)}\, p(y)}{\sum_{y'} e^{\mathcal L(\mathbf x, y')}\, p(y')}$$
#
# <details><summary>Hint</summary>
#
# On MNIST $\mathcal L$ is below −100, on larger images below −800, where $e^{\mathcal L}$ is 0 in a computer. Subtract each row's largest logarithm first: it cancels.
# </details>


# %%
def label_posterior(elbo, prior):
    """p(y|x), array `(n, 10)`, from the bounds L(x, y) `(n, 10)` and the labels' shares p(y) `(10,)`; in NumPy."""
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
    f"Bayes' rule names {np.mean(posterior.argmax(axis=1) == y):.1%} of the test images; the judge {judge.score(x_test, y_test):.1%}"
)
doubtful = np.argsort(posterior.max(axis=1))[:10]
names = [f"{y[i]} or {posterior[i].argmax()}?" if y[i] != posterior[i].argmax() else f"{y[i]}?" for i in doubtful]
kvae.worksheet.show(
    kvae.plots.image_grid(x[doubtful][None], None, names, title="In doubt: the label, and what Bayes' rule says")
)

# %% [markdown]
# ## Summary
#
# - A conditional VAE bounds $\log p_\theta(\mathbf x \mid y)$. None of the derivation changes: $y$ goes behind every bar, so into the encoder **and** the decoder.
# - On demand: $\mathbf z \sim p(\mathbf z)$, $y$ as you please. The same $\mathbf z$ under all labels: one hand. An image's own $\mathbf z$, encoded under its **own** label: style transfer.
# - What $y$ says, $\mathbf z$ need not say: the codes of all digits share one cloud.
# - Label agreement says whether the model draws what was asked for. It says nothing of variety.
# - A row of images that are all alike: the label is ignored. Look at the labels' way from the file to the decoder.
#
# In kvae: `kvae.CVAE`, `generate(labels=…)`, `transfer_style`, `kvae.plots.style_by_digit`, `kvae.evaluation.label_agreement`.
#
# **Next:** worksheet 9 puts a trained model to use, without training it again.
