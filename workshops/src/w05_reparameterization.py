# ---
# jupyter:
#   kvae:
#     worksheet: 5
#     topic: The reparameterization trick
#     about: "score function against pathwise gradient, inverse CDF, log-normal"
#     lectures: "000, 003, 004"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 5: The reparameterization trick
#
# **50 minutes.** After it you can
#
# 1. say why the gradient of $\mathbb E_{q_\phi(z)}[f(z)]$ with respect to $\phi$ is a problem, and write two estimators of it;
# 2. show that both are right and that one of them is far noisier, and what that does to a training;
# 3. reparameterize other families: by location and scale, by the inverse CDF, by composition;
# 4. tell from a picture that an automatic gradient went through the wrong place, and stop it there.
#
# **How it works.** Replace each `...` marked `YOUR CODE`, and run the cell; its last line checks your answer. A check says what is
# wrong, not only that something is. It hands back your answer if that is right and ours if not, so the cells further down always
# run. You need: NumPy, derivatives, the Gaussian density, and the ELBO (worksheet 4).

# %% [markdown] tags=["instructor"]
# *For the instructor.* The problem 6 minutes, exercises 5.1 to 5.5 34 minutes, the pictures and the summary 10 minutes. The slowest part is 5.1:
# derive ∇q = q ∇log q on the board before it. Whoever is quick goes on to 5.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # exercise 5.5 takes gradients with a tf.GradientTape
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import stats

import kvae
from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # the switch: "mnist" for 28×28 pixels, about three minutes
EPOCHS = {"digits": 25, "mnist": 3}[DATASET]
X, NOISE = 2.0, 0.5  # the toy model's one pixel that depends on z, and its noise
REST = -20.0  # log-density of the pixels that do not


def f(z):
    """log p(x|z) = log N(x; 2z, NOISE²) + REST, of arrays or tensors of any shape."""
    return -0.5 * ((X - 2.0 * z) / NOISE) ** 2 - float(np.log(NOISE * np.sqrt(2 * np.pi))) + REST


def slope(z):
    """Its derivative f'(z)."""
    return 2.0 * (X - 2.0 * z) / NOISE**2


def style(axes, title, x_label, y_label):
    """Title and labels that can be read from the back of a room."""
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)


# %% [markdown]
# ## The problem
#
# A small latent variable model: one observation, one latent $z$. A pixel $x = 2$ depends on $z$, and some more, as in every real image, do not:
# they add a constant to $\log p(\mathbf x \mid z)$, $-20$ nats.
#
# $$p(z) = \mathcal N(0, 1), \qquad p(\mathbf x \mid z) = \mathcal N(x; 2z, 0.5^2)\, e^{-20}, \qquad q_\phi(z) = \mathcal N(\mu, \sigma^2), \quad \phi = (\mu, \log\sigma)$$
#
# Its ELBO is $\mathcal L(\phi) = \mathbb E_{q_\phi}[f(z)] - D_{\mathrm{KL}}[q_\phi(z) \,\|\, p(z)]$ with $f(z) = \log p(\mathbf x \mid z)$. The KL has a formula, and so its gradient. For the other
# term lecture 000 draws $z_s \sim q_\phi$ and averages, $\frac1S \sum_s f(z_s)$. **And there $\phi$ has disappeared:** the numbers $z_s$ do not say how they would have
# changed with $\mu$. There are two ways out.
#
# ## Exercise 5.1: the score function (9 minutes)
#
# *Leave the samples where they are, and change how much each one counts.* Because $\nabla_\phi q_\phi = q_\phi \nabla_\phi \log q_\phi$,
#
# $$\nabla_\phi \mathbb E_{q_\phi}[f(z)] = \int f(z)\, \nabla_\phi q_\phi(z)\, dz = \mathbb E_{q_\phi}\left[f(z)\, \nabla_\phi \log q_\phi(z)\right]$$
#
# For the Gaussian, $\log q_\phi(z) = -\log\sigma - \frac{(z - \mu)^2}{2\sigma^2} + \text{const}$, so
#
# $$\frac{\partial \log q_\phi}{\partial \mu} = \frac{z - \mu}{\sigma^2}, \qquad \frac{\partial \log q_\phi}{\partial \log \sigma} = \frac{(z - \mu)^2}{\sigma^2} - 1$$
#
# Return what stands in the bracket, for each sample, both derivatives side by side: `np.stack([…, …], axis=-1)`.
#
# <details><summary>Hint</summary>
#
# `sigma = np.exp(log_sigma)`. `f(z)` multiplies both columns: as `f(z)[:, None]` it is a column itself. No mean yet: we want to see how the samples scatter.
# </details>


# %%
def score_function(mu, log_sigma, z):
    """f(z) ∇ log q(z), `(samples, 2)` for μ and log σ; z `(samples,)` drawn from q."""
    ### BEGIN SOLUTION
    sigma = np.exp(log_sigma)
    score = np.stack([(z - mu) / sigma**2, (z - mu) ** 2 / sigma**2 - 1], axis=-1)
    return f(z)[:, None] * score
    ### END SOLUTION


score_function = kvae.worksheet.check("5.1", score_function)

# %% [markdown]
# ## Exercise 5.2: the pathwise gradient (7 minutes)
#
# *Leave the weights as they are, and move the samples.* Draw noise that knows nothing of $\phi$, and make $z$ of it by a function that can be differentiated, lecture 004's $g_\phi(\epsilon)$:
#
# $$z = g_\phi(\epsilon) = \mu + \sigma \epsilon, \quad \epsilon \sim \mathcal N(0, 1) \qquad\Rightarrow\qquad
# \nabla_\phi \mathbb E_{q_\phi}[f(z)] = \mathbb E_{\epsilon}\left[f'(g_\phi(\epsilon))\, \nabla_\phi g_\phi(\epsilon)\right]$$
#
# That is the **reparameterization trick**. Return the bracket for each sample, again for $\mu$ and $\log\sigma$.
#
# <details><summary>Hint</summary>
#
# $\partial z / \partial \mu = 1$. And for $\log\sigma$: $\sigma = e^{\log\sigma}$ is its own derivative, so $\partial z / \partial \log\sigma = \sigma\epsilon$. `slope` of the first cell is $f'$.
# </details>


# %%
def pathwise(mu, log_sigma, noise):
    """f'(z) ∇ g(ε), `(samples, 2)` for μ and log σ; noise `(samples,)` from N(0, 1)."""
    ### BEGIN SOLUTION
    sigma = np.exp(log_sigma)
    z = mu + sigma * noise
    return np.stack([slope(z), slope(z) * sigma * noise], axis=-1)
    ### END SOLUTION


pathwise = kvae.worksheet.check("5.2", pathwise)

# %% [markdown]
# **Predict before you run.** Both are unbiased. At $\mu = 0.5$, $\sigma = 0.5$ the right value of $\partial/\partial\mu$ is 8. How far do 2,000 estimates of ten samples each scatter
# around it? Which scatter more, and why? (The score function sees only how large $f$ is; the pathwise gradient knows which way it goes up.)

# %%
rng = np.random.default_rng(0)
mu, log_sigma = 0.5, np.log(0.5)
noise = rng.standard_normal((2_000, 10))
estimates = {
    "score function": [score_function(mu, log_sigma, mu + 0.5 * e).mean(axis=0)[0] for e in noise],
    "pathwise": [pathwise(mu, log_sigma, e).mean(axis=0)[0] for e in noise],
}
figure = new_figure(10, 5, "2,000 estimates of the gradient with respect to μ")
axes = figure.add_subplot()
for color, (name, values) in zip((COLORS[1], COLORS[0]), estimates.items(), strict=True):
    label = f"{name}: {np.mean(values):.1f} ± {np.std(values):.1f}"
    axes.hist(values, bins=np.linspace(-50, 90, 141), color=color, alpha=0.7, label=label)
axes.axvline(slope(mu), color=COLORS[2], linewidth=2.5, label=f"exact: {slope(mu):.1f}")
style(axes, "", "estimate from ten samples", "how many")
axes.legend(fontsize=TICK_SIZE, loc="upper left")
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Mean ± standard deviation are in the legend. The number of samples for
# the same error goes with the square of the ratio of the two deviations. In d dimensions the score function's gets worse with d, the pathwise one's hardly.

# %% [markdown]
# ## What noise does to a training
#
# Now climb the ELBO with each, 10 samples a step, 400 steps of the same rate, from the same start. The KL's gradient is exact in both.
#
# **Predict before you run.** Draw the two paths in your head. Do both arrive? Do they stay there?


# %%
def kl_gradient(mu, log_sigma):
    """∇ KL(q ‖ p) with respect to μ and log σ."""
    return np.array([mu, np.exp(2 * log_sigma) - 1])


def climb(gradient_of_f, steps=400, rate=0.003, samples=10):
    """The path of (μ, log σ), `(steps + 1, 2)`, uphill along an estimate of ∇ELBO, on the same noise for all; it ends off the map."""
    rng, path = np.random.default_rng(1), [np.array([-0.5, 0.3])]
    for _ in range(steps):
        estimate = gradient_of_f(*path[-1], rng.standard_normal(samples))
        path.append(path[-1] + rate * (estimate - kl_gradient(*path[-1])))
        if np.abs(path[-1]).max() > 3:
            break
    return np.array(path)


def draw_paths(paths, title):
    """Paths of (μ, log σ) on the exact ELBO's contours."""
    figure = new_figure(10, 5.6, title)
    axes = figure.add_subplot()
    m, t = np.meshgrid(np.linspace(-1.6, 2.4, 120), np.linspace(-2.2, 2.2, 120))
    exact = f(m) - 2 * np.exp(2 * t) / NOISE**2 - 0.5 * (np.exp(2 * t) + m**2 - 2 * t - 1)
    axes.contour(m, t, exact.max() - exact, levels=np.geomspace(0.1, 1000, 13), colors=COLORS[3], linewidths=1)
    for (name, path), color in zip(paths.items(), (COLORS[1], COLORS[0], COLORS[4]), strict=False):
        axes.plot(*path.T, color=color, linewidth=2.5, label=name)
        axes.plot(*path[-1], "o", color=color, markersize=10)
    axes.plot(16 / 17, -0.5 * np.log(17), "*", color="black", markersize=18, zorder=3, label="the exact posterior")
    axes.set_xlim(-1.6, 2.4)
    axes.set_ylim(-2.2, 2.2)
    style(axes, "", "μ", "log σ")
    axes.legend(fontsize=TICK_SIZE, loc="upper right")
    return figure


paths = {
    "score function": climb(lambda m, t, e: score_function(m, t, m + np.exp(t) * e).mean(axis=0)),
    "pathwise": climb(lambda m, t, e: pathwise(m, t, e).mean(axis=0)),
}
kvae.worksheet.show(draw_paths(paths, "Up the ELBO, 10 samples a step"))

# %% [markdown] tags=["instructor"]
# *For the instructor.* The −20 nats make it so bad here: they change no gradient, but every sample's weight; take them off (REST = 0) and the paths look alike. That is the idea of 5.6. Why use the score function at all? It never asks for f'. With a discrete z, or an f that is a game's score, there is none: reinforcement
# learning calls it REINFORCE.

# %% [markdown]
# ## Exercise 5.3: the inverse CDF (5 minutes)
#
# What makes $g_\phi$ of other families? Lecture 004 lists three ways. Any $\mu + s\,u$ with $u$ from a fixed distribution works as above (**location and scale**: Laplace, logistic, Student's t). And every
# continuous distribution can be drawn from uniform noise, by the **inverse of its distribution function**: if $u \sim U(0, 1)$, then $F^{-1}(u)$ has the distribution $F$.
#
# The logistic distribution has $F(z) = \operatorname{sigmoid}\left(\frac{z - \mu}{s}\right) = \dfrac{1}{1 + e^{-(z - \mu)/s}}$. Set it to $u$, and solve for $z$.
#
# <details><summary>Hint</summary>
#
# First $\frac{1}{u} - 1 = e^{-(z - \mu)/s}$, then take the logarithm. Does your $z$ grow with $u$?
# </details>


# %%
def logistic(u, mu, s):
    """Draws of the logistic distribution, like u; u from U(0, 1), NumPy."""
    ### BEGIN SOLUTION
    return mu + s * (np.log(u) - np.log(1 - u))
    ### END SOLUTION


logistic = kvae.worksheet.check("5.3", logistic)

# %% [markdown]
# ## Exercise 5.4: composition, and its density (6 minutes)
#
# The third way: draw from a family that you can, then apply a function. A latent that must be positive is $z = e^{n}$ with $n = \mu + \sigma\epsilon$: the **log-normal**. Drawing is easy. But an ELBO needs $\log q(z)$
# as well, and a function that stretches the axis thins the density out, by its derivative:
#
# $$q(z) = \mathcal N(n;\, \mu, \sigma^2) \left|\frac{dn}{dz}\right|, \qquad n = \log z$$
#
# <details><summary>Hint</summary>
#
# $dn/dz = 1/z$, and the logarithm of that is $-\log z$. `stats.norm.logpdf(n, mu, sigma)` is $\log \mathcal N(n; \mu, \sigma^2)$.
# </details>


# %%
def log_normal_log_prob(z, mu, sigma):
    """log q(z) of the log-normal, like z, which is positive; NumPy."""
    ### BEGIN SOLUTION
    return stats.norm.logpdf(np.log(z), mu, sigma) - np.log(z)
    ### END SOLUTION


log_normal_log_prob = kvae.worksheet.check("5.4", log_normal_log_prob)

# %% [markdown]
# **Predict before you run.** Right, the third curve is your density *without* the derivative. Is it too low or too high where $z$ is small? What is its area?

# %%
u, noise = rng.uniform(size=50_000), rng.standard_normal(50_000)
figure = new_figure(11, 4.6, "Noise through a function, and the density that comes out")
left, right = figure.subplots(1, 2)
z = np.linspace(-6, 8, 300)
left.hist(logistic(u, 1.0, 0.8), bins=100, range=(-6, 8), density=True, color=COLORS[3])
left.plot(z, stats.logistic.pdf(z, 1.0, 0.8), color=COLORS[0], linewidth=3, label="logistic")
style(left, "inverse CDF of uniform noise", "z", "density")
z = np.linspace(0.01, 6, 300)
right.hist(np.exp(0.3 + 0.6 * noise), bins=100, range=(0, 6), density=True, color=COLORS[3])
right.plot(z, np.exp(log_normal_log_prob(z, 0.3, 0.6)), color=COLORS[0], linewidth=3, label="log-normal, yours")
right.plot(z, stats.norm.pdf(np.log(z), 0.3, 0.6), "--", color=COLORS[1], linewidth=3, label="without dn/dz")
style(right, "exp of Gaussian noise", "z", "density")
for axes in (left, right):
    axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Too low for z < 1, too high for z > 1; its area is E[z] = exp(μ + σ²/2) = 1.6, so it is no density. An ELBO with it is off by E[log z], which φ can raise without end: the
# training would run away.

# %% [markdown]
# ## A VAE with each
#
# In kvae the family of $q$ and the estimator are two arguments. Eight latent dimensions, $\mathbf x \in \{0, 1\}^d$, the same networks and the same number of steps.
#
# **Predict before you run.** With the score function, what happens to the KL? (What does an encoder do whose advice is mostly noise?)

# %%
images = kvae.load_data(DATASET, binarization="static")


def train(posterior="normal", gradient="reparameterized"):
    """A small VAE, and its curves."""
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(images.image_shape, latent_dim=8, hidden=(128,), posterior=posterior)
    model = kvae.VAE(*networks, posterior=posterior, bound=kvae.bounds.ELBO(gradient=gradient), seed=0)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    return model, model.fit(images.x_train, epochs=EPOCHS, batch_size=64, verbose=0).history


trained = {
    "score function": train(gradient="score_function"),
    "pathwise": train(),
    "pathwise, logistic q": train(posterior="logistic"),
}
figure = new_figure(11, 4.8, "Three VAEs, each from scratch")
for axes, key, title in zip(figure.subplots(1, 2), ("elbo", "kl_loss"), ("ELBO", "KL(q(z|x) ‖ p(z))"), strict=True):
    for color, (name, (_, curves)) in zip((COLORS[1], COLORS[0], COLORS[4]), trained.items(), strict=True):
        line = "--" if "logistic" in name else "-"
        axes.plot(np.arange(1, EPOCHS + 1), curves[key], line, color=color, linewidth=2.5, label=name)
    style(axes, title, "epoch", "nats an image")
    axes.grid(alpha=0.3)
    if key == "elbo":
        axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* The encoder under the score function learns to say little: a narrow q(z|x) would pay only if its place were right, and the gradient that would
# bring it there drowns in noise. The family matters far less than the estimator.

# %% [markdown]
# ## Exercise 5.5: find the bug (7 minutes)
#
# With automatic differentiation nobody writes $\nabla \log q$ by hand: one writes a loss *whose gradient is the estimator*. For the score function that is
#
# $$\text{loss}(\phi) = -\frac1S \sum_s f(z_s) \log q_\phi(z_s), \qquad \text{the } z_s \text{ being numbers, no functions of } \phi$$
#
# Somebody wrote this, and its path is drawn beside yours.
#
# **Predict before you run.** Where does it go?


# %%
def log_q(z, mu, log_sigma):
    """log N(z; μ, σ²), tensors."""
    return -0.5 * ops.square((z - mu) / ops.exp(log_sigma)) - log_sigma - 0.5 * float(np.log(2 * np.pi))


def broken_surrogate(mu, log_sigma, noise):
    """Somebody's loss for the score function; tensors, noise `(samples,)`."""
    z = mu + ops.exp(log_sigma) * noise
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))


def automatic(surrogate):
    """The uphill gradient that comes of a loss, as a function of (μ, log σ, noise) that returns NumPy `(2,)`."""

    @tf.function
    def gradient(parameters, noise):
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss = surrogate(parameters[0], parameters[1], noise)
        return -tape.gradient(loss, parameters)

    return lambda mu, log_sigma, noise: gradient(
        tf.constant([mu, log_sigma], "float32"), tf.constant(noise, "float32")
    ).numpy()


paths["theirs"] = climb(automatic(broken_surrogate))
kvae.worksheet.show(draw_paths(paths, "Theirs has left the hill"))

# %% [markdown]
# Both factors get a gradient that was not asked for. Say where it goes through, and write the loss as it should be.
#
# <details><summary>Hint</summary>
#
# `z` is computed from `mu` and `log_sigma`, so the derivative goes through it too. `ops.stop_gradient(z)` is the same number, and a constant.
# </details>


# %%
def surrogate(mu, log_sigma, noise):
    """A loss (a number) whose gradient is the score function's estimate, downhill; tensors, noise `(samples,)`."""
    ### BEGIN SOLUTION
    z = ops.stop_gradient(mu + ops.exp(log_sigma) * noise)
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))
    ### END SOLUTION


surrogate = kvae.worksheet.check("5.5", surrogate)

# %%
noise = rng.standard_normal(10).astype("float32")
by_hand = score_function(0.5, np.log(0.5), 0.5 + 0.5 * noise).mean(axis=0)
for name, gradient in [
    ("by hand", by_hand),
    ("automatic", automatic(surrogate)(0.5, np.log(0.5), noise)),
    ("theirs", automatic(broken_surrogate)(0.5, np.log(0.5), noise)),
]:
    print(f"{name:>10}: d/dμ {gradient[0]:7.2f}, d/d log σ {gradient[1]:7.2f}")

# %% [markdown] tags=["instructor"]
# *For the instructor.* Along the path z = μ + σε, log q is −log σ − ε²/2 + const: it does not depend on μ at all. So the score has gone, and what is left is f'(z) log q(z), a pathwise gradient with a weight that is mostly
# negative. Shapes and values of the loss are the same, there is no error and no NaN: only the gradient is another.

# %% [markdown]
# ## Exercise 5.6, stretch: a baseline (at home, or if you are early)
#
# The score has expectation 0, so a constant may be taken off $f$ without a bias: $\mathbb E[(f(z) - c) \nabla \log q] = \mathbb E[f(z) \nabla \log q]$. A good constant is about the mean of $f$. But the mean *with* sample $s$ depends on $z_s$. So
# take, for each sample, the mean of **the others**, and return
#
# $$f(z_s) - \frac{1}{S - 1} \sum_{r \ne s} f(z_r)$$
#
# <details><summary>Hint</summary>
#
# The sum of the others is the sum of all less your own. No loop is needed.
# </details>


# %%
def less_baseline(f_z):
    """f(z_s) less the mean of the others, `(samples,)` like f_z; NumPy."""
    ### BEGIN SOLUTION
    others = (np.sum(f_z) - f_z) / (len(f_z) - 1)
    return f_z - others
    ### END SOLUTION


less_baseline = kvae.worksheet.check("5.6", less_baseline)

# %%
z = 0.5 + 0.5 * rng.standard_normal((2_000, 10))  # 2,000 estimates of ten samples each
score = (z - 0.5) / 0.5**2
for name, weight in [("f", f(z)), ("f less a baseline", np.apply_along_axis(less_baseline, 1, f(z)))]:
    gradient = np.mean(weight * score, axis=1)
    print(f"{name:>17}: d/dμ {gradient.mean():.1f} ± {gradient.std():.1f}")
gradient = np.mean(slope(z), axis=1)
print(f"{'pathwise':>17}: d/dμ {gradient.mean():.1f} ± {gradient.std():.1f}")

# %% [markdown]
# ## Summary
#
# - Samples do not say how they depend on $\phi$. The **score function** weighs them anew, $f\, \nabla \log q$: it needs no $f'$, and is noisy. The **pathwise gradient** moves them, $f' \, \nabla g_\phi(\epsilon)$: far less noisy, and it needs a $g_\phi$ that
#   can be differentiated.
# - $g_\phi$ comes from location and scale, from the inverse CDF, or from composition; with a composition the density gets the derivative of the inverse function.
# - With automatic gradients the question is always: *through what does it go?* `stop_gradient` is how you answer.
#
# Worksheet 6 puts $\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$ between an encoder and a decoder.
