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
# 1. say why averaging $p(\mathbf x \mid \mathbf z)$ over samples of the prior is right in theory and useless in practice;
# 2. estimate $\log p(\mathbf x)$ by importance sampling, and tell from the weights whether to trust the estimate;
# 3. get from importance sampling to the ELBO in one line, with Jensen's inequality, and say what this step costs;
# 4. see from a figure that a "lower bound" is not one, and find the line at fault.
#
# **How it works.** Replace each `...` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong, the
# check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down always
# run. You need NumPy, the Gaussian density, and the notion of an expectation. Nothing is trained here, so there is no Keras.

# %% [markdown] tags=["instructor"]
# *For the instructor.* The model and its figures take 7 minutes, exercises 4.1 to 4.6 take 36, the figures between them and the summary
# 7. Everything is compared with an exact log p(x), which only this linear model has: say so early, or somebody will ask in
# worksheet 6 where the exact line has gone. Fast students continue with 4.7.

# %%
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import numpy as np
from scipy.stats import Covariance, multivariate_normal

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # or "mnist" for 28×28 pixels
LATENT_DIM = 16

data = kvae.load_data(DATASET)
x_train, x_test = (x.reshape(len(x), -1).astype("float64") for x in (data.x_train, data.x_test))
b = x_train.mean(axis=0)
variances, directions = np.linalg.eigh(np.cov(x_train.T))  # ascending: the last columns are PCA's first components


def linear_model(latent_dim):
    """Maximum-likelihood W `(pixels, latent)` and standard deviation s of the pixels."""
    rest = variances[:-latent_dim].mean()
    return directions[:, -latent_dim:] * np.sqrt(variances[-latent_dim:] - rest), np.sqrt(rest)


def exact_log_p(x, W, s):
    """log p(x) = log N(x; b, WWᵀ + s²I): for a linear decoder the integral over z has a closed form."""
    covariance = Covariance.from_cholesky(np.linalg.cholesky(W @ W.T + s**2 * np.eye(len(b))))
    return multivariate_normal(b, covariance).logpdf(x)


def canvas(title, x_label, y_label):
    """An empty figure and its axes."""
    figure = new_figure(9, 5.2, title)
    axes = figure.add_subplot()
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.grid(alpha=0.3)
    return figure, axes


rng = np.random.default_rng(0)
W, s = linear_model(LATENT_DIM)
z = rng.standard_normal((10, LATENT_DIM))
rows = np.stack([x_test[:10], z @ W.T + b]).clip(0, 1).reshape(2, 10, *data.image_shape)
print(f"{len(b)} pixels, {LATENT_DIM} latent dimensions, s = {s:.3f}")
kvae.worksheet.show(kvae.plots.image_grid(rows, row_labels=["real", "Wz + b"], title="Samples of a linear decoder"))

# %% [markdown]
# ## The model
#
# | | | |
# | --- | --- | --- |
# | prior | $p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I)$ | a code |
# | likelihood | $p(\mathbf x \mid \mathbf z) = \mathcal N(\mathbf W \mathbf z + \mathbf b,\, s^2 \mathbf I)$ | an image: a linear decoder, plus noise of standard deviation $s$ on each pixel |
# | marginal | $p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z$ | how probable an image is: what training should increase |
#
# (This model is called probabilistic PCA, because the best $\mathbf W$ is built from PCA's directions.) If a neural network replaces $\mathbf{Wz} + \mathbf b$, the
# integral has no closed form. Here it has one, **so we can see how wrong each estimate is.** Except for the function
# `exact_log_p`, everything below works with any decoder.
#
# ## Exercise 4.1: how well a code explains an image (6 minutes)
#
# For $D$ pixels with independent noise,
#
# $$\log p(\mathbf x \mid \mathbf z) = -\tfrac12 \sum_{i=1}^{D} \left[\frac{(x_i - m_i)^2}{s^2} + \log(2 \pi s^2)\right], \qquad \mathbf m = \mathbf{Wz} + \mathbf b$$
#
# There is one image and there are many codes: return one number per code.
#
# <details><summary>Hint</summary>
#
# `x - x_mean` broadcasts to `(samples, pixels)`. Sum the whole bracket over the pixels, `axis=-1`, including the second term.
# </details>


# %%
def log_likelihood(x, x_mean, s):
    """log p(x|z) for each code, `(samples,)`; x `(pixels,)`, decoded codes x_mean `(samples, pixels)`, s a float."""
    ### BEGIN SOLUTION
    return -0.5 * np.sum((x - x_mean) ** 2 / s**2 + np.log(2 * np.pi * s**2), axis=-1)
    ### END SOLUTION


log_likelihood = kvae.worksheet.check("4.1", log_likelihood)

# %% [markdown]
# ## Exercise 4.2: the naive estimate (6 minutes)
#
# The integral is an expectation over the prior, so we can average:
#
# $$p(\mathbf x) = \mathbb E_{p(\mathbf z)}[p(\mathbf x \mid \mathbf z)] \approx \frac1S \sum_{r=1}^{S} p(\mathbf x \mid \mathbf z_r), \qquad \mathbf z_r \sim p(\mathbf z)$$
#
# This estimate is unbiased. But we work with *logarithms*, some of them below $-1000$, and $e^{-1000}$ is 0 in floating point. Factor out the largest
# one first: with $M = \max_r a_r$,
#
# $$\log \frac1S \sum_r e^{a_r} = M + \log \frac1S \sum_r e^{a_r - M}$$
#
# <details><summary>Hint</summary>
#
# Two lines: `peak = np.max(log_values)`, then the right-hand side as written. The mean is inside the log.
# </details>


# %%
def log_mean(log_values):
    """Log of the mean of exp(log_values): `(samples,)` to a number."""
    ### BEGIN SOLUTION
    peak = np.max(log_values)
    return peak + np.log(np.mean(np.exp(log_values - peak)))
    ### END SOLUTION


log_mean = kvae.worksheet.check("4.2", log_mean)

# %% [markdown]
# **Predict before you run.** We take models with 1, 2, 4, … 32 latent dimensions and 10,000 samples of the prior for each. For which is the estimate good? And
# where it is not, will it be too high as often as too low? It *is* unbiased, after all. (Do not be surprised by a log p(x) above 0: pixels are
# real numbers here, so p(x) is a density, which can exceed 1.)

# %%
x = x_test[0]
from_prior = log_likelihood(x, rng.standard_normal((10_000, LATENT_DIM)) @ W.T + b, s)
for share in (0.5, 0.99, 1.0):
    print(
        f"{share:>4.0%} of 10,000 codes from the prior have a log p(x|z) of at most {np.quantile(from_prior, share):.0f} nats"
    )
print(f"exact: log p(x) = {exact_log_p(x, W, s):.1f} nats")

dims = [1, 2, 4, 8, 16, 32]
errors = []
for latent_dim in dims:
    W_k, s_k = linear_model(latent_dim)
    decoded = rng.standard_normal((10_000, latent_dim)) @ W_k.T + b
    errors.append([log_mean(log_likelihood(x, decoded, s_k)) - exact_log_p(x, W_k, s_k) for x in x_test[:10]])

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

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It is good up to about eight dimensions. Beyond that it is too low nearly always: the average depends on rare codes
# that explain the image, and ten thousand samples do not contain one. Being unbiased does not help a sample of one.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Up to eight dimensions the estimate is good; then it drops, and it is always too low. Unbiased means right on average over very
# many repetitions, nearly all of which are too low while a very few are far too high. Moreover it is the estimate of p(x) that is unbiased: its log is
# biased downwards, by Jensen's inequality (exercise 4.5). It takes S ~ exp(KL(p(z|x) ‖ p(z))) samples; that is worth writing on the board.

# %% [markdown]
# ## Let an encoder say where to look
#
# Only a few codes explain *this* image: those where the posterior $p(\mathbf z \mid \mathbf x)$ is large, a tiny part of the prior. So draw $\mathbf z$ from a
# $q(\mathbf z \mid \mathbf x)$ that depends on the image. We learn ours by linear regression: sample codes, decode them, add noise, and regress the
# codes on the images. The standard deviation of the residuals is $\boldsymbol\sigma$; to be on the safe side we multiply it by `WIDEN`.
#
# $$q(\mathbf z \mid \mathbf x) = \mathcal N(\boldsymbol\mu(\mathbf x), \operatorname{diag}(\boldsymbol\sigma^2))$$

# %%
WIDEN = 1.3


def with_one(x):
    """Images with a constant 1 appended, for the intercept of the regression."""
    return np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)


codes = rng.standard_normal((20 * len(b), LATENT_DIM))
invented = codes @ W.T + b + s * rng.standard_normal((len(codes), len(b)))
coefficients = np.linalg.lstsq(with_one(invented), codes, rcond=None)[0]
residual = np.std(codes - with_one(invented) @ coefficients, axis=0)


def encode(x):
    """Parameters μ and σ of q(z|x), each `(latent,)`, for one image."""
    return with_one(x) @ coefficients, WIDEN * residual


def log_normal(value, mean, std):
    """log N(value; mean, diag(std²)), summed over the last axis."""
    return -0.5 * np.sum(((value - mean) / std) ** 2 + np.log(2 * np.pi * std**2 * np.ones_like(value)), axis=-1)


print("σ of the prior: 1 in each dimension; of q: from", residual.min().round(2), "to", residual.max().round(2))

# %% [markdown]
# ## Exercise 4.3: importance weights (7 minutes)
#
# Samples of $q$ favour codes that explain $\mathbf x$. To average over them as if they came from the prior, weight each by how likely it is under the prior relative to $q$:
#
# $$p(\mathbf x) = \int p(\mathbf x \mid \mathbf z)\, \frac{p(\mathbf z)}{q(\mathbf z \mid \mathbf x)}\, q(\mathbf z \mid \mathbf x)\, d\mathbf z
# = \mathbb E_{q(\mathbf z \mid \mathbf x)}[w], \qquad w = \frac{p(\mathbf x \mid \mathbf z)\, p(\mathbf z)}{q(\mathbf z \mid \mathbf x)}$$
#
# Work with logarithms again, and use `log_normal` from the cell above.
#
# <details><summary>Hint</summary>
#
# There are three terms. The prior is `log_normal(z, 0.0, 1.0)`. Which of the three is subtracted?
# </details>


# %%
def log_weights(log_px, z, q_mean, q_std):
    """log w of each sample, `(samples,)`; log_px = log p(x|z) `(samples,)`, z `(samples, latent)`, μ and σ `(latent,)`."""
    ### BEGIN SOLUTION
    return log_px + log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, q_std)
    ### END SOLUTION


log_weights = kvae.worksheet.check("4.3", log_weights)

# %% [markdown]
# **Predict before you run.** How many samples does each method need to get within one nat of the exact value?

# %%
x = x_test[0]
q_mean, q_std = encode(x)
z = q_mean + q_std * rng.standard_normal((10_000, LATENT_DIM))
log_w = log_weights(log_likelihood(x, z @ W.T + b, s), z, q_mean, q_std)

numbers = np.unique(np.geomspace(1, 10_000, 60).astype(int))
figure, axes = canvas("One image, two ways to sample", "samples", "estimate of log p(x), nats")
axes.axhline(exact_log_p(x, W, s), color=COLORS[2], linewidth=2.5, label="exact")
for label, values, color in [("from q(z|x), weighted", log_w, COLORS[4]), ("from the prior", from_prior, COLORS[0])]:
    axes.plot(numbers, [log_mean(values[:n]) for n in numbers], color=color, linewidth=2.5, label=label)
axes.set_xscale("log")
axes.legend(fontsize=TICK_SIZE, loc="lower right")
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# From $q$, three or four. From the prior, more than 10,000: the curve is still far below after all of them.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* q needs three or four samples, the prior more than we have time for: its curve is a staircase. Each step is one lucky sample that
# dominates the sum, followed by a long flat stretch in which the estimate *looks* converged. That is the motivation for 4.4.

# %% [markdown]
# ## Exercise 4.4: how many samples carry the estimate (5 minutes)
#
# How would you notice without an exact value? Look at the weights. If one of them dominates all others, you effectively have one sample, however many you drew. The
# **effective sample size** turns this into a number between 1 and $S$:
#
# $$\mathrm{ESS} = \frac{\left(\sum_r w_r\right)^2}{\sum_r w_r^2}$$
#
# A common factor of all weights cancels, so factor out the largest one again.
#
# <details><summary>Hint</summary>
#
# `weights = np.exp(log_w - np.max(log_w))`, then the formula. What does it give if all weights are equal?
# </details>


# %%
def effective_sample_size(log_w):
    """(Σ w)² / Σ w² from log-weights `(samples,)`: a number."""
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
# A network is trained on $\log p(\mathbf x)$ with one or a few samples per step. The log of a mean is inconvenient for that: its estimate is biased, and the log does not distribute over the sum. But
# log is concave, so by **Jensen's inequality**
#
# $$\log p(\mathbf x) = \log \mathbb E_{q}[w] \;\ge\; \mathbb E_{q}[\log w] = \mathcal L(\mathbf x)$$
#
# and the right-hand side, the **evidence lower bound**, is a simple mean. Estimate it from the same samples.
#
# <details><summary>Hint</summary>
#
# In 4.2 the log is outside the mean. Where is it now? The answer is shorter than you think.
# </details>


# %%
def elbo(log_w):
    """ELBO estimated from log-weights `(samples,)`: a number."""
    ### BEGIN SOLUTION
    return np.mean(log_w)
    ### END SOLUTION


elbo = kvae.worksheet.check("4.5", elbo)

# %% [markdown]
# **Predict before you run.** The histogram shows $\log w$ of the 10,000 samples of $q$. Where in it is the ELBO, and where is $\log p(\mathbf x)$? What would
# the histogram look like if the two were equal?

# %%
figure, axes = canvas("The gap in Jensen's inequality", "log w, nats", "samples")
axes.hist(log_w, bins=80, range=(np.quantile(log_w, 0.002), log_w.max()), color=COLORS[3])
axes.axvline(elbo(log_w), color=COLORS[0], linewidth=3, label=f"ELBO, the mean of log w: {elbo(log_w):.2f}")
axes.axvline(log_mean(log_w), color=COLORS[4], linewidth=3, label=f"log of the mean of w: {log_mean(log_w):.2f}")
exact = exact_log_p(x, W, s)
axes.axvline(exact, color=COLORS[2], linewidth=3, linestyle=":", label=f"exact log p(x): {exact:.2f}")
axes.legend(fontsize=TICK_SIZE, loc="upper left")
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The ELBO is the mean of the histogram; $\log p(\mathbf x)$ lies to the right of it, as the log of a mean is
# dominated by large weights. If the two were equal, all $\log w$ would be equal: a histogram of one bar.
# </details>

# %% [markdown]
# This gap has a name. Substitute $p(\mathbf x \mid \mathbf z)\, p(\mathbf z) = p(\mathbf z \mid \mathbf x)\, p(\mathbf x)$ into $w$ and take the expectation of the log:
#
# $$\log p(\mathbf x) = \mathcal L(\mathbf x) + D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$$
#
# The bound is as good as $q$. **Predict before you run.** We vary the width of $q$, from a quarter of the residual to three times the residual. Where does the ELBO touch
# the line, and on which side does it fall faster?

# %%
widths = np.geomspace(0.25, 3, 25)
noise = rng.standard_normal((2_000, LATENT_DIM))


def along_widths(bound):
    """Values of a function of (log p(x|z), z, μ, σ) for every width of q."""
    values = []
    for width in widths:
        z = q_mean + width * residual * noise
        values.append(bound(log_likelihood(x, z @ W.T + b, s), z, q_mean, width * residual))
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

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# At 1, where $q$ is nearly the posterior. It falls faster on the right: like $\sigma^2$, on the left only like $\log
# \sigma$.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* It (nearly) touches at 1: there q is the posterior, up to the error of the regression, because for PCA's W the posterior is diagonal. It falls
# like log σ on the left and like σ² on the right, so for the same factor, being too wide costs more. Link to training:
# raising the ELBO with respect to q's parameters lowers this KL, because log p(x) does not depend on φ.

# %% [markdown]
# ## Exercise 4.6: find the bug (8 minutes)
#
# Lectures 001 and 003 write the ELBO in another way: the prior and $q$ are combined into one term. Its closed form for Gaussians is in lectures 000 and 004:
#
# $$\mathcal L(\mathbf x) = \mathbb E_{q}[\log p(\mathbf x \mid \mathbf z)] - D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z)], \qquad
# D_{\mathrm{KL}} = \tfrac12 \sum_{k} \left[\sigma_k^2 + \mu_k^2 - \log \sigma_k^2 - 1\right]$$
#
# The encoder of lecture 001 returns $\boldsymbol\mu$ and $\log \boldsymbol\sigma$. (The slide calls the covariance $\operatorname{diag}(\boldsymbol\sigma)$; with standard deviations $\sigma_k$ it is
# $\operatorname{diag}(\boldsymbol\sigma^2)$, as in our table.) A colleague implemented it as below and is pleased with the value.
#
# **Predict before you run.** Is the new curve the same as yours? It should be.


# %%
def broken_elbo(log_px, q_mean, q_log_std):
    """The colleague's ELBO; log_px `(samples,)`, μ and log σ `(latent,)`."""
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
# <details><summary>Answer to “Predict before you run”</summary>
#
# It is not: it lies above yours, and for some widths above the exact value, which no lower bound can do.
# </details>

# %% [markdown]
# A lower bound that lies above what it bounds is not a lower bound. (Without an exact value, no data set will tell you: such a model simply "beats" all others.)
# Which quantity has been confused with which? Write the correct version.
#
# <details><summary>Hint</summary>
#
# Which of the two terms can it be? Test that term where you know its value. At $\mu = 0$, $\sigma = 1$ it is 0 with or without the bug, so use
# $\mu = 0$, $\sigma = 2$.
# </details>


# %%
def fixed_elbo(log_px, q_mean, q_log_std):
    """The ELBO, a number; log p(x|z) `(samples,)` for samples of q, its μ and log σ `(latent,)`."""
    ### BEGIN SOLUTION
    divergence = 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)
    return np.mean(log_px) - divergence
    ### END SOLUTION


fixed_elbo = kvae.worksheet.check("4.6", fixed_elbo)

# %% [markdown] tags=["instructor"]
# *For the instructor.* log σ was used where the formula has log σ². Lecture 001 has log σ in the encoder, lectures 000 and 004 have log σ² in the formula, and most code on the web has
# log σ² in both; neither a shape nor an error distinguishes the two. Since σ < 1, the KL comes out too small and the bound too high.

# %% [markdown]
# ## Exercise 4.7, stretch: the optimal $q$ (at home, or if you finish early)
#
# If $q(\mathbf z \mid \mathbf x) = p(\mathbf z \mid \mathbf x)$, then $w = p(\mathbf x)$ for every $\mathbf z$: *one* sample is enough, and the ELBO is exact. For a linear model the posterior is
# Gaussian with
#
# $$\boldsymbol\Sigma = \left(\mathbf I + \tfrac{1}{s^2} \mathbf W^\top \mathbf W\right)^{-1}, \qquad \mathbf m = \tfrac{1}{s^2}\, \boldsymbol\Sigma\, \mathbf W^\top (\mathbf x - \mathbf b)$$
#
# <details><summary>Hint</summary>
#
# `np.linalg.inv` and `np.eye(W.shape[1])`; `W.T @ W` is `(latent, latent)`.
# </details>


# %%
def posterior(x, W, b, s):
    """Mean `(latent,)` and covariance `(latent, latent)` of p(z|x)."""
    ### BEGIN SOLUTION
    covariance = np.linalg.inv(np.eye(W.shape[1]) + W.T @ W / s**2)
    return covariance @ W.T @ (x - b) / s**2, covariance
    ### END SOLUTION


posterior = kvae.worksheet.check("4.7", posterior)

# %%
mean, covariance = posterior(x, W, b, s)
for _ in range(3):
    z = rng.multivariate_normal(mean, covariance, size=1)
    log_px = log_likelihood(x, z @ W.T + b, s)
    value = log_px + log_normal(z, 0.0, 1.0) - multivariate_normal(mean, covariance).logpdf(z[0])
    print(f"one sample of p(z|x): log w = {value[0]:.6f}, log p(x) = {exact:.6f}")

# %% [markdown]
# ## Summary
#
# - $p(\mathbf x) = \mathbb E_{p(\mathbf z)}[p(\mathbf x \mid \mathbf z)]$, but nearly every code explains a given image badly: in more than a few dimensions an average over samples of the prior is
#   far too low, and it looks converged.
# - Importance sampling draws from $q(\mathbf z \mid \mathbf x)$ and weights with $p(\mathbf z) / q(\mathbf z \mid \mathbf x)$. The effective sample size tells you whether to trust it.
# - Jensen's inequality moves the log inside the mean: $\mathcal L = \mathbb E_q[\log w] \le \log p(\mathbf x)$. The gap is $D_{\mathrm{KL}}[q(\mathbf z \mid \mathbf x) \,\|\, p(\mathbf z \mid \mathbf x)]$.
# - So the encoder of a VAE is a proposal distribution for importance sampling, and training improves the proposal.
#
# Worksheet 5 derives the gradient of this bound with respect to $q$; worksheet 7 moves the log part of the way back out of the mean.
