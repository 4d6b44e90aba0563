# ---
# jupyter:
#   kvae:
#     worksheet: 7
#     topic: Tighter bounds and collapse
#     about: "β, warm-up, IWAE, Rényi"
#     lectures: "002, 003"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 7: Tighter bounds and collapse
#
# **50 minutes.** After it you can
#
# 1. say what β trades against what, and see from the KL of each dimension whether a posterior has collapsed;
# 2. write the importance-weighted bound and the Rényi bound, and say which of the bounds in lecture 002 are special cases of them;
# 3. show how a bound tightens with the number of samples, against the exact $\log p(\mathbf x)$, and train with a bound of your own;
# 4. find out from a training's curves which β was *really* in effect, and mend the callback that is to blame.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE`, and run the cell; its last line checks your answer. A check
# says what is wrong, not only that something is. It hands back your answer if that is right and ours if not, so the cells further down
# always run. You need: the ELBO and its importance weights (worksheet 4), and a VAE in Keras (worksheet 6).

# %% [markdown] tags=["instructor"]
# *For the instructor.* The first cells 4 minutes, exercises 7.1 to 7.5 34 minutes, the pictures and the summary 12 minutes. Eight small trainings run in it; let people
# start each cell before they read the text below it. Whoever is quick goes on to 7.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import keras
import numpy as np
from keras import ops

import kvae
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # the switch: "mnist" for 28×28 pixels, about three minutes
EPOCHS = {"digits": 30, "mnist": 6}[DATASET]
data = kvae.load_data(DATASET, binarization="static")
x_train, x_test = data.x_train[:10_000], data.x_test[:400]


def train(latent_dim=8, callbacks=(), **kwargs):
    """A VAE trained from scratch, and its curves; `kwargs` are `kvae.VAE`'s."""
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.image_shape, latent_dim=latent_dim, hidden=(128,))
    model = kvae.VAE(*networks, seed=0, **kwargs)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    curves = model.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=list(callbacks)).history
    return model, {name: np.array(values) for name, values in curves.items()}


def style(axes, title, x_label, y_label):
    """Title and labels that can be read from the back of a room."""
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)


# %% [markdown]
# ## What β does
#
# Lecture 003 puts a weight on the KL (it calls it λ; most papers say β):
#
# $$\text{loss} = \underbrace{-\mathbb E_{q_\phi(\mathbf z \mid \mathbf x)}[\log p_\theta(\mathbf x \mid \mathbf z)]}_{\text{reconstruction}}
# + \beta \underbrace{D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)]}_{\text{nats that the code may use}}$$
#
# $\beta = 1$ is $-$ELBO. A large β makes codes dear: an image is explained with less of them. If they are too dear, the encoder says nothing at all, $q_\phi(\mathbf z \mid \mathbf x) = p(\mathbf z)$ for
# every $\mathbf x$: the posterior has **collapsed**. That happens at $\beta = 1$ too, early on, when the decoder cannot yet read what the encoder says. A **warm-up** lets it learn to read first.
#
# ## Exercise 7.1: warm-up (4 minutes)
#
# In epoch $e$, counted from 0, with a warm-up of $E$ epochs:
#
# $$\beta_e = \beta \cdot \min\left(1, \frac{e}{E}\right)$$
#
# <details><summary>Hint</summary>
#
# Python's `min` will do.
# </details>


# %%
def warmup(epoch, epochs, target):
    """β in an epoch, a float; `epochs` is how long it rises, to `target`."""
    ### BEGIN SOLUTION
    return target * min(1.0, epoch / epochs)
    ### END SOLUTION


warmup = kvae.worksheet.check("7.1", warmup)

# %% [markdown]
# ## Exercise 7.2: who is at work? (6 minutes)
#
# The KL of a diagonal Gaussian is a sum over the latent dimensions. So ask each of them: how many nats does it hold, in the mean over the images?
#
# $$\mathrm{KL}_k = \frac1N \sum_{n=1}^{N} \tfrac12 \left[\sigma_{nk}^2 + \mu_{nk}^2 - \ln \sigma_{nk}^2 - 1\right]$$
#
# A dimension with next to 0 is unused: whatever $\mathbf x$ is, it gives a sample of the prior.
#
# <details><summary>Hint</summary>
#
# The same terms as in worksheet 6, but this time the mean goes over `axis=0`, and there is no sum.
# </details>


# %%
def kl_per_dimension(z_mean, z_log_var):
    """KL of each latent dimension, `(latent,)`, a mean over the images; arguments `(batch, latent)`, with keras.ops."""
    ### BEGIN SOLUTION
    terms = 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0)
    return ops.mean(terms, axis=0)
    ### END SOLUTION


kl_per_dimension = kvae.worksheet.check("7.2", kl_per_dimension)

# %% [markdown]
# **Predict before you run.** Three VAEs of eight latent dimensions, β = ¼, 1 and 4. How many dimensions does each use? Which draws the sharpest reconstructions? Which has the best
# ELBO (with β = 1 in it, so that the three can be compared)?


# %%
def bars(models, title):
    """KL of each dimension, sorted, for models by name; the names get the number of dimensions above 0.02 nats."""
    figure = new_figure(10, 4.8, title)
    axes = figure.add_subplot()
    for i, (name, model) in enumerate(models.items()):
        z_mean, z_log_var = ops.split(model.encoder(x_test), 2, axis=-1)
        nats = np.sort(ops.convert_to_numpy(kl_per_dimension(z_mean, z_log_var)))[::-1]
        place = np.arange(1, len(nats) + 1) + 0.27 * (i - 0.5 * (len(models) - 1))
        axes.bar(place, nats, width=0.25, color=COLORS[i], label=f"{name}: {np.sum(nats > 0.02)} in use")
    style(axes, "", "latent dimension, sorted", "KL, nats an image")
    axes.legend(fontsize=TICK_SIZE, loc="upper center", ncols=len(models))
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the legend
    return figure


by_beta = {}
for beta in (0.25, 1.0, 4.0):
    by_beta[f"β = {beta:g}"] = model = train(beta=beta)[0]
    values = model.evaluate(x_test, verbose=0, return_dict=True)
    terms = [
        f"{name} {values[key]:6.1f}" for name, key in (("reconstruction", "reconstruction_loss"), ("KL", "kl_loss"))
    ]
    print(f"β = {beta:<4g}: {', '.join(terms)}, ELBO {values['elbo']:.1f} nats")
kvae.worksheet.show(bars(by_beta, "Who is at work?"))
rows = [x_test[:10], *(model.reconstruct(x_test[:10]) for model in by_beta.values())]
kvae.worksheet.show(kvae.plots.image_grid(np.stack(rows), row_labels=["real", *by_beta], title="Reconstructions"))

# %% [markdown] tags=["instructor"]
# *For the instructor.* β = ¼ reconstructs best and has the worst ELBO: it pays any price for its codes. β = 4 has collapsed: one mean digit for all (on MNIST, where a code saves more, it takes a larger β). Collapse is no accident of
# training then, but the optimum: no dimension saves four nats of reconstruction for each nat that it holds. Ask what samples of the prior look like for β = ¼ (bad: the codes are not where the prior is).

# %% [markdown]
# ## Tighter bounds
#
# The ELBO lies below $\log p(\mathbf x)$ by $D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$, and a training that raises it prefers posteriors that a Gaussian can follow. Lecture 002 lists other
# bounds. All are made of the same weights, of $S$ samples of $q$:
#
# $$w_s = \frac{p_\theta(\mathbf x \mid \mathbf z_s)\, p(\mathbf z_s)}{q_\phi(\mathbf z_s \mid \mathbf x)}, \qquad \mathcal L = \mathbb E_q\left[\frac1S \sum_s \log w_s\right]$$
#
# ## Exercise 7.3: several samples in the log (7 minutes)
#
# The *multi-sample objective*, the bound of the importance-weighted autoencoder (IWAE), averages **before** it takes the logarithm:
#
# $$\mathcal L_S = \mathbb E_q\left[\log \frac1S \sum_{s=1}^{S} w_s\right]$$
#
# You get $\log w_s$. They may be $-1000$; `ops.logsumexp` is $\log \sum_s e^{a_s}$, and safe.
#
# <details><summary>Hint</summary>
#
# $\log \frac1S \sum = \log\sum - \log S$, and $S$ is `log_w.shape[0]`.
# </details>


# %%
def importance_weighted(log_w):
    """log of the mean weight of each image, `(batch,)`; log_w `(samples, batch)`, with keras.ops."""
    ### BEGIN SOLUTION
    return ops.logsumexp(log_w, axis=0) - float(np.log(log_w.shape[0]))
    ### END SOLUTION


importance_weighted = kvae.worksheet.check("7.3", importance_weighted)

# %% [markdown]
# ## Exercise 7.4: a whole family (6 minutes)
#
# The last bound of lecture 002 is Rényi's. (On the slide the exponent stands outside of the logarithm. It belongs to each weight.)
#
# $$\mathcal L_\alpha = \frac{1}{1 - \alpha}\, \mathbb E_q\left[\log \frac1S \sum_{s=1}^{S} w_s^{1 - \alpha}\right], \qquad \alpha \ne 1$$
#
# What is it for $\alpha = 0$? And it tends to the ELBO as $\alpha \to 1$.
#
# <details><summary>Hint</summary>
#
# $\log w^{1 - \alpha} = (1 - \alpha) \log w$. So you can use the function that you have just written.
# </details>


# %%
def renyi(log_w, alpha):
    """Rényi bound of each image, `(batch,)`; log_w `(samples, batch)`, alpha a float other than 1."""
    ### BEGIN SOLUTION
    return importance_weighted((1 - alpha) * log_w) / (1 - alpha)
    ### END SOLUTION


renyi = kvae.worksheet.check("7.4", renyi)

# %% [markdown]
# In two latent dimensions the integral $p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z$ can be summed on a grid of $\mathbf z$, so we know $\log p(\mathbf x)$.
#
# **Predict before you run.** How do the four curves run as $S$ grows: which rise, which stay? Is one of them above the exact line, and may it be?


# %%
def log_weights(model, x, samples, seed=0):
    """log w `(samples, batch)` of a VAE."""
    params = model.posterior_params(ops.convert_to_tensor(x), None)
    z = model.posterior_family.sample(params, samples, seed)
    return model.score(ops.convert_to_tensor(x), z, params, None, seed)[0].log_weights()


flat, _ = train(latent_dim=2)
some = x_test[:50]
exact = kvae.evaluation.grid_log_likelihood(flat, some).mean
log_w = log_weights(flat, some, samples=2048)
numbers = 2 ** np.arange(0, 8)
figure = new_figure(10, 5.4, "Bounds on log p(x), mean of 50 images")
axes = figure.add_subplot()
axes.axhline(exact, color=COLORS[2], linewidth=2.5, label="exact log p(x)")
for i, (alpha, name) in enumerate({0.999: "α → 1, the ELBO", 0.5: "α = ½", 0.0: "α = 0, IWAE", -2.0: "α = −2"}.items()):
    # The 2,048 samples in groups of S: each group gives one estimate of the bound.
    values = [float(ops.mean(renyi(ops.reshape(log_w, (int(n), -1)), alpha))) for n in numbers]
    axes.plot(numbers, values, "o-", color=(COLORS[0], COLORS[1], COLORS[4], COLORS[3])[i], linewidth=2.5, label=name)
axes.set_xscale("log", base=2)
axes.set_xticks(numbers, numbers)
style(axes, "", "samples S", "nats an image")
axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* At S = 1 all are the ELBO: the log and the sum of one do not care about the exponent. The ELBO stays, however many samples: they only make it less noisy. IWAE rises to the line. α = −2 crosses it: below
# α = 0 there is no lower bound any more, with many samples.

# %% [markdown]
# ## Training with your bound
#
# A bound in kvae is a class whose `__call__` gets the samples' log-densities and returns what is minimised. Here is one around your function, trained with 10 samples an image.
#
# **Predict before you run.** Its *ELBO* will be worse than that of the model which was trained on the ELBO. Will its $\log p(\mathbf x)$ be?


# %%
class Ours(kvae.bounds.Bound):
    """The importance-weighted bound, from the worksheet's function."""

    def __call__(self, sample, beta):
        return (-importance_weighted(sample.log_weights(beta)),)


tighter, _ = train(latent_dim=2, bound=Ours(), num_samples=10)
for name, model in {"trained on the ELBO": flat, "trained on yours": tighter}.items():
    value = float(ops.mean(log_weights(model, some, samples=500)))
    truth = kvae.evaluation.grid_log_likelihood(model, some).mean
    print(f"{name:>20}: ELBO {value:.2f}, exact log p(x) {truth:.2f}, gap {truth - value:.2f} nats")

# %% [markdown] tags=["instructor"]
# *For the instructor.* The gap of the second is larger: its q need not be near the posterior everywhere, since the weights repair it. What counts, log p(x), is better (on MNIST, after six epochs only, they are about level). So an ELBO does not rank models that were
# trained with different bounds.

# %% [markdown]
# ## Exercise 7.5: find the bug (11 minutes)
#
# Back to the warm-up. A Keras callback is called at the beginning of each epoch; `self.model` is the model, and `model.beta` its β. Somebody wrote this, and it prints what it does.
#
# **Predict before you run.** How should the KL run when β rises from 0 to 1? How does it run here?


# %%
class BrokenWarmup(keras.callbacks.Callback):
    """Somebody's warm-up of β."""

    def __init__(self, epochs, target):
        super().__init__()
        self.epochs = epochs
        self.target = target

    def on_epoch_begin(self, epoch, logs=None):
        self.model.beta = float(warmup(epoch, self.epochs, self.target))
        if epoch % (EPOCHS // 3) == 0:
            print(f"epoch {epoch}: β is {self.model.beta:.2f} now")


WARMUP = EPOCHS // 2
_, broken = train(callbacks=[BrokenWarmup(WARMUP, 1.0)])


def draw_warmups(trainings):
    """The β in effect, and the KL, of curves by name."""
    figure = new_figure(11, 4.8, "A warm-up, as it was announced and as it was")
    left, right = figure.subplots(1, 2)
    epochs = np.arange(EPOCHS)
    left.plot(epochs, [warmup(e, WARMUP, 1.0) for e in epochs], color=COLORS[3], linewidth=6, label="announced")
    for color, (name, curves) in zip((COLORS[1], COLORS[0]), trainings.items(), strict=False):
        in_effect = (curves["loss"] - curves["reconstruction_loss"]) / curves["kl_loss"]
        left.plot(epochs, in_effect, color=color, linewidth=2.5, label=name)
        right.plot(epochs, curves["kl_loss"], color=color, linewidth=2.5, label=name)
    style(left, "β in effect: (loss − reconstruction) / KL", "epoch", "β")
    style(right, "KL", "epoch", "nats an image")
    right.set_ylim(bottom=0)
    left.legend(fontsize=TICK_SIZE)
    right.legend(fontsize=TICK_SIZE)
    return figure


kvae.worksheet.show(draw_warmups({"theirs": broken}))

# %% [markdown]
# It says β = 1, and the loss says β = 0. Both are right! Keras compiles the training step **once**, at the first batch. What is a number in that moment is built in for ever; what is a `keras.Variable` is looked up at each step. `model.beta` *was* a
# variable. Which line has put something else in its place? Write the callback so that the variable stays, and gets a new value.
#
# <details><summary>Hint</summary>
#
# A variable has a method `assign(value)`.
# </details>


# %%
class Warmup(keras.callbacks.Callback):
    """β of the model rises to `target` within `epochs` epochs."""

    def __init__(self, epochs, target):
        super().__init__()
        self.epochs = epochs
        self.target = target

    def on_epoch_begin(self, epoch, logs=None):
        ### BEGIN SOLUTION
        self.model.beta.assign(warmup(epoch, self.epochs, self.target))
        ### END SOLUTION


Warmup = kvae.worksheet.check("7.5", Warmup)

# %%
_, mended = train(callbacks=[Warmup(WARMUP, 1.0)])
kvae.worksheet.show(draw_warmups({"theirs": broken, "mended": mended}))

# %% [markdown] tags=["instructor"]
# *For the instructor.* With β frozen at 0 the model is an autoencoder: its loss is lower than everybody else's, its KL without limit, its samples are rubbish. The same happens to a learning rate, a temperature, a dropout rate kept as a
# Python float. `run_eagerly=True` hides the bug, which is what makes it so hard to find. `kvae.callbacks.KLWarmup` does it right.

# %% [markdown]
# ## Exercise 7.6, stretch: free bits (at home, or if you are early)
#
# Another remedy for collapse: each dimension may hold λ nats **at no cost**, so that no gradient pushes it below. The KL in the loss becomes
#
# $$\sum_{k=1}^{K} \max\left(\lambda,\; \frac1B \sum_{b=1}^{B} \mathrm{KL}_{bk}\right)$$
#
# with the mean over the batch *inside* of the max, so that one image may use more than another.
#
# <details><summary>Hint</summary>
#
# `ops.maximum` compares elementwise. First the mean, then the max, then the sum.
# </details>


# %%
def free_bits(kl, nats):
    """The KL in the loss, a number; kl `(batch, latent)`, one number an image and dimension; with keras.ops."""
    ### BEGIN SOLUTION
    return ops.sum(ops.maximum(nats, ops.mean(kl, axis=0)))
    ### END SOLUTION


free_bits = kvae.worksheet.check("7.6", free_bits)

# %%
rescued, _ = train(beta=4.0, bound=kvae.bounds.ELBO(free_bits=0.3))
kvae.worksheet.show(bars({"β = 4": by_beta["β = 4"], "β = 4, 0.3 nats free": rescued}, "Free bits against collapse"))

# %% [markdown]
# ## Summary
#
# - β is the price of a nat of code. Too dear, and the posterior **collapses** onto the prior; $\mathrm{KL}_k$ shows it, dimension by dimension. Warm-up and free bits work against it.
# - IWAE takes the log of the mean weight: with more samples it rises to $\log p(\mathbf x)$. Rényi's α leads from the ELBO (1) to IWAE (0), and below 0 beyond the line.
# - A bound is a yardstick and a teacher. Compare models by $\log p(\mathbf x)$, or by one bound with many samples, not by the bounds that each was trained on.
# - What changes during a training must be a variable. And what is *in effect* can be read off the curves: (loss − reconstruction) / KL.
