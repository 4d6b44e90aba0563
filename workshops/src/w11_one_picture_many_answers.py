# ---
# jupyter:
#   kvae:
#     worksheet: 11
#     topic: One picture, many answers
#     about: "completing a digit from a quadrant, a learned prior, best of n and spread"
#     lectures: "003"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 11: One picture, many answers
#
# **50 minutes.** After it you can
#
# 1. say why a regression answers an ambiguous question with a blur, and a conditional VAE with several sharp guesses;
# 2. condition the prior as well, $p_\theta(\mathbf z \mid \mathbf y)$, and write the KL between two Gaussians;
# 3. measure answers of which only one can be true: the best of $n$, and the spread;
# 4. recognise results that are too good because the model has seen the answer.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last
# line checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours if it is not, so
# the cells further down always run. You need the conditional VAE (worksheet 8). The times allow for a second attempt at each exercise.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 6 minutes, exercises 11.1 to 11.5 take 36, the figures and the summary 8. The question for the board: *what is the best single answer
# to "what is the rest of this picture"?* For the squared error it is the mean of all answers, which is not one of them. Fast students continue with 11.6.

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import layers, ops
from scipy.ndimage import zoom

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes several times as long
EPOCHS = {"digits": 45, "mnist": 9}[DATASET]
LATENT_DIM, HIDDEN_UNITS, SIGMA = 8, 128, 0.2

data = kvae.load_data(DATASET)
images_train, images_test, y_digit = data.x_train[:10_000], data.x_test[:1000], data.y_test[:1000]
HEIGHT, WIDTH, _ = data.image_shape
print("training images", images_train.shape)


def larger(images):
    """Images drawn larger, with soft pixels, so that 8×8 of them can be read from the back of a room."""
    factor = max(1, 40 // HEIGHT)
    return np.clip(zoom(images, (1,) * (images.ndim - 3) + (factor, factor, 1), order=1), 0, 1)


# %% [markdown]
# ## The question
#
# We see the bottom left quarter of a digit. What is the rest? Lecture 003 conditions on "other inputs" $Y$ too, not only on labels: on a grey picture to be coloured, on a still image to be continued. All of these have **many right answers**.
#
# | | | |
# | --- | --- | --- |
# | $\mathbf y$ | the known pixels | given |
# | $\mathbf x$ | the hidden pixels | wanted |
# | regression | $\hat{\mathbf x} = f(\mathbf y)$, trained on $\lVert \mathbf x - f(\mathbf y) \rVert^2$ | one answer |
# | conditional VAE | $p_\theta(\mathbf x \mid \mathbf y) = \int p_\theta(\mathbf x \mid \mathbf z, \mathbf y)\, p_\theta(\mathbf z \mid \mathbf y)\, d\mathbf z$ | an answer for each $\mathbf z$ |
#
# ## Exercise 11.1: the known quadrant (5 minutes)
#
# An array holds an image row by row, **row 0 at the top**. Bottom rows are those from `height // 2` on, left columns those below `width // 2`.
#
# <details><summary>Hint</summary>
#
# `np.arange(height)[:, None]` is a column of row numbers, and `np.arange(width)` a row of column numbers. A comparison of each gives Booleans; `&` combines them.
# </details>


# %%
def bottom_left(height, width):
    """Array `(height, width)` of Booleans, `True` for the pixels of the bottom left quadrant; in NumPy."""
    ### BEGIN SOLUTION
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return (rows >= height // 2) & (columns < width // 2)
    ### END SOLUTION


bottom_left = kvae.worksheet.check("11.1", bottom_left)

# %% [markdown]
# **Predict before you run.** Below are the known quadrants of twelve digits. Write down what you think each of them is, all possible answers. For how many is there only one?

# %%
known = np.asarray(bottom_left(HEIGHT, WIDTH)).astype(bool).reshape(-1)


def split(images):
    """Known pixels y `(n, known)` and hidden pixels x `(n, hidden)` of images."""
    flat = images.reshape(len(images), -1)
    return flat[:, known], flat[:, ~known]


def whole(y, x):
    """Images in colour from known pixels, drawn grey, and hidden ones, drawn orange; x `None` for unknown."""
    flat = np.zeros((len(y), known.size, 3), "float32")
    flat[:, known] = y[..., None]
    flat[:, ~known] = [0.25, 0.3, 0.4] if x is None else np.clip(x, 0, 1)[..., None] * [1.0, 0.72, 0.3]
    return larger(flat.reshape(len(y), HEIGHT, WIDTH, 3))


y_train, x_train = split(images_train)
y_test, x_test = split(images_test)
print(f"{known.sum()} known pixels, {(~known).sum()} hidden ones")
some = np.random.default_rng(3).permutation(len(y_test))[:12]
questions = whole(y_test[some], None)
kvae.worksheet.show(kvae.plots.image_grid(questions.reshape(2, 6, *questions[0].shape), title="What is the rest?"))

# %%
answers = whole(y_test[some], x_test[some])
kvae.worksheet.show(kvae.plots.image_grid(answers.reshape(2, 6, *answers[0].shape), title="One right answer of each"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# For few of them. A stem at the bottom, as in the fourth of the first row, could be that of a 1, 4, 7 or 9. A single answer must choose, or mix.
# </details>
#
# ## The prior sees the question
#
# Worksheet 8 used one prior $\mathcal N(\mathbf 0, \mathbf I)$ for all labels. Here $\mathbf y$ says a lot about what may follow, so let a network turn it into a prior (Sohn, Lee, Yan 2015), $p_\theta(\mathbf z \mid \mathbf y) = \mathcal N(\boldsymbol\mu_p, \operatorname{diag}(\boldsymbol\sigma_p^2))$.
# In training the encoder knows the answer, $q_\phi(\mathbf z \mid \mathbf x, \mathbf y) = \mathcal N(\boldsymbol\mu_q, \operatorname{diag}(\boldsymbol\sigma_q^2))$. The bound of lecture 003 stays as it is:
#
# $$\log p_\theta(\mathbf x \mid \mathbf y) \ge \mathbb E_{q_\phi(\mathbf z \mid \mathbf x, \mathbf y)}\big[\log p_\theta(\mathbf x \mid \mathbf z, \mathbf y)\big] - D_{\mathrm{KL}}\big[q_\phi(\mathbf z \mid \mathbf x, \mathbf y) \,\|\, p_\theta(\mathbf z \mid \mathbf y)\big]$$
#
# ## Exercise 11.2: the KL between two Gaussians (9 minutes)
#
# $$D_{\mathrm{KL}}[q \,\|\, p] = \tfrac12 \sum_{k=1}^{K} \left[\frac{\sigma_{q,k}^2}{\sigma_{p,k}^2} + \frac{(\mu_{q,k} - \mu_{p,k})^2}{\sigma_{p,k}^2} - \ln \frac{\sigma_{q,k}^2}{\sigma_{p,k}^2} - 1\right]$$
#
# The networks give $\log \sigma^2$. Check it in your head: what is it for $q = p$, and what for $p = \mathcal N(\mathbf 0, \mathbf I)$?
#
# <details><summary>Hint</summary>
#
# $\sigma_q^2 / \sigma_p^2$ is `ops.exp(q_log_var - p_log_var)`, and $1 / \sigma_p^2$ is `ops.exp(-p_log_var)`. There is no division and no logarithm left.
# </details>


# %%
def kl(q_mean, q_log_var, p_mean, p_log_var):
    """KL(q ‖ p) of each image `(batch,)`, in nats; all arguments `(batch, latent)`. Use keras.ops."""
    ### BEGIN SOLUTION
    ratio = q_log_var - p_log_var
    distance = ops.square(q_mean - p_mean) * ops.exp(-p_log_var)
    return 0.5 * ops.sum(ops.exp(ratio) + distance - ratio - 1.0, axis=-1)
    ### END SOLUTION


kl = kvae.worksheet.check("11.2", kl)

# %% [markdown]
# ## Exercise 11.3: the bound (9 minutes)
#
# Compute $-$ELBO of each image with one sample $\mathbf z = \boldsymbol\mu_q + \boldsymbol\sigma_q \odot \boldsymbol\epsilon$. Three networks: which of them see $\mathbf x$, which see $\mathbf y$? The formula above says it.
#
# <details><summary>Hint</summary>
#
# `q_mean, q_log_var = ops.split(encoder(join(x, y)), 2, axis=-1)`; the prior in the same way, from $\mathbf y$ alone. Then draw, decode `join(z, y)`, and add the two terms.
# </details>


# %%
def join(a, b):
    """Two vectors of each image, one after the other: `(batch, m)` and `(batch, n)` give `(batch, m + n)`."""
    return ops.concatenate([a, b], axis=-1)


def reconstruction(x, x_mean):
    """−log p(x|z, y) of each image `(batch,)`: a Gaussian with standard deviation 0.2 in each hidden pixel."""
    return ops.sum(0.5 * ops.square((x - x_mean) / SIGMA) + np.log(SIGMA * np.sqrt(2 * np.pi)), axis=-1)


def minus_elbo(encoder, prior, decoder, x, y, noise):
    """−ELBO of each image `(batch,)`; hidden pixels x, known pixels y, ε `(batch, latent)`."""
    ### BEGIN SOLUTION
    q_mean, q_log_var = ops.split(encoder(join(x, y)), 2, axis=-1)
    p_mean, p_log_var = ops.split(prior(y), 2, axis=-1)
    z = q_mean + ops.exp(0.5 * q_log_var) * noise
    x_mean = decoder(join(z, y))
    return reconstruction(x, x_mean) + kl(q_mean, q_log_var, p_mean, p_log_var)
    ### END SOLUTION


minus_elbo = kvae.worksheet.check("11.3", minus_elbo)

# %% [markdown]
# ## Exercise 11.4: which answer is good? (6 minutes)
#
# Only one of $n$ answers can be the one that was hidden, so the mean error says little. Two numbers say more, with $d$ hidden pixels $j$ and answers $i$:
#
# $$\text{best of } n = \min_{i} \frac1d \sum_j (\hat x_{ij} - x_j)^2, \qquad \text{spread} = \frac1d \sum_j \operatorname{std}_i(\hat x_{ij})$$
#
# <details><summary>Hint</summary>
#
# The answers have the shape `(n, images, d)`: `axis=0` are the answers to the same question, `axis=-1` the pixels. `np.std` as it is divides by $n$.
# </details>


# %%
def best_and_spread(answers, truth):
    """Best of n, and spread, each `(images,)`; answers `(n, images, d)`, truth `(images, d)`; in NumPy."""
    ### BEGIN SOLUTION
    errors = np.mean((answers - truth) ** 2, axis=-1)
    best = errors.min(axis=0)
    spread = answers.std(axis=0).mean(axis=-1)
    return best, spread
    ### END SOLUTION


best_and_spread = kvae.worksheet.check("11.4", best_and_spread)

# %% [markdown]
# ## Exercise 11.5: find the bug (7 minutes)
#
# A colleague trains the model with your bound, which works, and writes the function that completes pictures.
#
# **Predict before you run.** The error on test images is **less than half** of the regression's. Read `broken_complete`; what will the six answers to one question look like?


# %%
def network(inputs, outputs):
    """A network from vectors to vectors, with two hidden layers and no activation at the end."""
    hidden = [layers.Dense(HIDDEN_UNITS, activation="relu"), layers.Dense(HIDDEN_UNITS, activation="relu")]
    return keras.Sequential([keras.Input((int(inputs),)), *hidden, layers.Dense(int(outputs))])


class Completion(keras.Model):
    """Encoder, prior, decoder, and your loss."""

    def __init__(self):
        super().__init__()
        hidden, seen = (~known).sum(), known.sum()
        self.encoder, self.prior = network(hidden + seen, 2 * LATENT_DIM), network(seen, 2 * LATENT_DIM)
        self.decoder = network(LATENT_DIM + seen, hidden)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        x, y = inputs
        noise = keras.random.normal((ops.shape(x)[0], LATENT_DIM), seed=self.seed_generator)
        self.add_loss(ops.mean(minus_elbo(self.encoder, self.prior, self.decoder, x, y, noise)))
        return x


def broken_complete(encoder, prior, decoder, x, y, noise):
    """The colleague's completion of each image, `(batch, hidden)`."""
    mean, log_var = ops.split(encoder(join(x, y)), 2, axis=-1)
    z = mean + ops.exp(0.5 * log_var) * noise
    return decoder(join(z, y))


def answers_of(complete, x, y, n):
    """n answers to each question, `(n, images, hidden)`."""
    noise = np.random.default_rng(0).standard_normal((n, len(y), LATENT_DIM)).astype("float32")
    return np.stack([ops.convert_to_numpy(complete(model.encoder, model.prior, model.decoder, x, y, e)) for e in noise])


keras.utils.set_random_seed(0)
regression = network(known.sum(), (~known).sum())
regression.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse", jit_compile=False)
progress = [kvae.worksheet.progress()]
regression.fit(y_train, x_train, epochs=EPOCHS // 3, batch_size=64, verbose=0, callbacks=progress)
guess = ops.convert_to_numpy(regression(y_test))
model = Completion()
model.compile(optimizer=keras.optimizers.Adam(2e-3), jit_compile=False)  # XLA takes longer than it saves
model.fit([x_train, y_train], epochs=EPOCHS, batch_size=64, verbose=0, callbacks=progress)

broken = answers_of(broken_complete, x_test, y_test, 6)
for name, answers in {"regression": guess[None], "theirs": broken}.items():
    best, spread = best_and_spread(answers, x_test)
    print(f"{name:>10}: best of {len(answers)} {best.mean():.4f}, spread {spread.mean():.3f}")
chosen = some[:8]
rows = {"known": None, "answer": broken[0], "another": broken[1], "truth": x_test}
grid = [whole(y_test[chosen], None if x is None else x[chosen]) for x in rows.values()]
kvae.worksheet.show(kvae.plots.image_grid(np.stack(grid), list(rows), title="Theirs: too good"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# All alike, and like the truth.
# </details>
#
# All answers are alike, and like the truth, although nobody can know it from a quarter of the picture. Where does their $\mathbf z$ come from? At test time there is no $\mathbf x$. Write the function so that it needs none; keep its arguments.
#
# <details><summary>Hint</summary>
#
# The KL has pulled two distributions together. One of them needs $\mathbf x$, the other does not.
# </details>


# %%
def complete(encoder, prior, decoder, x, y, noise):
    """Hidden pixels `(batch, hidden)`, an answer to the known ones y; ε `(batch, latent)`."""
    ### BEGIN SOLUTION
    mean, log_var = ops.split(prior(y), 2, axis=-1)
    z = mean + ops.exp(0.5 * log_var) * noise
    return decoder(join(z, y))
    ### END SOLUTION


complete = kvae.worksheet.check("11.5", complete)

# %% [markdown] tags=["instructor"]
# *For the instructor.* A leak of this kind is found by one question: could anybody be this good? A second test: give the function the hidden pixels of *another* image; the answers must not change (the check does it). It is the
# reason for "encoder tower: training only" in lecture 003.

# %% [markdown]
# ## Best of n
#
# For comparison there is a third model: the regression's answer plus independent noise in each pixel, as wide as its error. It has a spread too.
#
# **Predict before you run.** Draw the three curves, best of $n$ against $n$. Which is lowest at $n = 1$, which at $n = 64$? (The mean is the best single answer in terms of squared error.)

# %%
answers = answers_of(complete, x_test, y_test, 64)
error = np.sqrt(np.mean((guess - x_test) ** 2))
noisy = guess + error * np.random.default_rng(0).standard_normal(answers.shape).astype("float32")
numbers = 2 ** np.arange(7)
figure = new_figure(10, 5.2, "Squared error of the best of n answers")
axes = figure.add_subplot()
models = {"conditional VAE": answers, "regression": np.stack([guess] * 64), "regression + noise": noisy}
for color, (name, each) in zip(COLORS, models.items(), strict=False):
    values = [best_and_spread(each[:n], x_test)[0].mean() for n in numbers]
    axes.plot(numbers, values, "o-", color=color, linewidth=3, markersize=8, label=name)
    spread = best_and_spread(each, x_test)[1].mean()
    print(f"{name:>18}: best of 1 {values[0]:.3f}, best of 64 {values[-1]:.3f}, spread {spread:.3f}")
axes.set_xscale("log", base=2)
axes.set_xticks(numbers, numbers)
axes.set_ylim(bottom=0)
axes.set_xlabel("number of answers n", fontsize=LABEL_SIZE)
axes.set_ylabel("per hidden pixel", fontsize=LABEL_SIZE)
axes.tick_params(labelsize=TICK_SIZE)
axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# At $n = 1$ the regression wins: a draw is off by the spread of the truth *and* by its own, the mean by the first only. So a single draw must not be judged by its squared error. From two answers on the conditional VAE is better.
# Independent noise has the largest spread of all, and stays above the regression: in 48 pixels it never hits. Neither number is enough by itself.
# </details>
#
# ## The picture
#
# **Predict before you run.** For each digit we take the test image whose answers differ the most. In which columns will the six answers be *different digits*? And what is the regression's answer there?

# %%
spread = best_and_spread(answers, x_test)[1]
ambiguous = [np.flatnonzero(y_digit == k)[np.argmax(spread[y_digit == k])] for k in range(10)]
rows = {"known": None, "regression": guess} | {f"answer {i + 1}": answers[i] for i in range(6)} | {"truth": x_test}
grid = [whole(y_test[ambiguous], None if x is None else x[ambiguous]) for x in rows.values()]
kvae.worksheet.show(kvae.plots.image_grid(np.stack(grid), list(rows), title="One picture, many answers"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# In most of these columns, though not under the 0 and the 6: for the 3 (fourth column) there are 9s, a 1 and a 3. Each answer is one digit, with strokes that belong together. The regression's is the mean of them all, brightest where they agree.
# </details>
#
# ## Exercise 11.6, stretch: a mixture density (at home, or if you finish early)
#
# Lecture 003 colours pictures in another way: a VAE of colours gives codes $\mathbf z$, and a second network predicts **several** of them from the grey picture, with weights. Its loss is the *mixture density* of $M$ Gaussians with the same $\sigma$:
#
# $$\mathcal L_{\text{mdn}} = -\log p(\mathbf z \mid \mathbf y) = -\log \sum_{i=1}^{M} \pi_i(\mathbf y)\, \mathcal N\big(\mathbf z \mid \boldsymbol\mu_i(\mathbf y), \sigma^2 \mathbf I\big)$$
#
# <details><summary>Hint</summary>
#
# $\log \mathcal N = -\frac{\lVert \mathbf z - \boldsymbol\mu_i \rVert^2}{2 \sigma^2} - K \log(\sigma \sqrt{2\pi})$ with $K$ dimensions, `z[:, None] - means` compares $\mathbf z$ with all components, and `ops.logsumexp` keeps $e^{-900}$ from becoming 0.
# </details>


# %%
def mixture_loss(z, logits, means, sigma):
    """−log p(z|y) `(batch,)`; z `(batch, K)`, logits of π `(batch, M)`, means `(batch, M, K)`, σ a number."""
    ### BEGIN SOLUTION
    squares = ops.sum(ops.square(z[:, None] - means), axis=-1)
    log_normal = -0.5 * squares / sigma**2 - means.shape[-1] * ops.log(sigma * np.sqrt(2 * np.pi))
    return -ops.logsumexp(ops.log_softmax(logits, axis=-1) + log_normal, axis=-1)
    ### END SOLUTION


mixture_loss = kvae.worksheet.check("11.6", mixture_loss)

# %%
COMPONENTS, WIDTH_OF_ONE = 6, ops.convert_to_tensor(0.7)


def split_mixture(outputs):
    """Logits `(batch, M)` and means `(batch, M, K)` from the outputs of a network."""
    return outputs[:, :COMPONENTS], ops.reshape(outputs[:, COMPONENTS:], (-1, COMPONENTS, LATENT_DIM))


codes = ops.convert_to_numpy(model.encoder(join(x_train, y_train)))[:, :LATENT_DIM]
keras.utils.set_random_seed(0)
mixture = network(known.sum(), COMPONENTS * (1 + LATENT_DIM))
mixture.compile(
    optimizer=keras.optimizers.Adam(2e-3),
    loss=lambda z, outputs: mixture_loss(z, *split_mixture(outputs), WIDTH_OF_ONE),
    jit_compile=False,
)
mixture.fit(y_train, codes, epochs=EPOCHS // 3, batch_size=64, verbose=0, callbacks=progress)
logits, means = map(ops.convert_to_numpy, split_mixture(mixture(y_test[ambiguous])))
order = np.argsort(-logits, axis=1)
rows = {"known": whole(y_test[ambiguous], None)}
for i in range(3):
    z = means[np.arange(10), order[:, i]]
    rows[f"mode {i + 1}"] = whole(y_test[ambiguous], ops.convert_to_numpy(model.decoder(join(z, y_test[ambiguous]))))
kvae.worksheet.show(
    kvae.plots.image_grid(np.stack(list(rows.values())), list(rows), title="The three heaviest components"), dpi=60
)

# %% [markdown]
# ## Summary
#
# - A question with many right answers has no good single answer: the best one in terms of squared error is their mean, a blur.
# - A conditional VAE with $p_\theta(\mathbf z \mid \mathbf y)$ gives one answer for each $\mathbf z$. The KL is between two Gaussians, and it trains the prior as well.
# - $q$ sees the answer and is for training; at test time $\mathbf z$ comes from the prior. Results better than possible are a leak.
# - Best of $n$ **and** spread: the mean wins at $n = 1$, noise has a spread but never hits.
#
# In kvae: `kvae.CVAE(encoder, decoder, prior=network)`, `kvae.distributions.MixtureDensity`; at length, with the numbers of the paper: `workshops/examples/quadrants.py` and `colorization.py`.
#
# **Next:** worksheet 12 makes single answers sharp, with a similarity that is learned.
