# ---
# jupyter:
#   kvae:
#     worksheet: 4
#     topic: Latent variable models
#     about: "why sampling the prior fails, importance sampling, Jensen, the ELBO"
#     lectures: "001–004"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 4: Latent variable models
#
# **50 minutes.** After it you can
#
# 1. say why the average of $p(\mathbf x \mid \mathbf z)$ over samples of the prior is right in theory and useless in practice;
# 2. estimate $\log p(\mathbf x)$ by importance sampling, and tell from the weights whether to believe the estimate;
# 3. get from importance sampling to the ELBO in one line, with Jensen's inequality, and say what the step costs;
# 4. tell from a picture that a "lower bound" is none, and find the line that is to blame.
#
# **How it works.** Replace each `...` marked `YOUR CODE`, and run the cell; its last line checks your answer. A check says what is
# wrong, not only that something is. It hands back your answer if that is right and ours if not, so the cells further down always
# run. You need: NumPy, the Gaussian density, and what an expectation is. Nothing is trained here: Keras has a day off.

# %% [markdown] tags=["instructor"]
# *For the instructor.* The model and its pictures 7 minutes, exercises 4.1 to 4.6 36 minutes, the pictures between them and the summary 7
# minutes. Everything is compared with an exact log p(x), which only this linear model has: say so early, or somebody will ask in
# worksheet 6 where the exact line has gone. Whoever is quick goes on to 4.7.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import numpy as np
from scipy.stats import Covariance, multivariate_normal

import kvae
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # the switch: "mnist" for 28×28 pixels
LATENT_DIM = 16

data = kvae.load_data(DATASET)
x_train, x_test = (x.reshape(len(x), -1).astype("float64") for x in (data.x_train, data.x_test))
b = x_train.mean(axis=0)
variances, directions = np.linalg.eigh(np.cov(x_train.T))  # rising; the last directions are PCA's first


def linear_model(latent_dim):
    """W `(pixels, latent)` and the pixels' standard deviation s, by maximum likelihood."""
    rest = variances[:-latent_dim].mean()
    return directions[:, -latent_dim:] * np.sqrt(variances[-latent_dim:] - rest), np.sqrt(rest)


def exact_log_p(x, w, s):
    """log p(x) = log N(x; b, WWᵀ + s²I): for a linear decoder the integral over z has a formula."""
    covariance = Covariance.from_cholesky(np.linalg.cholesky(w @ w.T + s**2 * np.eye(len(b))))
    return multivariate_normal(b, covariance).logpdf(x)


def canvas(title, x_label, y_label):
    """An empty picture and its axes."""
    figure = new_figure(9, 5.2, title)
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return figure, axes


rng = np.random.default_rng(0)
w, s = linear_model(LATENT_DIM)
z = rng.standard_normal((10, LATENT_DIM))
rows = np.stack([x_test[:10], z @ w.T + b]).clip(0, 1).reshape(2, 10, *data.image_shape)
print(f"{len(b)} pixels, {LATENT_DIM} latent dimensions, s = {s:.3f}")
kvae.worksheet.show(kvae.plots.image_grid(rows, row_labels=["real", "Wz + b"], title="A linear decoder draws smudges"))

# %% [markdown]
# ## The model
#
# | | | |
# | --- | --- | --- |
# | prior | $p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I)$ | a code |
# | likelihood | $p(\mathbf x \mid \mathbf z) = \mathcal N(\mathbf W \mathbf z + \mathbf b,\, s^2 \mathbf I)$ | an image: a linear decoder, and noise of standard deviation $s$ on each pixel |
# | marginal | $p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z$ | how probable an image is: what training should raise |
#
# (It is called probabilistic PCA, because the best $\mathbf W$ consists of PCA's directions.) With a neural network in place of $\mathbf{Wz} + \mathbf b$ the
# integral has no formula. Here it has: **so we can see how wrong each estimate is.** All of what follows, but for that one function
# `exact_log_p`, works with any decoder.
#
# ## Exercise 4.1: how well a code explains an image (6 minutes)
#
# For $D$ pixels with independent noise,
#
# $$\log p(\mathbf x \mid \mathbf z) = -\tfrac12 \sum_{i=1}^{D} \left[\frac{(x_i - m_i)^2}{s^2} + \log(2 \pi s^2)\right], \qquad \mathbf m = \mathbf{Wz} + \mathbf b$$
#
# One image, many codes: return a number for each code.
#
# <details><summary>Hint</summary>
#
# `x - x_mean` broadcasts to `(samples, pixels)`. Everything in the bracket is summed over the pixels, `axis=-1`, the second term too.
# </details>


# %%
def log_likelihood(x, x_mean, s):
    """log p(x|z) of each code, `(samples,)`; x `(pixels,)`, decoded codes x_mean `(samples, pixels)`, s a float."""
    ### BEGIN SOLUTION
    return -0.5 * np.sum((x - x_mean) ** 2 / s**2 + np.log(2 * np.pi * s**2), axis=-1)
    ### END SOLUTION


log_likelihood = kvae.worksheet.check("4.1", log_likelihood)

# %% [markdown]
# ## Exercise 4.2: the naive estimate (6 minutes)
#
# The integral is an expectation over the prior, so average:
#
# $$p(\mathbf x) = \mathbb E_{p(\mathbf z)}[p(\mathbf x \mid \mathbf z)] \approx \frac1S \sum_{s=1}^{S} p(\mathbf x \mid \mathbf z_s), \qquad \mathbf z_s \sim p(\mathbf z)$$
#
# It is unbiased. You have *logarithms*, some of them below $-1000$, and $e^{-1000}$ is 0 in the computer. Take the largest out
# first: with $M = \max_s a_s$,
#
# $$\log \frac1S \sum_s e^{a_s} = M + \log \frac1S \sum_s e^{a_s - M}$$
#
# <details><summary>Hint</summary>
#
# Two lines: `peak = np.max(log_values)`, then the right-hand side as it stands. The mean comes inside the log.
# </details>


# %%
def log_mean(log_values):
    """log of the mean of exp(log_values): `(samples,)` to a number."""
    ### BEGIN SOLUTION
    peak = np.max(log_values)
    return peak + np.log(np.mean(np.exp(log_values - peak)))
    ### END SOLUTION


log_mean = kvae.worksheet.check("4.2", log_mean)

# %% [markdown]
# **Predict before you run.** Models of 1, 2, 4, … 32 latent dimensions, 10,000 samples of the prior each: for which is the estimate good? And
# where it is not good: will it be too high as often as too low? It *is* unbiased, after all. (Do not wonder at a log p(x) above 0: pixels are
# real numbers here, so p(x) is a density, and that may exceed 1.)

# %%
x = x_test[0]
from_prior = log_likelihood(x, rng.standard_normal((10_000, LATENT_DIM)) @ w.T + b, s)
for share in (0.5, 0.99, 1.0):
    print(
        f"{share:>4.0%} of 10,000 codes from the prior have a log p(x|z) of at most {np.quantile(from_prior, share):.0f} nats"
    )
print(f"exact: log p(x) = {exact_log_p(x, w, s):.1f} nats")

dims = [1, 2, 4, 8, 16, 32]
errors = []
for latent_dim in dims:
    w_k, s_k = linear_model(latent_dim)
    decoded = rng.standard_normal((10_000, latent_dim)) @ w_k.T + b
    errors.append([log_mean(log_likelihood(x, decoded, s_k)) - exact_log_p(x, w_k, s_k) for x in x_test[:10]])

figure, axes = canvas("10,000 samples of the prior", "latent dimensions", "estimate − exact log p(x), nats")
axes.axhline(0, color=COLORS[2], linewidth=2.5, label="exact")
axes.plot(dims, errors, "o", color=COLORS[0], alpha=0.6)
axes.plot(
    dims, np.mean(errors, axis=1), color=COLORS[0], linewidth=2.5, label="naive estimate: ten images, and their mean"
)
axes.set_xscale("log", base=2)
axes.set_xticks(dims, dims)
axes.legend(fontsize=TICK_SIZE, loc="lower left")
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Up to eight dimensions it is good; then it falls, and it is always too low. Unbiased means: right in the mean over very
# many repetitions, of which nearly all are too low and hardly any is enormously too high. And it is p(x) that is unbiased: its log is
# biased downwards, by Jensen, which comes in 4.5. That it takes S ~ exp(KL(p(z|x) ‖ p(z))) samples is worth a line on the board.

# %% [markdown]
# ## Ask an encoder where to look
#
# Of all codes, few explain *this* image: they lie where the posterior $p(\mathbf z \mid \mathbf x)$ is, a tiny part of the prior. So draw $\mathbf z$ from a
# $q(\mathbf z \mid \mathbf x)$ which knows the image. Ours is learned by linear regression: invent codes, decode them, add noise, and regress the
# codes on the images. What the regression cannot tell, its residual, is $\boldsymbol\sigma$; we take `WIDEN` times that, to be on the safe side.
#
# $$q(\mathbf z \mid \mathbf x) = \mathcal N(\boldsymbol\mu(\mathbf x), \operatorname{diag}(\boldsymbol\sigma^2))$$

# %%
WIDEN = 1.3


def with_one(x):
    """Images with a constant 1 at the end, for the regression's intercept."""
    return np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)


codes = rng.standard_normal((20 * len(b), LATENT_DIM))
invented = codes @ w.T + b + s * rng.standard_normal((len(codes), len(b)))
coefficients = np.linalg.lstsq(with_one(invented), codes, rcond=None)[0]
residual = np.std(codes - with_one(invented) @ coefficients, axis=0)


def encode(x):
    """μ and σ of q(z|x), each `(latent,)`, for one image."""
    return with_one(x) @ coefficients, WIDEN * residual


def log_normal(value, mean, std):
    """log N(value; mean, diag(std²)), summed over the last axis."""
    return -0.5 * np.sum(((value - mean) / std) ** 2 + np.log(2 * np.pi * std**2 * np.ones_like(value)), axis=-1)


print("σ of the prior: 1 in each dimension; of q: from", residual.min().round(2), "to", residual.max().round(2))

# %% [markdown]
# ## Exercise 4.3: importance weights (7 minutes)
#
# Samples of $q$ favour codes that explain $\mathbf x$. To average over them as if they came from the prior, weigh each by how much too often it was drawn:
#
# $$p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, \frac{p(\mathbf z)}{q(\mathbf z \mid \mathbf x)}\, q(\mathbf z \mid \mathbf x)\, d\mathbf z
# = \mathbb E_{q(\mathbf z \mid \mathbf x)}[w], \qquad w = \frac{p(\mathbf x \mid \mathbf z)\, p(\mathbf z)}{q(\mathbf z \mid \mathbf x)}$$
#
# Again in logarithms. `log_normal` of the cell above is a help.
#
# <details><summary>Hint</summary>
#
# Three terms. The prior is `log_normal(z, 0.0, 1.0)`. Which of the three is subtracted?
# </details>


# %%
def log_weights(log_px, z, q_mean, q_std):
    """log w of each sample, `(samples,)`; log_px = log p(x|z) `(samples,)`, z `(samples, latent)`, μ and σ `(latent,)`."""
    ### BEGIN SOLUTION
    return log_px + log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, q_std)
    ### END SOLUTION


log_weights = kvae.worksheet.check("4.3", log_weights)

# %% [markdown]
# **Predict before you run.** How many samples does each of the two need until it stands within a nat of the exact line?

# %%
x = x_test[0]
q_mean, q_std = encode(x)
z = q_mean + q_std * rng.standard_normal((10_000, LATENT_DIM))
log_w = log_weights(log_likelihood(x, z @ w.T + b, s), z, q_mean, q_std)

numbers = np.unique(np.geomspace(1, 10_000, 60).astype(int))
figure, axes = canvas("One image, two ways to sample", "samples", "estimate of log p(x), nats")
axes.axhline(exact_log_p(x, w, s), color=COLORS[2], linewidth=2.5, label="exact")
for label, values, color in [("from q(z|x), weighed", log_w, COLORS[4]), ("from the prior", from_prior, COLORS[0])]:
    axes.plot(numbers, [log_mean(values[:n]) for n in numbers], color=color, linewidth=2.5, label=label)
axes.set_xscale("log")
axes.legend(fontsize=TICK_SIZE, loc="lower right")
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* q needs three or four, the prior more than there is time for: its curve is a staircase. Each step is one lucky sample that
# takes over, and after it comes a long flat stretch in which everything *looks* converged. That is the reason for 4.4.

# %% [markdown]
# ## Exercise 4.4: how many samples carry the estimate (5 minutes)
#
# Without an exact line, how would you know? Look at the weights. If one of them is as large as all others together, you have one sample, however many you drew. The
# **effective sample size** makes that a number between 1 and $S$:
#
# $$\mathrm{ESS} = \frac{\left(\sum_s w_s\right)^2}{\sum_s w_s^2}$$
#
# The same factor in all weights cancels, so take the largest out once more.
#
# <details><summary>Hint</summary>
#
# `weights = np.exp(log_w - np.max(log_w))`, then the formula. What does it give if all weights are equal?
# </details>


# %%
def effective_sample_size(log_w):
    """(Σ w)² / Σ w² of log-weights `(samples,)`: a number."""
    ### BEGIN SOLUTION
    weights = np.exp(log_w - np.max(log_w))
    return np.sum(weights) ** 2 / np.sum(weights**2)
    ### END SOLUTION


effective_sample_size = kvae.worksheet.check("4.4", effective_sample_size)

# %%
for label, values in [("prior", from_prior), ("q(z|x)", log_w)]:
    print(f"{label:>7}: {effective_sample_size(values):7.1f} of {len(values):,} samples carry the estimate")

# %% [markdown]
# ## Exercise 4.5: Jensen, and the ELBO (4 minutes)
#
# A network is trained on $\log p(\mathbf x)$, one or a few samples a step. The log of a mean is awkward for that: it is biased, and the log does not go into the sum. But
# log is concave, so by **Jensen's inequality**
#
# $$\log p(\mathbf x) = \log \mathbb E_{q}[w] \;\ge\; \mathbb E_{q}[\log w] = \mathcal L(\mathbf x)$$
#
# and the right-hand side, the **evidence lower bound**, is a plain mean. Estimate it from the same samples.
#
# <details><summary>Hint</summary>
#
# 4.2 has the log outside of the mean. Where is it now? It is shorter than you think.
# </details>


# %%
def elbo(log_w):
    """The ELBO, estimated from log-weights `(samples,)`: a number."""
    ### BEGIN SOLUTION
    return np.mean(log_w)
    ### END SOLUTION


elbo = kvae.worksheet.check("4.5", elbo)

# %% [markdown]
# **Predict before you run.** The histogram shows $\log w$ of the 10,000 samples of $q$. Where is the ELBO on it, where $\log p(\mathbf x)$? How would
# the histogram look if both were in the same place?

# %%
figure, axes = canvas("What Jensen costs", "log w, nats", "samples")
axes.hist(log_w, bins=80, range=(np.quantile(log_w, 0.002), log_w.max()), color=COLORS[3])
axes.axvline(elbo(log_w), color=COLORS[0], linewidth=3, label=f"ELBO, the mean of log w: {elbo(log_w):.2f}")
axes.axvline(log_mean(log_w), color=COLORS[4], linewidth=3, label=f"log of the mean of w: {log_mean(log_w):.2f}")
exact = exact_log_p(x, w, s)
axes.axvline(exact, color=COLORS[2], linewidth=3, linestyle=":", label=f"exact log p(x): {exact:.2f}")
axes.legend(fontsize=TICK_SIZE, loc="upper left")
kvae.worksheet.show(figure)

# %% [markdown]
# The cost has a name. Put $p(\mathbf x \mid \mathbf z)\, p(\mathbf z) = p(\mathbf z \mid \mathbf x)\, p(\mathbf x)$ into $w$ and take the expectation of the log:
#
# $$\log p(\mathbf x) = \mathcal L(\mathbf x) + D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$$
#
# The bound is as good as $q$. **Predict before you run.** We make $q$ narrower and wider, from a quarter of the residual to three times that. Where does the ELBO touch
# the line, and on which side does it fall faster?

# %%
widths = np.geomspace(0.25, 3, 25)
noise = rng.standard_normal((2_000, LATENT_DIM))


def along_widths(bound):
    """A function of (log p(x|z), z, μ, σ), for every width of q."""
    values = []
    for width in widths:
        z = q_mean + width * residual * noise
        values.append(bound(log_likelihood(x, z @ w.T + b, s), z, q_mean, width * residual))
    return np.array(values)


lower = along_widths(lambda log_px, z, mean, std: elbo(log_weights(log_px, z, mean, std)))
figure, axes = canvas("The gap is KL(q(z|x) ‖ p(z|x))", "σ of q, in units of the residual", "nats")
axes.axhline(exact, color=COLORS[2], linewidth=2.5, label="exact log p(x)")
axes.plot(widths, lower, color=COLORS[0], linewidth=2.5, label="ELBO")
axes.fill_between(widths, lower, exact, color=COLORS[0], alpha=0.2, label="gap")
axes.set_xscale("log", base=2)
axes.set_xticks([0.25, 0.5, 1, 2, 3], ["¼", "½", "1", "2", "3"])
axes.legend(fontsize=TICK_SIZE, loc="lower left")
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* It touches (nearly: the regression is an estimate) at 1, where q is the posterior, which for PCA's W is indeed diagonal. It falls
# like log σ to the left and like σ² to the right. If both ends are judged by the same factor, being too wide costs more. Link to training:
# raising the ELBO in q's parameters lowers that KL, because log p(x) has no φ in it.

# %% [markdown]
# ## Exercise 4.6: find the bug (8 minutes)
#
# Lectures 001 and 003 write the ELBO in another way. The prior and $q$ go together, and their part has a closed form:
#
# $$\mathcal L(\mathbf x) = \mathbb E_{q}[\log p(\mathbf x \mid \mathbf z)] - D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)], \qquad
# D_{\mathrm{KL}} = \tfrac12 \sum_{k} \left[\sigma_k^2 + \mu_k^2 - \log \sigma_k^2 - 1\right]$$
#
# Lecture 001's encoder gives $\boldsymbol\mu$ and $\log \boldsymbol\sigma$. Somebody wrote it down like this, and is pleased with the value.
#
# **Predict before you run.** Is the new curve the same as yours? It should be.


# %%
def broken_elbo(log_px, q_mean, q_log_std):
    """Somebody's ELBO; log_px `(samples,)`, μ and log σ `(latent,)`."""
    divergence = 0.5 * np.sum(np.exp(q_log_std) + q_mean**2 - q_log_std - 1)
    return np.mean(log_px) - divergence


broken = along_widths(lambda log_px, z, mean, std: broken_elbo(log_px, mean, np.log(std)))
figure, axes = canvas("Two lower bounds?", "σ of q, in units of the residual", "nats")
axes.axhline(exact, color=COLORS[2], linewidth=2.5, label="exact log p(x)")
axes.plot(widths, lower, color=COLORS[0], linewidth=2.5, label="yours, from the weights")
axes.plot(widths, broken, "--", color=COLORS[1], linewidth=3, label="theirs, in two terms")
axes.set_xscale("log", base=2)
axes.set_xticks([0.25, 0.5, 1, 2, 3], ["¼", "½", "1", "2", "3"])
axes.legend(fontsize=TICK_SIZE, loc="lower left")
kvae.worksheet.show(figure)

# %% [markdown]
# A lower bound above what it bounds is none. (No data set will tell you, if there is no exact line: such a model simply "beats" all others.)
# What has been mistaken for what? Write it as it should be.
#
# <details><summary>Hint</summary>
#
# Which of the two terms can it be? Then test that one where you know its value: at $\mu = 0$, $\sigma = 1$ it is 0 whatever was mistaken, so take
# $\mu = 0$, $\sigma = 2$.
# </details>


# %%
def mended_elbo(log_px, q_mean, q_log_std):
    """The ELBO, a number; log p(x|z) `(samples,)` of samples of q, its μ and log σ `(latent,)`."""
    ### BEGIN SOLUTION
    divergence = 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)
    return np.mean(log_px) - divergence
    ### END SOLUTION


mended_elbo = kvae.worksheet.check("4.6", mended_elbo)

# %% [markdown] tags=["instructor"]
# *For the instructor.* log σ was taken for log σ². Lecture 001 has log σ in the encoder and log σ² in the formula, and most code on the web has
# log σ² in both; the two are never told apart by a shape or an error. Since σ < 1 the KL comes out too small, and the bound too high.

# %% [markdown]
# ## Exercise 4.7, stretch: the best $q$ there is (at home, or if you are early)
#
# If $q(\mathbf z \mid \mathbf x) = p(\mathbf z \mid \mathbf x)$, then $w = p(\mathbf x)$ for every $\mathbf z$: *one* sample is enough, and the ELBO is exact. For a linear model the posterior is a
# Gaussian with
#
# $$\boldsymbol\Sigma = \left(\mathbf I + \tfrac{1}{s^2} \mathbf W^\top \mathbf W\right)^{-1}, \qquad \mathbf m = \tfrac{1}{s^2}\, \boldsymbol\Sigma\, \mathbf W^\top (\mathbf x - \mathbf b)$$
#
# <details><summary>Hint</summary>
#
# `np.linalg.inv` and `np.eye(w.shape[1])`; `w.T @ w` is `(latent, latent)`.
# </details>


# %%
def posterior(x, w, b, s):
    """Mean `(latent,)` and covariance `(latent, latent)` of p(z|x)."""
    ### BEGIN SOLUTION
    covariance = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)
    return covariance @ w.T @ (x - b) / s**2, covariance
    ### END SOLUTION


posterior = kvae.worksheet.check("4.7", posterior)

# %%
mean, covariance = posterior(x, w, b, s)
for _ in range(3):
    z = rng.multivariate_normal(mean, covariance, size=1)
    log_px = log_likelihood(x, z @ w.T + b, s)
    value = log_px + log_normal(z, 0.0, 1.0) - multivariate_normal(mean, covariance).logpdf(z[0])
    print(f"one sample of p(z|x): log w = {value[0]:.6f}, log p(x) = {exact:.6f}")

# %% [markdown]
# ## Summary
#
# - $p(\mathbf x) = \mathbb E_{p(\mathbf z)}[p(\mathbf x \mid \mathbf z)]$, but nearly every code explains a given image badly: in more than a few dimensions an average over the prior is
#   far too low, and looks converged.
# - Importance sampling draws from $q(\mathbf z \mid \mathbf x)$ and weighs with $p(\mathbf z) / q(\mathbf z \mid \mathbf x)$. The effective sample size says whether to believe it.
# - Jensen takes the log into the mean: $\mathcal L = \mathbb E_q[\log w] \le \log p(\mathbf x)$. What it costs is $D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$.
# - So the encoder of a VAE is a proposal for importance sampling, and its training makes the proposal better.
#
# Worksheet 5 finds the gradient of that bound with respect to $q$; worksheet 7 takes the log out again, a little way.
