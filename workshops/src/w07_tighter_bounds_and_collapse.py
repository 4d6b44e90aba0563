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
# 1. say which trade-off β controls, and see from the KL of each dimension whether a posterior has collapsed;
# 2. write the importance-weighted bound and the Rényi bound, and say which bounds of lecture 002 are special cases of them;
# 3. show how a bound tightens with the number of samples, compared with the exact $\log p(\mathbf x)$, and train with your own bound;
# 4. find out from training curves which β was *really* in effect, and fix the callback at fault.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong,
# the check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down
# always run. You need the ELBO and its importance weights (worksheet 4), and a VAE in Keras (worksheet 6).

# %% [markdown] tags=["instructor"]
# *For the instructor.* The first cells take 4 minutes, exercises 7.1 to 7.5 take 34, the figures and the summary 12. The notebook trains nine small models; ask students to
# start each cell before they read the text below it. Fast students continue with 7.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import ops

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = (
    "mnist_small"  # 10,000 images; or "mnist" for others of all 70,000, or "digits" for 8×8 pixels, which is faster
)
EPOCHS = {"mnist_small": 10, "mnist": 8, "digits": 30}[DATASET]
BETAS = {"digits": (0.25, 1.0, 2.0, 4.0)}.get(DATASET, (0.25, 1.0, 10.0, 40.0))
data = kvae.load_data(DATASET, binarization="static")
x_train, x_test = data.x_train[:10_000], data.x_test[:400]


def train(latent_dim=8, callbacks=(), **kwargs):
    """A VAE trained from scratch, and its training curves; `kwargs` are arguments of `kvae.VAE`."""
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(data.image_shape, latent_dim=latent_dim, hidden=(128,))
    model = kvae.VAE(*networks, seed=0, **kwargs)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    curves = model.fit(
        x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[*callbacks, kvae.worksheet.progress()]
    ).history
    return model, {name: np.array(values) for name, values in curves.items()}


def style(axes, title, x_label, y_label):
    """Set a title and axis labels that are legible from the back of a room."""
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)


# %% [markdown]
# ## What β does
#
# Lecture 003 gives the KL a weight (it calls it λ; most papers say β). Its slide has $-\lambda D$ in the loss; what is to be minimised has a plus there:
#
# $$\text{loss} = \underbrace{-\mathbb E_{q_\phi(\mathbf z \mid \mathbf x)}[\log p_\theta(\mathbf x \mid \mathbf z)]}_{\text{reconstruction}}
# + \beta \underbrace{D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)]}_{\text{nats that the code uses}}$$
#
# $\beta = 1$ gives $-$ELBO. A large β makes codes expensive, so the model uses less of them. If they are too expensive, the encoder encodes nothing at all, $q_\phi(\mathbf z \mid \mathbf x) = p(\mathbf z)$ for
# every $\mathbf x$: the posterior has **collapsed**. This can happen at $\beta = 1$ too, early in training, when the decoder cannot use the code yet. A **warm-up** of β is the usual precaution. (These digits do not need one: their posterior does not collapse at $\beta = 1$.)
#
# ## Exercise 7.1: warm-up (4 minutes)
#
# In epoch $e$, counted from 0, with a warm-up of $E$ epochs:
#
# $$\beta_e = \beta \cdot \min\left(1, \frac{e}{E}\right)$$
#
# <details><summary>Hint</summary>
#
# Python's `min` is enough.
# </details>


# %%
def warmup(epoch, epochs, target):
    """β in an epoch, a float; it rises to `target` within `epochs` epochs."""
    ### BEGIN SOLUTION
    return target * min(1.0, epoch / epochs)
    ### END SOLUTION


warmup = kvae.worksheet.check("7.1", warmup)

# %% [markdown]
# ## Exercise 7.2: which dimensions are used? (6 minutes)
#
# The KL of a diagonal Gaussian is a sum over the latent dimensions. So ask how many nats each of them holds, on average over the images:
#
# $$\mathrm{KL}_k = \frac1N \sum_{n=1}^{N} \tfrac12 \left[\sigma_{nk}^2 + \mu_{nk}^2 - \ln \sigma_{nk}^2 - 1\right]$$
#
# A dimension whose KL is close to 0 is unused: whatever $\mathbf x$ is, it is a sample of the prior.
#
# <details><summary>Hint</summary>
#
# The terms are those of worksheet 6, but here you take the mean over `axis=0`, and there is no sum.
# </details>


# %%
def kl_per_dimension(z_mean, z_log_var):
    """KL of each latent dimension, `(latent,)`, averaged over the images; arguments `(batch, latent)`. Use keras.ops."""
    ### BEGIN SOLUTION
    terms = 0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0)
    return ops.mean(terms, axis=0)
    ### END SOLUTION


kl_per_dimension = kvae.worksheet.check("7.2", kl_per_dimension)

# %% [markdown]
# **Predict before you run.** We train four VAEs with eight latent dimensions, at β = ¼, 1, 10 and 40. How many dimensions does each use? Which has the sharpest reconstructions? Which has the best
# ELBO (computed with β = 1, so that the four can be compared)?


# %%
def bars(models, title):
    """Bar chart of the sorted KL per dimension for models by name; the legend counts dimensions above 0.02 nats."""
    figure = new_figure(10, 4.8, title)
    axes = figure.add_subplot()
    for i, (name, model) in enumerate(models.items()):
        z_mean, z_log_var = ops.split(model.encoder(x_test), 2, axis=-1)
        nats = np.sort(ops.convert_to_numpy(kl_per_dimension(z_mean, z_log_var)))[::-1]
        place = np.arange(1, len(nats) + 1) + 0.21 * (i - 0.5 * (len(models) - 1))
        axes.bar(place, nats, width=0.2, color=COLORS[i], label=f"{name}: {np.sum(nats > 0.02)} in use")
    style(axes, "", "latent dimension, sorted", "KL, nats per image")
    axes.legend(fontsize=TICK_SIZE, loc="upper center", ncols=len(models))
    axes.set_ylim(top=1.2 * axes.get_ylim()[1])  # room for the legend
    return figure


by_beta = {}
for beta in BETAS:
    by_beta[f"β = {beta:g}"] = model = train(beta=beta)[0]
    values = model.evaluate(x_test, verbose=0, return_dict=True)
    terms = [
        f"{name} {values[key]:6.1f}" for name, key in (("reconstruction", "reconstruction_loss"), ("KL", "kl_loss"))
    ]
    print(f"β = {beta:<4g}: {', '.join(terms)}, ELBO {values['elbo']:.1f} nats")
kvae.worksheet.show(bars(by_beta, "KL of each latent dimension"))
rows = [x_test[:10], *(model.reconstruct(x_test[:10]) for model in by_beta.values())]
kvae.worksheet.show(kvae.plots.image_grid(np.stack(rows), row_labels=["real", *by_beta], title="Reconstructions"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The smaller β, the more nats the code holds and the sharper the reconstructions. At β = ¼ and 1 all eight dimensions are used, at
# β = 10 four; at β = 40 none is, and every image is the same blur. The best ELBO has β = 1, which is what it was trained for.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* β = ¼ reconstructs best but pays too much for its codes: its ELBO is about 2 nats below that of β = 1. β = 40 has collapsed to one mean digit for all images. Here collapse is not an accident of
# training but the optimum: no dimension saves forty nats of reconstruction for each nat that it holds. Ask what samples of the prior look like for β = ¼ (bad: the codes are not where the prior is).

# %% [markdown]
# ## Tighter bounds
#
# The ELBO is below $\log p(\mathbf x)$ by $D_{\mathrm{KL}}[q_\phi(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$, so training on it favours models whose posterior is close to a Gaussian. Lecture 002 lists other
# bounds. They all use the same weights of $S$ samples of $q$:
#
# $$w_s = \frac{p_\theta(\mathbf x \mid \mathbf z_s)\, p(\mathbf z_s)}{q_\phi(\mathbf z_s \mid \mathbf x)}, \qquad \mathcal L = \mathbb E_q\left[\frac1S \sum_s \log w_s\right]$$
#
# ## Exercise 7.3: several samples inside the log (7 minutes)
#
# The *multi-sample objective*, the bound of the importance-weighted autoencoder (IWAE), averages **before** taking the logarithm:
#
# $$\mathcal L_S = \mathbb E_q\left[\log \frac1S \sum_{s=1}^{S} w_s\right]$$
#
# The argument is $\log w_s$, which may be as low as $-1000$; `ops.logsumexp` computes $\log \sum_s e^{a_s}$ safely.
#
# <details><summary>Hint</summary>
#
# $\log \frac1S \sum = \log\sum - \log S$, and $S$ is `log_w.shape[0]`.
# </details>


# %%
def importance_weighted(log_w):
    """Log of the mean weight of each image, `(batch,)`; log_w `(samples, batch)`. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.logsumexp(log_w, axis=0) - float(np.log(log_w.shape[0]))
    ### END SOLUTION


importance_weighted = kvae.worksheet.check("7.3", importance_weighted)

# %% [markdown]
# ## Exercise 7.4: a whole family (6 minutes)
#
# The last bound of lecture 002 is Rényi's. (On the slide the exponent is outside the logarithm. It belongs to each weight.)
#
# $$\mathcal L_\alpha = \frac{1}{1 - \alpha}\, \mathbb E_q\left[\log \frac1S \sum_{s=1}^{S} w_s^{1 - \alpha}\right], \qquad \alpha \ne 1$$
#
# As $\alpha \to 1$ it tends to the ELBO. What is it for $\alpha = 0$?
#
# <details><summary>Hint</summary>
#
# $\log w^{1 - \alpha} = (1 - \alpha) \log w$. So you can reuse the function that you have just written.
# </details>


# %%
def renyi(log_w, alpha):
    """Rényi bound of each image, `(batch,)`; log_w `(samples, batch)`, alpha a float other than 1."""
    ### BEGIN SOLUTION
    return importance_weighted((1 - alpha) * log_w) / (1 - alpha)
    ### END SOLUTION


renyi = kvae.worksheet.check("7.4", renyi)

# %% [markdown]
# With two latent dimensions, the integral $p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z$ can be computed as a sum over a grid of $\mathbf z$, so we know $\log p(\mathbf x)$.
#
# **Predict before you run.** How do the four curves change as $S$ grows: which rise, which stay constant? Does one of them exceed the exact line, and is that allowed?


# %%
def log_weights(model, x, samples, seed=0):
    """Log-weights `(samples, batch)` of a VAE."""
    x = ops.convert_to_tensor(x)
    _, sample, _ = model.sample_and_score(x, model.inference(x), (), samples, seed)
    return sample.log_weights()


def exact_log_p(model):
    """Mean of log p(x) over some images, by a sum over a grid of z."""
    return kvae.evaluation.grid_log_likelihood(model, some, limit=8).mean


flat, _ = train(latent_dim=2)
some = x_test[:50]
exact = exact_log_p(flat)
log_w = ops.concatenate([log_weights(flat, some, samples=256, seed=i) for i in range(8)])
numbers = 2 ** np.arange(0, 8)
figure = new_figure(10, 5.4, "Bounds on log p(x), mean of 50 images")
axes = figure.add_subplot()
axes.axhline(exact, color=COLORS[2], linewidth=2.5, label="exact log p(x)")
for i, (alpha, name) in enumerate({0.999: "α → 1, the ELBO", 0.5: "α = ½", 0.0: "α = 0, IWAE", -2.0: "α = −2"}.items()):
    # Split the 2,048 samples into groups of S: each group gives one estimate of the bound.
    values = [float(ops.mean(renyi(ops.reshape(log_w, (int(n), -1)), alpha))) for n in numbers]
    axes.plot(numbers, values, "o-", color=(COLORS[0], COLORS[1], COLORS[4], COLORS[3])[i], linewidth=2.5, label=name)
axes.set_xscale("log", base=2)
axes.set_xticks(numbers, numbers)
style(axes, "", "samples S", "nats per image")
figure.legend(fontsize=TICK_SIZE, loc="outside right upper")
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# At $S = 1$ all are the ELBO. It stays constant as $S$ grows; α = ½ and IWAE rise, IWAE towards the exact line; α = −2
# exceeds it. That is allowed: for α < 0 it is no lower bound.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* At S = 1 all four are the ELBO: with a single weight, the exponent cancels. The ELBO stays constant, because more samples only make its estimate less noisy. IWAE rises to the exact line, but needs more than the 128 samples of the figure. α = −2 crosses it: for
# α < 0 and many samples it is no longer a lower bound.

# %% [markdown]
# ## Training with your bound
#
# A bound in kvae is a class whose `__call__` gets the log-densities of the samples and returns the loss. Here is one around your function, trained with 10 samples per image.
#
# **Predict before you run.** Its *ELBO* will be worse than that of the model trained on the ELBO. What about its $\log p(\mathbf x)$?


# %%
class Ours(kvae.bounds.Bound):
    """The importance-weighted bound, with the function from this worksheet."""

    def __call__(self, sample, beta):
        return (-importance_weighted(sample.log_weights(beta)),)


tighter, _ = train(latent_dim=2, bound=Ours(), num_samples=10)
models = {"trained on the ELBO": (flat, exact), "trained on yours": (tighter, exact_log_p(tighter))}
for name, (model, truth) in models.items():
    value = float(ops.mean(log_weights(model, some, samples=500)))
    print(f"{name:>20}: ELBO {value:.2f}, exact log p(x) {truth:.2f}, gap {truth - value:.2f} nats")

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It is higher, although its ELBO is lower: it was trained for a bound that is closer to $\log p(\mathbf x)$.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The second model has the larger gap: its q need not be close to the posterior everywhere, because the weights correct for it. What counts, log p(x), is better. So the ELBO does not rank models that were
# trained with different bounds.

# %% [markdown]
# ## Exercise 7.5: find the bug (11 minutes)
#
# Back to the warm-up. Keras calls a callback at the beginning of each epoch; `self.model` is the model, and `model.beta` its β. A colleague wrote the callback below, which prints what it does.
#
# **Predict before you run.** How should the KL develop while β rises from 0 to 1? How does it develop here?


# %%
class BrokenWarmup(keras.callbacks.Callback):
    """The colleague's warm-up of β."""

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
    """The β in effect, and the KL, for training curves by name."""
    figure = new_figure(11, 4.8, "Announced warm-up and β in effect")
    left, right = figure.subplots(1, 2)
    epochs = np.arange(EPOCHS)
    left.plot(epochs, [warmup(e, WARMUP, 1.0) for e in epochs], color=COLORS[3], linewidth=6, label="announced")
    for color, (name, curves) in zip((COLORS[1], COLORS[0]), trainings.items(), strict=False):
        in_effect = (curves["loss"] - curves["reconstruction_loss"]) / curves["kl_loss"]
        left.plot(epochs, in_effect, color=color, linewidth=2.5, label=name)
        right.plot(epochs, curves["kl_loss"], color=color, linewidth=2.5, label=name)
    style(left, "β in effect: (loss − reconstruction) / KL", "epoch", "β")
    style(right, "KL", "epoch", "nats per image")
    right.set_ylim(bottom=0)
    left.legend(fontsize=TICK_SIZE)
    right.legend(fontsize=TICK_SIZE)
    return figure


kvae.worksheet.show(draw_warmups({"theirs": broken}))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It should be high while codes are free and then fall as β rises. Here it keeps growing.
# </details>

# %% [markdown]
# The callback says β = 1, but the loss says β = 0. Both are right! Keras compiles the training step **once**, at the first batch. A value that is a number at that moment is compiled in as a constant; a `keras.Variable` is read again at each step. `model.beta` *was* a
# variable. Which line replaced it with something else? Write the callback so that the variable stays and gets a new value.
#
# <details><summary>Hint</summary>
#
# A variable has a method `assign(value)`.
# </details>


# %%
class Warmup(keras.callbacks.Callback):
    """Raises the model's β to `target` within `epochs` epochs."""

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
_, fixed = train(callbacks=[Warmup(WARMUP, 1.0)])
kvae.worksheet.show(draw_warmups({"theirs": broken, "fixed": fixed}))

# %% [markdown] tags=["instructor"]
# *For the instructor.* With β frozen at 0 the model is an autoencoder: its loss is lower than that of any other model here, its KL grows without limit, and its samples are useless. The same happens to a learning rate, a temperature or a dropout rate kept as a
# Python float. `run_eagerly=True` hides the bug, which makes it hard to find. `kvae.callbacks.KLWarmup` does it right.

# %% [markdown]
# ## Exercise 7.6, stretch: free bits (at home, or if you finish early)
#
# Another remedy for collapse: each dimension may hold λ nats **at no cost**, so no gradient pushes it below λ. The KL in the loss becomes
#
# $$\sum_{k=1}^{K} \max\left(\lambda,\; \frac1B \sum_{b=1}^{B} \mathrm{KL}_{bk}\right)$$
#
# with the mean over the batch *inside* the max, so that one image may use more than another.
#
# <details><summary>Hint</summary>
#
# `ops.maximum` works elementwise. First the mean, then the max, then the sum.
# </details>


# %%
def free_bits(kl, nats):
    """The KL in the loss, a number; kl `(batch, latent)`, one number per image and dimension. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.sum(ops.maximum(nats, ops.mean(kl, axis=0)))
    ### END SOLUTION


free_bits = kvae.worksheet.check("7.6", free_bits)

# %%
rescued, _ = train(beta=BETAS[-1], bound=kvae.bounds.ELBO(free_bits=0.3))
collapsed = f"β = {BETAS[-1]:g}"
models = {collapsed: by_beta[collapsed], f"{collapsed}, 0.3 nats free": rescued}
kvae.worksheet.show(bars(models, "Free bits against collapse"))

# %% [markdown]
# ## Summary
#
# - β is the price of one nat of code. If it is too high, the posterior **collapses** onto the prior; $\mathrm{KL}_k$ shows it for each dimension. Free bits prevent collapse here; a warm-up can help when it happens early in training.
# - IWAE takes the log of the mean weight: with more samples it rises to $\log p(\mathbf x)$. Rényi's α interpolates between the ELBO (1) and IWAE (0); below 0 it can exceed $\log p(\mathbf x)$.
# - A bound serves both for evaluation and for training. Compare models by $\log p(\mathbf x)$, or by one bound with many samples, not by the bounds they were trained on.
# - What changes during training must be a variable. And you can read off the curves what is *in effect*: (loss − reconstruction) / KL.
