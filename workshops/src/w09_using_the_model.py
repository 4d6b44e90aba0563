# ---
# jupyter:
#   kvae:
#     worksheet: 9
#     topic: Using the model
#     about: "anomaly detection, denoising, inpainting, compression"
#     lectures: "002"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 9: Using the model
#
# **50 minutes.** After it you can
#
# 1. score how anomalous an image is to a model, and measure how well such scores separate anomalies from normal images;
# 2. restore a noisy or half-hidden image with a model that was trained for neither;
# 3. say what "this pixel is unknown" means in a likelihood, and what happens if it is confused with "this pixel is black";
# 4. count the bits that a latent code costs, and read a rate–distortion curve.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last
# line checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours if it is not, so
# the cells further down always run. You need NumPy, the ELBO (worksheet 4), and the VAE (worksheet 6).

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 5 minutes, exercises 9.1 to 9.6 take 38, the figures and the summary
# 7. One sentence for the board: *one model, trained once; the tasks differ in what is observed.* Fast students continue with 9.7.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from scipy.stats import norm

from kvae import applications

DATASET = "mnist_small"  # 10,000 images; or "mnist" for all 70,000, or "digits" for 8×8 pixels, which is faster
EPOCHS = {"mnist_small": 20, "mnist": 4, "digits": 60}[DATASET]
LATENT_DIM = 4
SIGMA = 0.2  # standard deviation of p(x|z) in each pixel

keras.utils.set_random_seed(0)
data = kvae.load_data(DATASET)
x_train, x_test, y_test = data.x_train, data.x_test[:1000], data.y_test[:1000]
gaussian = kvae.distributions.Normal(sigma=SIGMA)
networks = kvae.networks.mlp(data.image_shape, LATENT_DIM, hidden=(256, 128), likelihood=gaussian)
model = kvae.VAE(*networks, likelihood=gaussian, seed=0)
model.compile(optimizer=keras.optimizers.Adam(2e-3))
model.fit(x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()])
pca = kvae.baselines.PCA(LATENT_DIM).fit(x_train)
drawn = model.generate(10, seed=0)
title = "Test images, their reconstructions, and samples"
kvae.worksheet.show(
    kvae.plots.reconstruction_grid(x_test[:10], model.reconstruct(x_test[:10]), {"samples": drawn}, title=title)
)

# %% [markdown]
# ## One model, many tasks
#
# Lecture 002: *once we have an explicit probabilistic model, we can use it out of the box for any of a variety of "common sense" tasks. No extra training or special
# procedures required.* Let us test this claim. The model above is trained; nothing below trains it further.
#
# $$p(\mathbf z) = \mathcal N(\mathbf 0, \mathbf I), \qquad p_\theta(\mathbf x \mid \mathbf z) = \mathcal N(\mathbf m_\theta(\mathbf z), \sigma^2 \mathbf I), \qquad \sigma = 0.2$$
#
# It has $K$ latent dimensions for an image of $d$ pixels (here $K = 4$ and $d = 28 \cdot 28 = 784$). For comparison we use PCA with as many components, which has no $p$.
#
# ## Exercise 9.1: how anomalous is an image? (4 minutes)
#
# An image is anomalous if the model gives it a small $p(\mathbf x)$. We have a bound on the logarithm, $\log p_\theta(\mathbf x) \ge \mathbb E_q[\log p_\theta(\mathbf x \mid \mathbf z)] - D_{\mathrm{KL}}[q \,\|\, p]$.
# Turn its two terms into a score: **the more anomalous, the higher**. (With a Gaussian likelihood $p$ is a density, so scores can be negative.)


# %%
def strangeness(log_likelihood, kl):
    """Score of each image `(n,)`, in nats, from E_q[log p(x|z)] `(n,)` and the KL `(n,)`."""
    ### BEGIN SOLUTION
    return kl - log_likelihood
    ### END SOLUTION


strangeness = kvae.worksheet.check("9.1", strangeness)

# %% [markdown]
# **Predict before you run.** Anomalies are easy to make: we turn the test images upside down (and move them by a pixel, so that their centre stays where it was). Which digits will the model then *not* find anomalous?
# And which is more anomalous to it: a real digit, or the average of all images, a grey blur?


# %%
def score(x):
    """Your score of images `(n, height, width, 1)`."""
    return strangeness(*model.elbo_terms(x, num_samples=20, seed=0))


upside_down = np.roll(x_test[:, ::-1, ::-1], 1, axis=(1, 2))
normal, strange = score(x_test), score(upside_down)
print(f"median score: upright {np.median(normal):.0f} nats, upside down {np.median(strange):.0f} nats")
print(f"the average image: {score(x_train.mean(axis=0, keepdims=True))[0]:.0f} nats")
title = "Scores of upright and upside-down digits"
names = ("upright", "upside down")
kvae.worksheet.show(kvae.plots.anomalies(x_test, normal, strange, names, unit="−ELBO, nats", title=title), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# 0, 1, 5 and 8, which look much the same upside down, and 6 and 9, which become each other. The average image is *less*
# anomalous to it than most real digits: it is likely, though it is typical of nothing.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* 9.2 prints the numbers by digit. Without the pixel, even the 0 and the 1 would be noticed: the model knows very well where they are. The average image is less anomalous than most real ones: high density is
# not the same as typical, because in many dimensions nearly all of the mass is far from the peak. So a score separates "unlike the data" from "like the
# data", not "fake" from "real".

# %% [markdown]
# ## Exercise 9.2: how good is a score? (6 minutes)
#
# To decide we would need a threshold, but which one? The **area under the ROC curve** needs none. It is the probability that a random anomalous image $s$ has a higher score than a random normal
# image $n$; ties count half:
#
# $$\mathrm{AUROC} = P(\text{score}_s > \text{score}_n) + \tfrac12 P(\text{score}_s = \text{score}_n)$$
#
# Compute it over **all pairs**. What is it for scores that carry no information?
#
# <details><summary>Hint</summary>
#
# `strange[:, None] > normal[None, :]` compares every pair, and the mean of Boolean values is the share of `True`.
# </details>


# %%
def auroc(normal, strange):
    """Area under the ROC curve, from the scores of normal `(n,)` and of anomalous images `(m,)`."""
    ### BEGIN SOLUTION
    above = strange[:, None] > normal[None, :]
    equal = strange[:, None] == normal[None, :]
    return np.mean(above + 0.5 * equal)
    ### END SOLUTION


auroc = kvae.worksheet.check("9.2", auroc)

# %% [markdown]
# **Predict before you run.** Order the ten digits by how well the model notices that they are upside down. Does it need the KL for that, or is the squared error of the reconstruction enough? And PCA's?

# %%
print(f"{'−ELBO':>26}: AUROC {auroc(normal, strange):.3f}")
for name, each in {"the model": model, "PCA": pca}.items():
    errors = [applications.anomaly_score(each, x, method="reconstruction") for x in (x_test, upside_down)]
    print(f"{'squared error, ' + name:>26}: AUROC {auroc(*errors):.3f}")
by_digit = [auroc(normal[y_test == k], strange[y_test == k]) for k in range(10)]
print("by digit:", " ".join(f"{k}: {value:.2f}" for k, value in enumerate(by_digit)))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# 4, 2, 7 and 3 are noticed best, 1 and 8 worst. The squared error alone does as well here; PCA's does worse.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Scores without information give ½. An AUROC near 0 is not a bad score but a good one with the wrong sign: ask who had that in 9.1.

# %% [markdown]
# ## Exercise 9.3: what an observation says about a code (6 minutes)
#
# Now we observe something and want the image behind it. Take a noisy image, $\tilde{\mathbf x} = \mathbf x + s\,\boldsymbol\epsilon$ with $\boldsymbol\epsilon \sim \mathcal N(\mathbf 0, \mathbf I)$. Together with the model's own
# $\sigma$ this gives
#
# $$p(\tilde{\mathbf x} \mid \mathbf z) = \mathcal N(\tilde{\mathbf x} \mid \mathbf m(\mathbf z), \tau^2 \mathbf I), \qquad \tau^2 = \sigma^2 + s^2, \qquad
# \log p(\tilde{\mathbf x} \mid \mathbf z) = -\sum_{j=1}^{d} \frac{(\tilde x_j - m_j(\mathbf z))^2}{2 \tau^2} + \text{const}$$
#
# Write it for one observation and many codes. Whatever is the same for all codes will cancel, so you can leave out the constant.


# %%
def log_likelihood(observed, means, tau):
    """log p(x̃|z) of each code `(codes,)`, from x̃ `(d,)` and the decoded codes `(codes, d)`; in NumPy."""
    ### BEGIN SOLUTION
    return -0.5 * np.sum((observed - means) ** 2, axis=1) / tau**2
    ### END SOLUTION


log_likelihood = kvae.worksheet.check("9.3", log_likelihood)

# %% [markdown]
# ## Exercise 9.4: the image behind it (8 minutes)
#
# The best guess, in terms of squared error, is the posterior mean of the decoded codes. Use Bayes' rule, and codes $\mathbf z_1, \dots, \mathbf z_N$ drawn from the **prior**:
#
# $$\hat{\mathbf x} = \mathbb E[\mathbf m(\mathbf z) \mid \tilde{\mathbf x}] = \frac{\int \mathbf m(\mathbf z)\, p(\tilde{\mathbf x} \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z}{\int p(\tilde{\mathbf x} \mid \mathbf z)\, p(\mathbf z)\, d\mathbf z}
# \approx \sum_{i=1}^{N} w_i\, \mathbf m(\mathbf z_i), \qquad w_i = \frac{p(\tilde{\mathbf x} \mid \mathbf z_i)}{\sum_{j} p(\tilde{\mathbf x} \mid \mathbf z_j)}$$
#
# <details><summary>Hint</summary>
#
# $e^{-900}$ underflows to 0, and 0/0 is not a number. Subtract the largest logarithm from all of them before `np.exp`: it cancels in $w_i$.
# </details>


# %%
def posterior_mean(logs, means):
    """Restored image x̂ `(d,)`, from log p(x̃|z) of each code `(codes,)` and the decoded codes `(codes, d)`."""
    ### BEGIN SOLUTION
    weights = np.exp(logs - logs.max())
    weights = weights / weights.sum()
    return weights @ means
    ### END SOLUTION


posterior_mean = kvae.worksheet.check("9.4", posterior_mean)

# %% [markdown]
# **Predict before you run.** The noise has a standard deviation of $s = 1$, the whole distance from black to white. There are three ways to remove it: encode and decode the noisy image, PCA's reconstruction, and your posterior mean.
# Which is best, which is worst? (Has the encoder ever seen such an image?) And how many of the 20,000 codes will contribute?

# %%
S = 1.0
rng = np.random.default_rng(0)
originals = x_test[:60]
noisy = originals + S * rng.standard_normal(originals.shape).astype("float32")
means = model.decode(model.sample_prior(20_000, seed=0)).reshape(20_000, -1)
tau = np.sqrt(SIGMA**2 + S**2)


def effective(logs):
    """The effective number of codes, from log p(observed|z) of each."""
    weights = np.exp(logs - logs.max())
    return weights.sum() ** 2 / np.square(weights).sum()


logs = [log_likelihood(observed, means, tau) for observed in noisy.reshape(len(noisy), -1)]
restored = np.stack([posterior_mean(each, means) for each in logs]).reshape(noisy.shape)
rows = {
    "noisy": noisy,
    "encode, decode": model.reconstruct(noisy),
    "PCA": pca.reconstruct(noisy),
    "posterior mean": restored,
}
for name, images in rows.items():
    print(f"{name:>14}: {applications.psnr(originals, images).mean():.1f} dB")
print(f"of {len(means)} codes, effectively {np.median([effective(each) for each in logs]):.0f} contribute (median)")
rows = {name: images[:10] for name, images in {"original": originals, **rows}.items()}
kvae.worksheet.show(kvae.plots.image_grid(np.stack(list(rows.values())), list(rows), title="Denoising"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The posterior mean is best. Encoding and decoding is worse than PCA: the encoder has never seen noise, and
# encodes it. A few dozen of the 20,000 codes contribute: 784 pixels say a lot, even through this noise.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The encoder is a quick guess at p(z|x), learnt on clean images; it has never seen noise, and encodes the noise too. The posterior weights all codes by what
# was actually observed. "Most of P(X|z) ≈ 0" (lecture 003) shows in the last number: sampling the prior works in four dimensions, and
# fails in many, where not one of 20,000 codes is near. There, `kvae.applications.denoise` moves towards the posterior with a Markov chain.

# %% [markdown]
# ## Exercise 9.5: find the bug (8 minutes)
#
# Inpainting is the same problem with a smaller observation: some pixels are **known**, and nothing is known about the others. A colleague sets the unknown ones to 0 and passes the image to your `log_likelihood`, with $\tau = \sigma$.
#
# **Predict before you run.** The lower half is hidden. What will the figure show there?


# %%
def broken_likelihood(x, known, means, tau):
    """The colleague's log p(known pixels|z) of each code; `known` `(d,)` is 1 for known pixels, 0 for hidden ones."""
    return log_likelihood(x * known, means, tau)


def fill_in(likelihood, x, known):
    """Keep known pixels and fill in hidden ones from the posterior mean; x `(n, d)`."""
    guesses = np.stack([posterior_mean(likelihood(each, known, means, SIGMA), means) for each in x])
    return np.where(known, x, guesses)


known = np.ones(data.image_shape)
known[data.image_shape[0] // 2 :] = 0
known = known.reshape(-1)
flat = originals.reshape(len(originals), -1)
broken = fill_in(broken_likelihood, flat, known)
rows = {"known": np.where(known, flat, 0.5), "filled in": broken, "truth": flat}
images = np.stack(list(rows.values()))[:, :12].reshape(3, 12, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(images, list(rows), title="Broken: filling in the lower half"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Something dark, which does not fit the upper half.
# </details>

# %% [markdown]
# The filled-in half is too dark to match the upper one. What does the model think it has observed there? A pixel that nobody has observed carries no information about the code:
#
# $$\log p(\mathbf x_{\text{known}} \mid \mathbf z) = -\sum_{j \text{ known}} \frac{(x_j - m_j(\mathbf z))^2}{2 \sigma^2} + \text{const}$$
#
# <details><summary>Hint</summary>
#
# A hidden pixel must add the same amount to the sum for every code, for example 0. Where must `known` appear to achieve that?
# </details>


# %%
def fixed_likelihood(x, known, means, tau):
    """log p(known pixels|z) of each code `(codes,)`; x `(d,)`, known `(d,)` of 1 and 0, means `(codes, d)`."""
    ### BEGIN SOLUTION
    return -0.5 * np.sum(known * (x - means) ** 2, axis=1) / tau**2
    ### END SOLUTION


fixed_likelihood = kvae.worksheet.check("9.5", fixed_likelihood)

# %% [markdown]
# **Predict before you run.** Suppose that the upper half could belong to a 4 or a 9: what would the posterior **mean** look like? And how many of the 20,000 codes
# will count, now that half of the pixels are known, each to within $\sigma = 0.2$?

# %%
rows = {
    "known": np.where(known, flat, 0.5),
    "broken": broken,
    "fixed": fill_in(fixed_likelihood, flat, known),
    "truth": flat,
}
hidden = known == 0
for name in ("broken", "fixed"):
    error = kvae.evaluation.reconstruction_mse(flat[:, hidden], rows[name][:, hidden])
    print(f"{name}: mean squared error {error:.3f} per hidden pixel")
number = np.median([effective(fixed_likelihood(x, known, means, SIGMA)) for x in flat[:12]])
print(f"of {len(means)} codes, effectively {number:.1f} contribute (median)")
images = np.stack(list(rows.values()))[:, :12].reshape(4, 12, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(images, list(rows), title="Filling in the lower half"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# A blend of both, grey where a 4 and a 9 differ. But so many known pixels leave the model few doubts: one or two codes have nearly all
# of the weight, and most answers are a single digit, though not always the right one.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The model is surer than it should be: it takes the errors of neighbouring pixels for independent. A posterior *sample* is always one digit or the other: draw codes with probabilities $w_i$, or see
# `kvae.applications.inpaint` and `kvae.plots.inpainting`, which show samples, their mean and their spread.

# %% [markdown]
# ## Exercise 9.6: what does a code cost? (6 minutes)
#
# A code of a few numbers represents a whole image, so it is a compressed image. In a file, numbers are rounded: $\bar z = \Delta \cdot \operatorname{round}(z / \Delta)$, with a **step** $\Delta$. An ideal coder that knows $z \sim p(z)$ spends on each number
#
# $$-\log_2 P(\bar z) \text{ bits}, \qquad P(\bar z) = \int_{\bar z - \Delta/2}^{\bar z + \Delta/2} \mathcal N(u \mid 0, 1)\, du = \Phi\!\left(\bar z + \tfrac{\Delta}{2}\right) - \Phi\!\left(\bar z - \tfrac{\Delta}{2}\right)$$
#
# So far we used the prior only to draw samples; here it is the probability model of the coder.
#
# <details><summary>Hint</summary>
#
# `norm.cdf` is $\Phi$, `np.rint` rounds, and the bits of an image are summed over its latent dimensions.
# </details>


# %%
def bits(z, step):
    """Bits of each image `(n,)`, from its code z `(n, latent)`."""
    ### BEGIN SOLUTION
    rounded = step * np.rint(z / step)
    mass = norm.cdf(rounded + step / 2) - norm.cdf(rounded - step / 2)
    return -np.log2(mass).sum(axis=1)
    ### END SOLUTION


bits = kvae.worksheet.check("9.6", bits)

# %% [markdown]
# **Predict before you run.** The step is doubled repeatedly. How do the bits change at each doubling? And the error: does it double too?
# Where will PCA's curve be, with as many numbers per image?

# %%
steps = [0.125, 0.25, 0.5, 1.0, 2.0]
z = model.encode(x_test).astype("float64")
curves = {name: applications.rate_distortion(each, x_test, steps) for name, each in {"VAE": model, "PCA": pca}.items()}
pixels = x_test[0].size
for step, rate, error in zip(steps, curves["VAE"]["prior_rate"], curves["VAE"]["mse"], strict=True):
    print(
        f"step {step:>5}: {bits(z, step).mean():5.1f} bits per image, {rate:.3f} per pixel, mean squared error {error:.4f}"
    )
png = applications.png_rate(x_test)
print(f"PNG, lossless: {png * pixels:.0f} bits per image, {png:.2f} per pixel")
kvae.worksheet.show(kvae.plots.rate_distortion(curves, title="Rate and distortion of latent codes"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# At each doubling about one bit is saved per dimension, four in all. The error hardly changes at first, because the
# code is uncertain anyway. PCA's curve lies above: a larger error for as many bits.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Doubling saves one bit per dimension as long as the step is small compared with the prior. The error hardly changes at first: the posterior
# is uncertain by its own width anyway, so finer steps gain nothing. The file (solid line) costs more than the ideal coder, because zlib has to learn the probabilities from the
# data.

# %% [markdown]
# ## Exercise 9.7, stretch: super-resolution (at home, or if you finish early)
#
# Super-resolution is the same problem again. We observe a small image in which each pixel is the **mean of a block** of $f \times f$ pixels ($4 \times 4$ in the figure below). The sum of squares runs over the small pixels, but the answer has the large ones: so downsample the decoded
# images for `log_likelihood`, but not for `posterior_mean`.
#
# <details><summary>Hint</summary>
#
# `applications.downsample(means, factor)` takes and returns images `(n, height, width, 1)`. Your two functions take rows of pixels: `.reshape(len(means), -1)`.
# </details>


# %%
def super_resolve(small, means, tau, factor):
    """Large image `(d,)` from a small one `(d / factor²,)` and the decoded codes, images `(codes, height, width, 1)`."""
    ### BEGIN SOLUTION
    blocks = applications.downsample(means, factor).reshape(len(means), -1)
    return posterior_mean(log_likelihood(small, blocks, tau), means.reshape(len(means), -1))
    ### END SOLUTION


super_resolve = kvae.worksheet.check("9.7", super_resolve)

# %%
FACTOR = 4
small = applications.downsample(originals[:12], FACTOR)
decoded = means.reshape(-1, *data.image_shape)
large = np.stack([super_resolve(each.reshape(-1), decoded, SIGMA / FACTOR, FACTOR) for each in small])
rows = {
    "small": np.kron(small, np.ones((1, FACTOR, FACTOR, 1))),
    "enlarged": large.reshape(12, *data.image_shape),
    "truth": originals[:12],
}
for name in ("small", "enlarged"):
    print(f"{name}: mean squared error {kvae.evaluation.reconstruction_mse(rows['truth'], rows[name]):.3f} per pixel")
kvae.worksheet.show(
    kvae.plots.image_grid(np.stack(list(rows.values())), list(rows), title="Sixteen times as many pixels")
)

# %% [markdown]
# ## Summary
#
# - There is one model, trained once. Each task is a question about $p(\mathbf x)$ or $p(\mathbf z \mid \text{observed})$.
# - **Anomaly detection**: the score is $-\mathcal L$, and AUROC measures how good it is; ½ is chance. A high score means "unlike the data"; a bland image is not unlike the data.
# - **Denoising, inpainting, super-resolution**: weight codes by $p(\text{observed} \mid \mathbf z)$ and average the decoded images. What is not observed does not appear in the sum.
# - Compute weights from logarithms: subtract the largest before `exp`.
# - **Compression**: the prior is the probability model of the coder; the cost is $-\log_2$ of a probability, not of a density. Steps finer than the posterior's width are wasted.
#
# In kvae: `applications.anomaly_score`, `auroc`, `denoise`, `inpaint`, `super_resolve`, `compress`, `rate_distortion`; they go further than 20,000 samples of the prior can.
# On the command line: `kvae apply`.
