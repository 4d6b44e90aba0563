# ---
# jupyter:
#   kvae:
#     worksheet: 1
#     topic: Principal component analysis
#     about: "variance, SVD, reconstruction, digits in two dimensions"
#     lectures: "000, 002"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 1: Principal component analysis
#
# **50 minutes.** After it you can
#
# 1. say what a principal component is, and find the first $k$ of them with a singular value decomposition;
# 2. encode an image as $k$ numbers, decode them, and say how much is lost;
# 3. draw digits as points in the plane, and say what the two axes mean;
# 4. read PCA as an energy, $E(\mathbf x) = \|\mathbf x - \hat{\mathbf x}\|^2$, and say where it is low although no data are there.
#
# **How it works.** Replace each `...` marked `YOUR CODE`, and run the cell; its last line checks your answer. A check
# says what is wrong, not only that something is. It hands back your answer if that is right and ours if not, so the cells further down always
# run. You need NumPy: `@`, `.T`, `axis`. No Keras yet.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first picture 5 minutes, exercises 1.1 to 1.6 36 minutes, the pictures and the summary
# 9 minutes. The slowest part is 1.3: say beforehand that NumPy hands back $W^T$, and let them find out what follows. Whoever is quick goes on to 1.7.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import numpy as np

import kvae

DATASET = "digits"  # the switch: "mnist" for 28×28 pixels, about half a minute

data = kvae.load_data(DATASET)
x_train, y_train = data.x_train[:10_000], data.y_train[:10_000]
x_test, y_test = data.x_test[:2000], data.y_test[:2000]
print("training images", x_train.shape, "test images", x_test.shape)
some = x_train[:20].reshape(2, 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(some, title="Each image is one point x ∈ ℝᴰ"))

# %% [markdown]
# ## Why a digit needs fewer numbers than it has pixels
#
# An image of $D$ pixels is a point in $\mathbb R^D$. Most points there are television snow. Digits keep together: if one
# pixel of a stroke is white, its neighbour probably is, too. So there should be a few directions along which digits differ much, and many along
# which they hardly differ. PCA finds these directions.
#
# | | | |
# | --- | --- | --- |
# | $X$ | $N \times D$ | one image a row, every column with mean 0 |
# | $\mathbf w$ | $D$ | a direction, $\lVert\mathbf w\rVert = 1$ |
# | $W_k$ | $D \times k$ | the best $k$ directions, one a column |
# | $X_k = X W_k$ | $N \times k$ | the codes: each image as $k$ numbers |
#
# ## Exercise 1.1: the matrix $X$ (4 minutes)
#
# Make one row of each image, and give every column (every pixel) the mean 0.
#
# <details><summary>Hint</summary>
#
# `x.reshape(len(x), -1)` are the rows. Which axis counts the images?
# </details>


# %%
def centred(x):
    """X `(N, D)` of images `(N, height, width, 1)`."""
    ### BEGIN SOLUTION
    rows = x.reshape(len(x), -1)
    return rows - rows.mean(axis=0)
    ### END SOLUTION


centred = kvae.worksheet.check("1.1", centred)

# %% [markdown]
# ## Exercise 1.2: variance along a direction (7 minutes)
#
# The coordinate of an image along the direction $\mathbf w$ is $\mathbf x^T \mathbf w$; of all images at once, $X\mathbf w$.
# As the columns of $X$ have mean 0, so has $X\mathbf w$, and its variance is
#
# $$\operatorname{Var}(\mathbf w) = \frac1N \lVert X \mathbf w \rVert^2, \qquad \lVert\mathbf w\rVert = 1$$
#
# Write it for a `w` of any length: only the direction may count.
#
# <details><summary>Hint</summary>
#
# Divide `w` by `np.linalg.norm(w)` first. Then: square, and take the mean.
# </details>


# %%
def variance(x, w):
    """The variance of centred rows `(N, D)` along `w` `(D,)`, a number."""
    ### BEGIN SOLUTION
    w = w / np.linalg.norm(w)
    return np.mean((x @ w) ** 2)
    ### END SOLUTION


variance = kvae.worksheet.check("1.2", variance)

# %% [markdown]
# A cloud in the plane has few enough directions to try them all.
#
# **Predict before you run.** The cloud is long and thin and rises to the right at about 30°. Sketch the variance as a function of the
# angle of $\mathbf w$, from 0° to 180°: where is the top, where the bottom? How far apart are the two?

# %%
turn = np.deg2rad(30)
axes_of_cloud = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
cloud = np.random.default_rng(0).normal(0, 1, (300, 2)) * [2.0, 0.6] @ axes_of_cloud
cloud = cloud - cloud.mean(axis=0)

angles = np.arange(181)
unit = np.column_stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))])
variances = [variance(cloud, w) for w in unit]
best, worst = int(np.argmax(variances)), int(np.argmin(variances))
print(f"largest variance {variances[best]:.2f} at {best}°, smallest {variances[worst]:.2f} at {worst}°")

figure = kvae.plots.canvas.new_figure(11, 4.6, "The direction of greatest variance")
left, right = figure.subplots(1, 2)
left.scatter(*cloud.T, s=12, color="#94a4a2")
for angle, color, name in ((best, "#bd1f01", "greatest"), (worst, "#3f90da", "least")):
    end = 2 * np.sqrt(variances[angle]) * unit[angle]
    left.plot(*np.transpose([-end, end]), color=color, linewidth=4, label=name)
    right.axvline(angle, color=color, linewidth=2, linestyle="--")
left.set(aspect="equal", xlim=(-6, 6), ylim=(-5, 5))
left.legend(fontsize=13, loc="upper left")
right.plot(angles, variances, color="black", linewidth=3)
right.set(xticks=range(0, 181, 30), ylim=(0, None))
right.set_xlabel("angle of w in degrees", fontsize=15)
right.set_ylabel("Var(w)", fontsize=15)
for axes in (left, right):
    axes.tick_params(labelsize=13)
kvae.worksheet.show(figure)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Ask why exactly 90° lie between them: $\operatorname{Var}(\mathbf w) = \mathbf w^T C \mathbf w$ with a symmetric $C = X^T X / N$,
# whose eigenvectors are orthogonal. And why 180° and 0° agree: $\mathbf w$ and $-\mathbf w$ are the same direction. The sign stays free for ever.

# %% [markdown]
# ## Exercise 1.3: all directions at once (7 minutes)
#
# The first principal component is $\mathbf w_1 = \operatorname{argmax}_{\lVert\mathbf w\rVert = 1} \lVert X\mathbf w\rVert^2$; the second is the best among those
# orthogonal to it, and so on. In 64 dimensions nobody tries all angles. The singular value decomposition has them all:
#
# $$X = U \Sigma W^T, \qquad W^T W = I$$
#
# The columns of $W$ are the principal components, sorted by falling $\sigma_j$, and the variance along the $j$-th is $\sigma_j^2 / N$. Return the first $k$.
#
# <details><summary>Hint</summary>
#
# `np.linalg.svd(X, full_matrices=False)` gives three arrays. The third is $W^T$, not $W$: the components are its *rows*.
# </details>


# %%
def principal_components(x, k):
    """W_k `(D, k)` of centred rows `(N, D)`."""
    ### BEGIN SOLUTION
    _, _, w_transposed = np.linalg.svd(x, full_matrices=False)
    return w_transposed[:k].T
    ### END SOLUTION


principal_components = kvae.worksheet.check("1.3", principal_components)

# %% [markdown]
# A component has one number a pixel, so it is an image itself. Below, middle grey is 0, white positive, black negative.
#
# **Predict before you run.** Will the components look like digits? What does it mean for an image to have a large first coordinate?

# %%
mean = x_train.reshape(len(x_train), -1).mean(axis=0)
W_10 = principal_components(centred(x_train), 10)


def as_images(w):
    """Directions `(D, k)` as grey images: 0 becomes middle grey."""
    return (0.5 + 0.5 * w / np.abs(w).max(axis=0)).T.reshape(-1, *data.image_shape)


pictures = as_images(W_10).reshape(2, 5, *data.image_shape)
kvae.worksheet.show(
    kvae.plots.image_grid(pictures, row_labels=["1 to 5", "6 to 10"], title="The first ten principal components")
)

# %% [markdown]
# ## Digits in two dimensions
#
# $X_2 = X W_2$ makes a point in the plane of every image, and it is the plane of the greatest variance of all planes.
#
# **Predict before you run.** PCA never saw a label. Will the ten digits lie apart? Which two will be mixed up?

# %%
codes = (x_test.reshape(len(x_test), -1) - mean) @ W_10[:, :2]
kvae.worksheet.show(kvae.plots.latent_scatter(codes, y_test, title="Test images as points X₂ = X W₂"), dpi=60)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Some classes lie apart (4 and 0, say), the middle is a heap. Two directions hold less than a third of the variance;
# the rest of what tells digits apart is not in this plane. Worksheet 2 has a curved surface in place of it.

# %% [markdown]
# ## Exercise 1.4: and back (5 minutes)
#
# $k$ numbers go back to an image: the mean, plus each component as often as its number says.
#
# $$\mathbf z = (\mathbf x - \boldsymbol\mu)\, W_k, \qquad \hat{\mathbf x} = \mathbf z\, W_k^T + \boldsymbol\mu$$
#
# <details><summary>Hint</summary>
#
# Count the columns: `(n, D) @ (D, k) @ (k, D)`.
# </details>


# %%
def reconstruct(x, mean, w):
    """x̂ `(n, D)` of rows x `(n, D)` that are not centred, with the mean `(D,)` and W_k `(D, k)`."""
    ### BEGIN SOLUTION
    z = (x - mean) @ w
    return z @ w.T + mean
    ### END SOLUTION


reconstruct = kvae.worksheet.check("1.4", reconstruct)

# %% [markdown]
# **Predict before you run.** Below are test images, rebuilt from 0, 2, 10 and 30 numbers. What is drawn with no number at all? From which row on can
# you read the digits?

# %%
all_components = principal_components(centred(x_train), 40)
rows = x_test[:10].reshape(10, -1)
shown = {"original": rows}
for k in (30, 10, 2, 0):
    shown[f"k = {k}"] = reconstruct(rows, mean, all_components[:, :k])
pictures = np.stack(list(shown.values())).reshape(len(shown), 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=list(shown), title="Images rebuilt from k numbers"))

# %% [markdown]
# ## Exercise 1.5: the energy (6 minutes)
#
# What is lost is a number an image, the squared distance from $\mathbf x$ to the plane that the components span:
#
# $$E(\mathbf x) = \lVert \mathbf x - \hat{\mathbf x} \rVert^2$$
#
# Lecture 002 calls it PCA's **energy** and writes it $\|W^T W Y - Y\|^2$: its $W$ has the components in the rows, its $Y$ is our $\mathbf x - \boldsymbol\mu$. Low energy says
# "I know such things", high energy "never seen".
#
# <details><summary>Hint</summary>
#
# Your `reconstruct`, and a sum over `axis=1`.
# </details>


# %%
def energy(x, mean, w):
    """E(x) `(n,)` of rows `(n, D)`."""
    ### BEGIN SOLUTION
    return np.sum((x - reconstruct(x, mean, w)) ** 2, axis=1)
    ### END SOLUTION


energy = kvae.worksheet.check("1.5", energy)

# %% [markdown]
# Pythagoras: what is not kept is lost. So the plane of the *greatest variance* is the plane of the *least mean energy*, and the singular values
# say beforehand how much is lost: $\frac1N \sum_n E(\mathbf x_n) = \frac1N \sum_{j > k} \sigma_j^2$.
#
# **Predict before you run.** How many components keep 90% of the variance? More than half of the pixels?

# %%
X = centred(x_train)
sigma = np.linalg.svd(X, compute_uv=False)
kept = np.cumsum(sigma**2) / np.sum(sigma**2)
for k in (2, 10, 30):
    lost = energy(X + mean, mean, all_components[:, :k]).mean()
    print(f"k = {k:>2}: mean energy {lost:.3f}, by the singular values {np.sum(sigma[k:] ** 2) / len(X):.3f}")
enough = 1 + int(np.argmax(kept >= 0.9))
print(f"{enough} of {len(kept)} components keep 90% of the variance")

figure = kvae.plots.canvas.new_figure(8, 4.6, "The first k components keep …")
axes = figure.add_subplot()
axes.plot(np.arange(len(kept) + 1), 100 * np.append(0, kept), color="black", linewidth=3)
axes.plot([enough, enough, 0], [0, 90, 90], color="#bd1f01", linewidth=2, linestyle="--")
axes.set(xlim=(0, len(kept)), ylim=(0, 102))
axes.set_xlabel("k", fontsize=15)
axes.set_ylabel("% of the variance", fontsize=15)
axes.tick_params(labelsize=13)
axes.grid(alpha=0.3)
kvae.worksheet.show(figure)

# %% [markdown]
# ## Where is the energy low?
#
# In the plane one can look at it. The data are two half moons, with no component at all and with one.
#
# **Predict before you run.** Where is $E = 0$ in each picture? Is it low *only* where data are?


# %%
class PrincipalComponents:
    """Your PCA as a model of points in the plane, with k = 0 or 1."""

    def __init__(self, x, k):
        self.mean = x.mean(axis=0)
        self.w = principal_components(x - self.mean, 1)[:, :k]

    def energy(self, x):
        return energy(x, self.mean, self.w)


moons = kvae.toy.moons(400, seed=0)
models = {f"PCA, k = {k}": PrincipalComponents(moons, k) for k in (0, 1)}
kvae.worksheet.show(kvae.plots.energy_surfaces(models, moons), dpi=60)

# %% [markdown] tags=["instructor"]
# *For the instructor.* At one point, the mean, where no data are; then along a whole line, to infinity, and the moons' tips lie high. It is the lecture's
# first strategy, "constant volume": a line has no room to be low everywhere, so nothing has to push the rest up. Worksheet 3 takes up the other strategies.

# %% [markdown]
# ## Exercise 1.6: find the bug (7 minutes)
#
# Somebody announces: "My first component alone explains most of the digits! Yours needs many for that."
#
# **Predict before you run.** Can there be a direction with more variance than yours? Then what might this one be?


# %%
def broken_codes(x_train, x_test, k):
    """Somebody's codes `(n, k)` of test rows `(n, D)`, by the components of the training rows."""
    _, _, w_transposed = np.linalg.svd(x_train, full_matrices=False)
    return x_test @ w_transposed[:k].T


train_rows, test_rows = x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)
_, sigma_broken, W_broken = np.linalg.svd(train_rows, full_matrices=False)
print(
    f"its first component explains {100 * sigma_broken[0] ** 2 / np.sum(sigma_broken**2):.0f}%, yours {100 * kept[0]:.0f}%"
)
z = broken_codes(train_rows, test_rows, 2)
side = max(np.mean(z[:, 0] > 0), np.mean(z[:, 0] < 0))
print(f"{100 * side:.0f}% of its first coordinates have the same sign")
pictures = np.stack([as_images(W_10[:, :6]), as_images(W_broken[:6].T)])
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=["yours", "broken"], title="The first six components"))

# %% [markdown]
# Look at its first component, and at its second beside your first. What has it found? Write `mended_codes` so that test images get the codes
# that they should.
#
# <details><summary>Hint</summary>
#
# The first line under "Principal Component Analysis" in lecture 000 says what $X$ must be. And a code must not depend on which
# other test images there are.
# </details>


# %%
def mended_codes(x_train, x_test, k):
    """Codes `(n, k)` of test rows `(n, D)`, by the components of the training rows `(N, D)`."""
    ### BEGIN SOLUTION
    mean = x_train.mean(axis=0)
    _, _, w_transposed = np.linalg.svd(x_train - mean, full_matrices=False)
    return (x_test - mean) @ w_transposed[:k].T
    ### END SOLUTION


mended_codes = kvae.worksheet.check("1.6", mended_codes)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Without centring, $\lVert X\mathbf w\rVert^2$ is greatest towards the mean image: the direction in which the data lie, not that
# in which they differ. Its second component is about our first. No picture of reconstructions would have shown it; k and k − 1 look alike.

# %% [markdown]
# ## Exercise 1.7, stretch: draw digits from PCA (at home, or if you are early)
#
# Any method with an energy can be made a generative one, says lecture 002. For PCA: the codes have mean 0 and variance $\lambda_j = \sigma_j^2 / N$ in
# direction $j$. Take a Gaussian with just these,
#
# $$\mathbf z = \boldsymbol\epsilon \odot \sqrt{\boldsymbol\lambda}, \quad \boldsymbol\epsilon \sim \mathcal N(\mathbf 0, \mathbf I), \qquad \mathbf x = \mathbf z\, W_k^T + \boldsymbol\mu$$
#
# <details><summary>Hint</summary>
#
# `noise` is `(n, k)` and `variances` is `(k,)`; a product goes along the last axis by itself.
# </details>


# %%
def sample(noise, mean, w, variances):
    """Rows `(n, D)` drawn with the noise ε `(n, k)`, the mean `(D,)`, W_k `(D, k)` and the variances λ `(k,)`."""
    ### BEGIN SOLUTION
    return (noise * np.sqrt(variances)) @ w.T + mean
    ### END SOLUTION


sample = kvae.worksheet.check("1.7", sample)

# %% [markdown]
# **Predict before you run.** Digits, or snow?

# %%
noise = np.random.default_rng(0).normal(size=(20, 30))
drawn = sample(noise, mean, all_components[:, :30], sigma[:30] ** 2 / len(X))
kvae.worksheet.show(
    kvae.plots.image_grid(drawn.reshape(2, 10, *data.image_shape), title="Drawn from a Gaussian with PCA's variances")
)

# %% [markdown]
# ## Summary
#
# - The first principal component is the direction of greatest variance; the SVD $X = U \Sigma W^T$ of the *centred* data has all of them, by
#   falling variance $\sigma_j^2 / N$, their signs free.
# - Encoder $\mathbf z = (\mathbf x - \boldsymbol\mu) W_k$, decoder $\hat{\mathbf x} = \mathbf z W_k^T + \boldsymbol\mu$: linear, both with the same weights.
# - Greatest variance kept = least mean energy $E(\mathbf x) = \|\mathbf x - \hat{\mathbf x}\|^2$ lost.
# - $E$ is low on a whole plane, also where no digit is. So a code at random is strokes of all digits at once.
#
# **Next:** worksheet 2 bends the plane: encoder and decoder become networks.
