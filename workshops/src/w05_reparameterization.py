# ---
# jupyter:
#   kvae:
#     worksheet: 5
#     topic: The reparameterization trick
#     about: "score-function and pathwise gradients, inverse CDF, log-normal"
#     lectures: "000, 003, 004"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 5: The reparameterization trick
#
# **50 minutes.** After it you can
#
# 1. say why the gradient of $\mathbb E_{q_\phi(z)}[f(z)]$ with respect to $\phi$ is a problem, and write two estimators of it;
# 2. show that both are unbiased, that one of them is far noisier, and what the noise does to training;
# 3. reparameterize other families: by location and scale, by the inverse CDF, by composition;
# 4. see from a figure that an automatic gradient took a path that it should not take, and block that path.
#
# **How it works.** Replace each `...` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong, the
# check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down always
# run. You need NumPy, derivatives, the Gaussian density, and the ELBO (worksheet 4).

# %% [markdown] tags=["instructor"]
# *For the instructor.* The problem takes 5 minutes, exercises 5.1 to 5.5 take 34, the figures and the summary 11. Students spend the most time on 5.1:
# derive ∇q = q ∇log q on the board first. Fast students continue with 5.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # exercise 5.5 takes gradients with a tf.GradientTape
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
import tensorflow as tf
from keras import ops
from scipy import stats

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes about three minutes
EPOCHS = {"digits": 25, "mnist": 3}[DATASET]
X, NOISE = 2.0, 0.5  # toy model: the one pixel that depends on z, and its noise
REST = -20.0  # log-density of the other pixels


def f(z):
    """log p(x|z) = log N(x; 2z, NOISE²) + REST, for arrays or tensors of any shape."""
    return -0.5 * ((X - 2.0 * z) / NOISE) ** 2 - float(np.log(NOISE * np.sqrt(2 * np.pi))) + REST


def slope(z):
    """Derivative f'(z)."""
    return 2.0 * (X - 2.0 * z) / NOISE**2


def style(axes, title, x_label, y_label):
    """Set a title and axis labels that are legible from the back of a room."""
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel(x_label, fontsize=LABEL_SIZE)
    axes.set_ylabel(y_label, fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)


# %% [markdown]
# ## The problem
#
# Consider a small latent variable model: one observation, one latent $z$. One pixel, $x = 2$, depends on $z$. The others do not, as happens in every real image:
# they add a constant to $\log p(\mathbf x \mid z)$, $-20$ nats.
#
# $$p(z) = \mathcal N(0, 1), \qquad p(\mathbf x \mid z) = \mathcal N(x; 2z, 0.5^2)\, e^{-20}, \qquad q_\phi(z) = \mathcal N(\mu, \sigma^2), \quad \phi = (\mu, \log\sigma)$$
#
# Its ELBO is $\mathcal L(\phi) = \mathbb E_{q_\phi}[f(z)] - D_{\mathrm{KL}}[q_\phi(z) \,\|\, p(z)]$ with $f(z) = \log p(\mathbf x \mid z)$. The KL has a closed form, and so does its gradient. For the other
# term, lecture 000 draws $z_s \sim q_\phi$ and averages, $\frac1S \sum_s f(z_s)$. **And $\phi$ has disappeared:** the numbers $z_s$ do not say how they would
# change with $\mu$. There are two solutions.
#
# ## Exercise 5.1: the score function (9 minutes)
#
# *Keep the samples fixed and change how much each one counts.* Because $\nabla_\phi q_\phi = q_\phi \nabla_\phi \log q_\phi$,
#
# $$\nabla_\phi \mathbb E_{q_\phi}[f(z)] = \int f(z)\, \nabla_\phi q_\phi(z)\, dz = \mathbb E_{q_\phi}\left[f(z)\, \nabla_\phi \log q_\phi(z)\right]$$
#
# For the Gaussian, $\log q_\phi(z) = -\log\sigma - \frac{(z - \mu)^2}{2\sigma^2} + \text{const}$, so
#
# $$\frac{\partial \log q_\phi}{\partial \mu} = \frac{z - \mu}{\sigma^2}, \qquad \frac{\partial \log q_\phi}{\partial \log \sigma} = \frac{(z - \mu)^2}{\sigma^2} - 1$$
#
# Return the expression in brackets for each sample, with both derivatives side by side: `np.stack([…, …], axis=-1)`.
#
# <details><summary>Hint</summary>
#
# `sigma = np.exp(log_sigma)`. `f(z)` multiplies both columns; write `f(z)[:, None]` to make it a column. Do not average yet: we want to see how much the samples scatter.
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
# *Keep the weights fixed and move the samples.* Draw noise that does not depend on $\phi$, and turn it into $z$ with a differentiable function, lecture 004's $g_\phi(\epsilon)$:
#
# $$z = g_\phi(\epsilon) = \mu + \sigma \epsilon, \quad \epsilon \sim \mathcal N(0, 1) \qquad\Rightarrow\qquad
# \nabla_\phi \mathbb E_{q_\phi}[f(z)] = \mathbb E_{\epsilon}\left[f'(g_\phi(\epsilon))\, \nabla_\phi g_\phi(\epsilon)\right]$$
#
# This is the **reparameterization trick**. Return the expression in brackets for each sample, again for $\mu$ and $\log\sigma$.
#
# <details><summary>Hint</summary>
#
# $\partial z / \partial \mu = 1$. For $\log\sigma$: $\sigma = e^{\log\sigma}$ is its own derivative, so $\partial z / \partial \log\sigma = \sigma\epsilon$. The function `slope` from the first cell is $f'$.
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
# **Predict before you run.** Both are unbiased. At $\mu = 0.5$, $\sigma = 0.5$ the correct value of $\partial/\partial\mu$ is 8. How far do 2,000 estimates from ten samples each scatter
# around it? Which scatter more, and why? (The score function sees only how large $f$ is; the pathwise gradient also sees in which direction it increases.)

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
style(axes, "", "estimate from ten samples", "count")
axes.legend(fontsize=TICK_SIZE, loc="upper left")
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The score function's estimates scatter by about 18, the pathwise ones by about 2.5, although both average to 8. The
# score function multiplies the score by $f$, which is near −20 for every sample: large terms that cancel only on
# average.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The legend shows mean ± standard deviation. The number of samples that gives
# the same error grows with the square of the ratio of the standard deviations. With more dimensions the score function gets worse; the pathwise gradient hardly does.

# %% [markdown]
# ## What noise does to training
#
# Now climb the ELBO with each estimator: 10 samples per step, up to 400 steps at the same learning rate, from the same start. The gradient of the KL is exact in both cases.
#
# **Predict before you run.** Sketch the two paths. Do both arrive? Do they stay at the top?


# %%
def kl_gradient(mu, log_sigma):
    """Gradient of KL(q ‖ p) with respect to μ and log σ."""
    return np.array([mu, np.exp(2 * log_sigma) - 1])


def climb(gradient_of_f, steps=400, rate=0.003, samples=10):
    """The path of (μ, log σ), `(steps + 1, 2)`, uphill along an estimate of ∇ELBO, with the same noise for all; it stops when it leaves the map."""
    rng, path = np.random.default_rng(1), [np.array([-0.5, 0.3])]
    for _ in range(steps):
        estimate = gradient_of_f(*path[-1], rng.standard_normal(samples))
        path.append(path[-1] + rate * (estimate - kl_gradient(*path[-1])))
        if np.abs(path[-1]).max() > 3:
            break
    return np.array(path)


def draw_paths(paths, title):
    """Draw paths of (μ, log σ) over the contours of the exact ELBO."""
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
kvae.worksheet.show(draw_paths(paths, "Climbing the ELBO, 10 samples per step"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Both arrive. The pathwise gradient stays at the top, with small steps; the score function keeps wandering around it,
# as far as one in μ.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The −20 nats are what makes it so bad here: they do not change the exact gradient, but they do change the weight of every sample. Without them (REST = 0) the paths look alike, which is the idea of 5.6. Why use the score function at all? It does not need f'. If z is discrete, or f is the score of a game, there is no f': reinforcement
# learning calls this estimator REINFORCE.

# %% [markdown]
# ## What a better gradient does not cure
#
# The toy model has a linear decoder, so its posterior is Gaussian, and $q_\phi$ can become equal to it. Bend the decoder, $p(x \mid z) = \mathcal N(x; \tfrac12 z^2 + \tfrac14 z,\, 0.3^2)$. With
# one $x$ and one $z$, sums over a grid replace all integrals, and the whole model fits into one figure: $p(x \mid z)$ as shades of grey, beside it $p(x)$, and above it $p(z)$ and the posterior
#
# $$p(z \mid x) = \frac{p(x \mid z)\, p(z)}{p(x)}, \qquad p(x) = \int p(x \mid z)\, p(z)\, dz$$
#
# **Predict before you run.** Which $z$ can have led to $x = 1$ (the dotted line)? How many humps does $p(z \mid x = 1)$ have, and which one is higher? Where will the best Gaussian $q$ be?

# %%
z, x = np.linspace(-4, 4, 401), np.linspace(-1.5, 9, 1051)[:, None]  # a row of z beside a column of x
dz, dx, seen = z[1] - z[0], x[1, 0] - x[0, 0], np.argmin(np.abs(x - 1.0))
log_prior = stats.norm.logpdf(z)
log_likelihood = stats.norm.logpdf(x, z**2 / 2 + z / 4, 0.3)  # (x, z)
p_x = np.exp(log_likelihood + log_prior).sum(axis=1) * dz
log_posterior = (log_likelihood + log_prior)[seen] - np.log(p_x[seen])
print(
    f"area under p(x): {p_x.sum() * dx:.3f}; share of the right hump: {np.exp(log_posterior)[z > -0.25].sum() * dz:.2f}"
)

m, t = (each[..., None] for each in np.meshgrid(np.linspace(-3, 3, 121), np.linspace(-3, 0.5, 71)))  # μ and log σ
log_q = stats.norm.logpdf(z, m, np.exp(t))
gap = np.sum(np.exp(log_q) * (log_q - log_posterior), axis=-1) * dz  # KL(q(z) ‖ p(z|x)) for every μ and σ
best = np.unravel_index(gap.argmin(), gap.shape)
print(
    f"log p(x = 1) is {np.log(p_x[seen]):.2f} nats, the ELBO of the best Gaussian q {np.log(p_x[seen]) - gap[best]:.2f}"
)

figure = new_figure(10, 7.5, "A whole model: one pixel x, one latent z")
(above, corner), (middle, beside) = figure.subplots(2, 2, width_ratios=(3, 1), height_ratios=(1, 1.5))
corner.axis("off")
above.fill_between(z, np.exp(log_posterior), color=COLORS[2], alpha=0.3)
above.plot(z, np.exp(log_posterior), color=COLORS[2], linewidth=3, label="posterior p(z|x = 1)")
above.plot(z, np.exp(log_prior), color=COLORS[0], linewidth=3, label="prior p(z)")
above.plot(z, np.exp(log_q[best]), "--", color="black", linewidth=3, label="best Gaussian q(z)")
middle.pcolormesh(z, x[:, 0], np.exp(log_likelihood), cmap="Greys", shading="nearest")
beside.plot(p_x, x[:, 0], color=COLORS[4], linewidth=3)
for axes in (middle, beside):
    axes.axhline(1, color=COLORS[2], linewidth=3, linestyle=":")
    axes.set_ylim(-1, 4)
style(above, "", "", "density")
style(middle, "p(x|z): each column is a density of x", "z", "x")
style(beside, "p(x)", "density", "")
figure.legend(*above.get_legend_handles_labels(), fontsize=TICK_SIZE, loc="outside lower center", ncols=3)
above.set_xlim(middle.get_xlim())
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The line crosses the curve twice, near $z = -1.7$ and $z = 1.2$, so the posterior has two humps. The prior prefers the
# one nearer to 0, which has two thirds of the probability. The best Gaussian $q$ covers this hump and ignores the other. Its ELBO
# stays about 0.5 nats below $\log p(x)$, whichever estimator finds it.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Here nothing is trained: the best $q$ is the best point of a grid of μ and σ. Why not one wide Gaussian over both humps? $D_{\mathrm{KL}}[q \,\|\, p]$ is an average over $q$, and much of such
# a $q$ would be between the humps, where $\log p(z \mid x)$ is very low. Ignoring a hump of one third costs only $-\log \tfrac23 \approx 0.4$ nats.

# %% [markdown]
# ## Exercise 5.3: the inverse CDF (5 minutes)
#
# Which $g_\phi$ do other families have? Lecture 004 lists three ways. Any $\mu + s\,u$ with $u$ from a fixed distribution works as above (**location and scale**: Laplace, logistic, Student's t). And every
# continuous distribution can be sampled from uniform noise through its **inverse distribution function**: if $u \sim U(0, 1)$, then $F^{-1}(u)$ has the distribution $F$.
#
# The logistic distribution has $F(z) = \operatorname{sigmoid}\left(\frac{z - \mu}{s}\right) = \dfrac{1}{1 + e^{-(z - \mu)/s}}$. Set it equal to $u$ and solve for $z$.
#
# <details><summary>Hint</summary>
#
# First $\frac{1}{u} - 1 = e^{-(z - \mu)/s}$, then take the logarithm. Does your $z$ increase with $u$?
# </details>


# %%
def logistic(u, mu, s):
    """Samples of the logistic distribution, with the shape of u; u from U(0, 1), NumPy."""
    ### BEGIN SOLUTION
    return mu + s * (np.log(u) - np.log(1 - u))
    ### END SOLUTION


logistic = kvae.worksheet.check("5.3", logistic)

# %% [markdown]
# ## Exercise 5.4: composition, and its density (6 minutes)
#
# The third way is to sample from a family that you can sample from, and then apply a function. A latent that must be positive is $z = e^{n}$ with $n = \mu + \sigma\epsilon$: the **log-normal** distribution. Sampling is easy. But an ELBO also needs $\log q(z)$,
# and a function that stretches the axis lowers the density, by its derivative:
#
# $$q(z) = \mathcal N(n;\, \mu, \sigma^2) \left|\frac{dn}{dz}\right|, \qquad n = \log z$$
#
# <details><summary>Hint</summary>
#
# $dn/dz = 1/z$, and the logarithm of that is $-\log z$. `stats.norm.logpdf(n, mu, sigma)` is $\log \mathcal N(n; \mu, \sigma^2)$.
# </details>


# %%
def log_normal_log_prob(z, mu, sigma):
    """log q(z) of the log-normal, with the shape of z, which is positive; NumPy."""
    ### BEGIN SOLUTION
    return stats.norm.logpdf(np.log(z), mu, sigma) - np.log(z)
    ### END SOLUTION


log_normal_log_prob = kvae.worksheet.check("5.4", log_normal_log_prob)

# %% [markdown]
# **Predict before you run.** In the right-hand plot, the dashed curve is your density *without* the derivative. Is it too low or too high where $z$ is small? What is its area?

# %%
u, noise = rng.uniform(size=50_000), rng.standard_normal(50_000)
figure = new_figure(11, 4.6, "Transformed noise and its density")
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

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It is too low for $z < 1$ and too high for $z > 1$, as $\log z$ changes its sign there. Its area is 1.6, not 1: it
# is no density.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Too low for z < 1, too high for z > 1; its area is E[z] = exp(μ + σ²/2) = 1.6, so it is not a density. An ELBO that uses it is off by E[log z], which φ can increase without limit, so
# training would diverge.

# %% [markdown]
# ## A VAE with each estimator
#
# In kvae, the family of $q$ and the estimator are two arguments. We use eight latent dimensions, $\mathbf x \in \{0, 1\}^d$, the same networks and the same number of steps.
#
# **Predict before you run.** What happens to the KL with the score function? (What will an encoder do if its gradient is mostly noise?)

# %%
images = kvae.load_data(DATASET, binarization="static")


def train(posterior="normal", gradient="reparameterized"):
    """A small trained VAE and its training curves."""
    keras.utils.set_random_seed(0)
    networks = kvae.networks.mlp(images.image_shape, latent_dim=8, hidden=(128,), posterior=posterior)
    model = kvae.VAE(*networks, posterior=posterior, bound=kvae.bounds.ELBO(gradient=gradient), seed=0)
    model.compile(optimizer=keras.optimizers.Adam(2e-3))
    return model, model.fit(
        images.x_train, epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[kvae.worksheet.progress()]
    ).history


trained = {
    "score function": train(gradient="score_function"),
    "pathwise": train(),
    "pathwise, logistic q": train(posterior="logistic"),
}
figure = new_figure(11, 4.8, "Three VAEs, each trained from scratch")
for axes, key, title in zip(figure.subplots(1, 2), ("elbo", "kl_loss"), ("ELBO", "KL(q(z|x) ‖ p(z))"), strict=True):
    for color, (name, (_, curves)) in zip((COLORS[1], COLORS[0], COLORS[4]), trained.items(), strict=True):
        line = "--" if "logistic" in name else "-"
        axes.plot(np.arange(1, EPOCHS + 1), curves[key], line, color=color, linewidth=2.5, label=name)
    style(axes, title, "epoch", "nats per image")
    axes.grid(alpha=0.3)
    if key == "elbo":
        axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It stays below that of the others: a gradient that is mostly noise does not tell the encoder where to put its codes,
# and a code in the wrong place costs more than none.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* With the score function, the encoder learns to encode little: a narrow q(z|x) pays off only in the right place, and the gradient that would
# move it there is drowned in noise. The family matters far less than the estimator.

# %% [markdown]
# ## Exercise 5.5: find the bug (7 minutes)
#
# With automatic differentiation nobody writes $\nabla \log q$ by hand; we write a loss *whose gradient is the estimator*. For the score function this is
#
# $$\text{loss}(\phi) = -\frac1S \sum_s f(z_s) \log q_\phi(z_s), \qquad \text{where the } z_s \text{ are numbers, not functions of } \phi$$
#
# A colleague wrote the code below. Its path is drawn beside yours.
#
# **Predict before you run.** Where does it go?


# %%
def log_q(z, mu, log_sigma):
    """log N(z; μ, σ²), tensors."""
    return -0.5 * ops.square((z - mu) / ops.exp(log_sigma)) - log_sigma - 0.5 * float(np.log(2 * np.pi))


def broken_surrogate(mu, log_sigma, noise):
    """The colleague's loss for the score function; tensors, noise `(samples,)`."""
    z = mu + ops.exp(log_sigma) * noise
    return -ops.mean(f(z) * log_q(z, mu, log_sigma))


def automatic(surrogate):
    """The uphill gradient of a loss, as a function of (μ, log σ, noise) that returns a NumPy array `(2,)`."""

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
kvae.worksheet.show(draw_paths(paths, "The colleague's path leaves the hill"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Off the hill: its gradient is not that of the ELBO.
# </details>

# %% [markdown]
# Gradients flow through both factors where they should not. Find the path they take, and write the correct loss.
#
# <details><summary>Hint</summary>
#
# `z` is computed from `mu` and `log_sigma`, so it is differentiated too. `ops.stop_gradient(z)` has the same value but counts as a constant.
# </details>


# %%
def surrogate(mu, log_sigma, noise):
    """A loss (a number) whose gradient is minus the score-function estimate; tensors, noise `(samples,)`."""
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
# *For the instructor.* Along the path z = μ + σε, log q equals −log σ − ε²/2 + const and does not depend on μ at all. So the score vanishes, and what is left for μ is f'(z) log q(z), a pathwise gradient with a weight that is mostly
# negative. The shape and the value of the loss are unchanged, and there is no error and no NaN: only the gradient differs.

# %% [markdown]
# ## Exercise 5.6, stretch: a baseline (at home, or if you finish early)
#
# The score has expectation 0, so subtracting a constant from $f$ introduces no bias: $\mathbb E[(f(z) - c) \nabla \log q] = \mathbb E[f(z) \nabla \log q]$. A good constant is about the mean of $f$. But a mean that *includes* sample $s$ depends on $z_s$. So
# for each sample use the mean of **the others**, and return
#
# $$f(z_s) - \frac{1}{S - 1} \sum_{r \ne s} f(z_r)$$
#
# <details><summary>Hint</summary>
#
# The sum of the others is the total sum minus the sample's own value. You do not need a loop.
# </details>


# %%
def less_baseline(f_z):
    """f(z_s) minus the mean of the others, `(samples,)` like f_z; NumPy."""
    ### BEGIN SOLUTION
    others = (np.sum(f_z) - f_z) / (len(f_z) - 1)
    return f_z - others
    ### END SOLUTION


less_baseline = kvae.worksheet.check("5.6", less_baseline)

# %%
z = 0.5 + 0.5 * rng.standard_normal((2_000, 10))  # 2,000 estimates of ten samples each
score = (z - 0.5) / 0.5**2
for name, weight in [("f", f(z)), ("f minus baseline", np.apply_along_axis(less_baseline, 1, f(z)))]:
    gradient = np.mean(weight * score, axis=1)
    print(f"{name:>17}: d/dμ {gradient.mean():.1f} ± {gradient.std():.1f}")
gradient = np.mean(slope(z), axis=1)
print(f"{'pathwise':>17}: d/dμ {gradient.mean():.1f} ± {gradient.std():.1f}")

# %% [markdown]
# ## Summary
#
# - Samples do not say how they depend on $\phi$. The **score function** reweights them, $f\, \nabla \log q$: it does not need $f'$, but it is noisy. The **pathwise gradient** moves them, $f' \, \nabla g_\phi(\epsilon)$: it is far less noisy, but needs a differentiable
#   $g_\phi$.
# - $g_\phi$ comes from location and scale, from the inverse CDF, or from composition; with a composition, the density is multiplied by the derivative of the inverse function.
# - A Gaussian $q$ of a posterior with two humps covers one of them: the gap between the ELBO and $\log p(x)$ stays, however good the gradient.
# - With automatic gradients, always ask *which path they take*, and use `stop_gradient` to block the others.
#
# Worksheet 6 puts $\mathbf z = \boldsymbol\mu + \boldsymbol\sigma \odot \boldsymbol\epsilon$ between an encoder and a decoder.
