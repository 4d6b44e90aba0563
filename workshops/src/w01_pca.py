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
# 1. explain what a principal component is and find the first $k$ of them with a singular value decomposition;
# 2. encode an image as $k$ numbers, decode them again, and say how much is lost;
# 3. draw digits as points in the plane and say what the two axes mean;
# 4. read PCA as an energy, $E(\mathbf x) = \|\mathbf x - \hat{\mathbf x}\|^2$, and say where it is low even though there are no data.
#
# **How it works.** Replace each `...` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong, the
# check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down always
# run. You need NumPy: `@`, `.T`, `axis`. No Keras yet.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 5 minutes, exercises 1.1 to 1.6 take 36, the figures and the summary
# 9. Students spend the most time on 1.3: tell them beforehand that NumPy returns $W^T$, and let them work out the consequences. Fast students continue with 1.7.

# %%
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import numpy as np

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes about half a minute

data = kvae.load_data(DATASET)
x_train, y_train = data.x_train[:10_000], data.y_train[:10_000]
x_test, y_test = data.x_test[:2000], data.y_test[:2000]
print("training images", x_train.shape, "test images", x_test.shape)
some = x_train[:20].reshape(2, 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(some, title="Each image is one point x ∈ ℝᴰ"))

# %% [markdown]
# ## Why a digit needs fewer numbers than it has pixels
#
# An image of $D$ pixels is a point in $\mathbb R^D$. Most points of that space look like television static. Digits are different, because their
# pixels are correlated: if one pixel of a stroke is white, its neighbour probably is too. So there should be a few directions along which digits vary a lot, and many
# along which they hardly vary. PCA finds these directions.
#
# | | | |
# | --- | --- | --- |
# | $X$ | $N \times D$ | one image per row, every column with mean 0 |
# | $\mathbf w$ | $D$ | a direction, $\lVert\mathbf w\rVert = 1$ |
# | $W_k$ | $D \times k$ | the best $k$ directions, one per column |
# | $X_k = X W_k$ | $N \times k$ | the codes: each image as $k$ numbers |
#
# ## Exercise 1.1: the matrix $X$ (4 minutes)
#
# Turn each image into a row, and centre every column (every pixel) at 0.
#
# <details><summary>Hint</summary>
#
# `x.reshape(len(x), -1)` gives the rows. Which axis runs over the images?
# </details>


# %%
def centred(x):
    """Matrix X `(N, D)` of images `(N, height, width, 1)`."""
    ### BEGIN SOLUTION
    rows = x.reshape(len(x), -1)
    return rows - rows.mean(axis=0)
    ### END SOLUTION


centred = kvae.worksheet.check("1.1", centred)

# %% [markdown]
# ## Exercise 1.2: variance along a direction (7 minutes)
#
# The coordinate of an image along the direction $\mathbf w$ is $\mathbf x^T \mathbf w$; for all images at once, $X\mathbf w$.
# Since the columns of $X$ have mean 0, so does $X\mathbf w$, and its variance is
#
# $$\operatorname{Var}(\mathbf w) = \frac1N \lVert X \mathbf w \rVert^2, \qquad \lVert\mathbf w\rVert = 1$$
#
# Write it for a `w` of any length: only its direction should matter.
#
# <details><summary>Hint</summary>
#
# First divide `w` by `np.linalg.norm(w)`. Then square, and take the mean.
# </details>


# %%
def variance(x, w):
    """Variance of centred rows `(N, D)` along `w` `(D,)`, a number."""
    ### BEGIN SOLUTION
    w = w / np.linalg.norm(w)
    return np.mean((x @ w) ** 2)
    ### END SOLUTION


variance = kvae.worksheet.check("1.2", variance)

# %% [markdown]
# In the plane we can simply try all directions.
#
# **Predict before you run.** The point cloud is elongated and tilted by about 30°, rising to the right. Sketch the variance as a function of the
# angle of $\mathbf w$, from 0° to 180°: where is the maximum, where is the minimum? How far apart are they?

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

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The maximum is at 30°, along the cloud, the minimum at 120°, across it: exactly 90° apart. The curve is a sine wave
# of period 180°, because $\mathbf w$ and $-\mathbf w$ are the same direction.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Ask why they are exactly 90° apart: $\operatorname{Var}(\mathbf w) = \mathbf w^T C \mathbf w$ with a symmetric $C = X^T X / N$,
# whose eigenvectors are orthogonal. And why 180° and 0° agree: $\mathbf w$ and $-\mathbf w$ are the same direction. The sign of a component is always arbitrary.

# %% [markdown]
# ## Exercise 1.3: all directions at once (7 minutes)
#
# The first principal component is $\mathbf w_1 = \operatorname{argmax}_{\lVert\mathbf w\rVert = 1} \lVert X\mathbf w\rVert^2$; the second is the best direction
# orthogonal to it, and so on. In 64 dimensions we cannot try all angles, but the singular value decomposition gives all components at once:
#
# $$X = U \Sigma W^T, \qquad W^T W = I$$
#
# The columns of $W$ are the principal components, sorted by decreasing $\sigma_j$, and the variance along the $j$-th is $\sigma_j^2 / N$. Return the first $k$.
#
# <details><summary>Hint</summary>
#
# `np.linalg.svd(X, full_matrices=False)` returns three arrays. The third is $W^T$, not $W$: the components are its *rows*.
# </details>


# %%
def principal_components(x, k):
    """Components W_k `(D, k)` of centred rows `(N, D)`."""
    ### BEGIN SOLUTION
    _, _, w_transposed = np.linalg.svd(x, full_matrices=False)
    return w_transposed[:k].T
    ### END SOLUTION


principal_components = kvae.worksheet.check("1.3", principal_components)

# %% [markdown]
# A component has one number per pixel, so it is itself an image. Below, mid-grey is 0, white is positive and black is negative.
#
# **Predict before you run.** Will the components look like digits? What does it mean for an image to have a large first coordinate?

# %%
mean = x_train.reshape(len(x_train), -1).mean(axis=0)
W_10 = principal_components(centred(x_train), 10)


def as_images(w):
    """Directions `(D, k)` as grey images in which 0 is mid-grey."""
    return (0.5 + 0.5 * w / np.abs(w).max(axis=0)).T.reshape(-1, *data.image_shape)


pictures = as_images(W_10).reshape(2, 5, *data.image_shape)
kvae.worksheet.show(
    kvae.plots.image_grid(pictures, row_labels=["1 to 5", "6 to 10"], title="The first ten principal components")
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# They look like blurred differences of digits: white where one group has ink, black where another has. A large first
# coordinate says that the image has ink in the white places of the first component, and none in the black ones.
# </details>

# %% [markdown]
# ## Digits in two dimensions
#
# $X_2 = X W_2$ maps every image to a point in the plane, and of all planes this is the one with the greatest variance.
#
# **Predict before you run.** PCA never saw a label. Will the ten digits be separated? Which two will overlap?

# %%
codes = (x_test.reshape(len(x_test), -1) - mean) @ W_10[:, :2]
kvae.worksheet.show(kvae.plots.latent_scatter(codes, y_test, title="Test images as points X₂ = X W₂"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Only partly. Some, such as 0 and 4, lie apart; in the middle most digits overlap, because two directions hold less
# than a third of the variance.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Some classes are well separated (4 and 0, for example); in the middle everything overlaps. Two directions hold less than a third of the variance;
# the rest of what distinguishes the digits is not in this plane. Worksheet 2 replaces the plane with a curved surface.

# %% [markdown]
# ## Exercise 1.4: the way back (5 minutes)
#
# To turn $k$ numbers back into an image, start from the mean and add each component, multiplied by its number.
#
# $$\mathbf z = (\mathbf x - \boldsymbol\mu)\, W_k, \qquad \hat{\mathbf x} = \mathbf z\, W_k^T + \boldsymbol\mu$$
#
# <details><summary>Hint</summary>
#
# Check the shapes: `(n, D) @ (D, k) @ (k, D)`.
# </details>


# %%
def reconstruct(x, mean, w):
    """Reconstructions x̂ `(n, D)` of uncentred rows x `(n, D)`, with the mean `(D,)` and W_k `(D, k)`."""
    ### BEGIN SOLUTION
    z = (x - mean) @ w
    return z @ w.T + mean
    ### END SOLUTION


reconstruct = kvae.worksheet.check("1.4", reconstruct)

# %% [markdown]
# **Predict before you run.** Below are test images, reconstructed from 0, 2, 10 and 30 numbers. What do you get from no numbers at all? How large must
# $k$ be before you can read the digits?

# %%
all_components = principal_components(centred(x_train), 40)
rows = x_test[:10].reshape(10, -1)
shown = {"original": rows}
for k in (30, 10, 2, 0):
    shown[f"k = {k}"] = reconstruct(rows, mean, all_components[:, :k])
pictures = np.stack(list(shown.values())).reshape(len(shown), 10, *data.image_shape)
kvae.worksheet.show(kvae.plots.image_grid(pictures, row_labels=list(shown), title="Reconstructed from k numbers"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# From no numbers you get the mean image, the same for every digit. With 2 you see blurs, with 10 most digits can be
# read, with 30 the difference is hard to see.
# </details>

# %% [markdown]
# ## Exercise 1.5: the energy (6 minutes)
#
# The loss of an image is a single number, the squared distance from $\mathbf x$ to the plane that the components span:
#
# $$E(\mathbf x) = \lVert \mathbf x - \hat{\mathbf x} \rVert^2$$
#
# Lecture 002 calls it PCA's **energy** and writes it $\|W^T W Y - Y\|^2$: its $W$ has the components in its rows, and its $Y$ is our $\mathbf x - \boldsymbol\mu$. Low energy means
# "this looks like the training data", high energy "never seen anything like it".
#
# <details><summary>Hint</summary>
#
# Use your `reconstruct`, and sum over `axis=1`.
# </details>


# %%
def energy(x, mean, w):
    """Energies E(x) `(n,)` of rows `(n, D)`."""
    ### BEGIN SOLUTION
    return np.sum((x - reconstruct(x, mean, w)) ** 2, axis=1)
    ### END SOLUTION


energy = kvae.worksheet.check("1.5", energy)

# %% [markdown]
# By Pythagoras, variance is either kept or lost. So the plane of *greatest variance* is also the plane of *least mean energy*, and the singular values
# tell us in advance how much is lost: $\frac1N \sum_n E(\mathbf x_n) = \frac1N \sum_{j > k} \sigma_j^2$.
#
# **Predict before you run.** How many components keep 90% of the variance? Is it more than half the number of pixels?

# %%
X = centred(x_train)
sigma = np.linalg.svd(X, compute_uv=False)
kept = np.cumsum(sigma**2) / np.sum(sigma**2)
for k in (2, 10, 30):
    lost = energy(X + mean, mean, all_components[:, :k]).mean()
    print(f"k = {k:>2}: mean energy {lost:.3f}, from the singular values {np.sum(sigma[k:] ** 2) / len(X):.3f}")
enough = 1 + int(np.argmax(kept >= 0.9))
print(f"{enough} of {len(kept)} components keep 90% of the variance")

figure = kvae.plots.canvas.new_figure(8, 4.6, "Variance kept by the first k components")
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
# <details><summary>Answer to “Predict before you run”</summary>
#
# 21 of 64, a third of the number of pixels: neighbouring pixels are correlated.
# </details>

# %% [markdown]
# ## Where is the energy low?
#
# In the plane, the energy can be drawn. The data are two half moons; the models have zero components and one component.
#
# **Predict before you run.** Where is $E = 0$ in each figure? Is it low *only* where there are data?


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

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# With $k = 0$ only at the mean, where there are no data; with $k = 1$ on a whole line, which passes through the data
# and then goes on to infinity. So it is not low *only* there.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* It is 0 at a single point, the mean, where there are no data; then along a whole line, out to infinity, while the tips of the moons have high energy. This is the lecture's
# first strategy, "constant volume": a line cannot be low everywhere, so nothing has to push the energy up elsewhere. Worksheet 3 covers the other strategies.

# %% [markdown]
# ## Exercise 1.6: find the bug (7 minutes)
#
# A colleague announces: "My first component alone explains most of the digits! Yours needs many."
#
# **Predict before you run.** Can there be a direction with more variance than your first component? If not, what might this one be?


# %%
def broken_codes(x_train, x_test, k):
    """The colleague's codes `(n, k)` of test rows `(n, D)`, from the components of the training rows."""
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
# <details><summary>Answer to “Predict before you run”</summary>
#
# No: by definition no direction has more variance. So the percentage of the colleague cannot be one of a variance.
# </details>

# %% [markdown]
# Look at the first component, and compare the second with your first. What has the SVD found? Write `fixed_codes`, which gives test images the
# right codes.
#
# <details><summary>Hint</summary>
#
# The first line under "Principal Component Analysis" in lecture 000 says what $X$ must be. And the code of an image must not depend on which
# other images are in the test set.
# </details>


# %%
def fixed_codes(x_train, x_test, k):
    """Codes `(n, k)` of test rows `(n, D)`, from the components of the training rows `(N, D)`."""
    ### BEGIN SOLUTION
    mean = x_train.mean(axis=0)
    _, _, w_transposed = np.linalg.svd(x_train - mean, full_matrices=False)
    return (x_test - mean) @ w_transposed[:k].T
    ### END SOLUTION


fixed_codes = kvae.worksheet.check("1.6", fixed_codes)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Without centring, $\lVert X\mathbf w\rVert^2$ is greatest towards the mean image: the direction from the origin to the data, not the one
# along which the data vary. The second broken component is roughly our first. Reconstructions would not have revealed the bug: k uncentred components do about as well as k − 1 centred ones.

# %% [markdown]
# ## Exercise 1.7, stretch: draw digits from PCA (at home, or if you finish early)
#
# Any method with an energy can be turned into a generative model, says lecture 002. For PCA: the codes have mean 0 and variance $\lambda_j = \sigma_j^2 / N$ in
# direction $j$. Sample from a Gaussian with exactly these moments,
#
# $$\mathbf z = \boldsymbol\epsilon \odot \sqrt{\boldsymbol\lambda}, \quad \boldsymbol\epsilon \sim \mathcal N(\mathbf 0, \mathbf I), \qquad \mathbf x = \mathbf z\, W_k^T + \boldsymbol\mu$$
#
# <details><summary>Hint</summary>
#
# `noise` is `(n, k)` and `variances` is `(k,)`; multiplication broadcasts along the last axis.
# </details>


# %%
def sample(noise, mean, w, variances):
    """Rows `(n, D)` drawn with noise ε `(n, k)`, mean `(D,)`, W_k `(D, k)` and variances λ `(k,)`."""
    ### BEGIN SOLUTION
    return (noise * np.sqrt(variances)) @ w.T + mean
    ### END SOLUTION


sample = kvae.worksheet.check("1.7", sample)

# %% [markdown]
# **Predict before you run.** Digits, or static?

# %%
noise = np.random.default_rng(0).normal(size=(20, 30))
drawn = sample(noise, mean, all_components[:, :30], sigma[:30] ** 2 / len(X))
kvae.worksheet.show(
    kvae.plots.image_grid(drawn.reshape(2, 10, *data.image_shape), title="Sampled from a Gaussian with PCA's variances")
)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Digits of a sort: smooth, with strokes, but no particular digit. A Gaussian fills the space between the digits too.
# </details>

# %% [markdown]
# ## Summary
#
# - The first principal component is the direction of greatest variance; the SVD $X = U \Sigma W^T$ of the *centred* data gives all of them, sorted by
#   decreasing variance $\sigma_j^2 / N$. Their signs are arbitrary.
# - Encoder $\mathbf z = (\mathbf x - \boldsymbol\mu) W_k$, decoder $\hat{\mathbf x} = \mathbf z W_k^T + \boldsymbol\mu$: both are linear and share their weights.
# - Keeping the most variance is the same as losing the least mean energy $E(\mathbf x) = \|\mathbf x - \hat{\mathbf x}\|^2$.
# - $E$ is low on a whole plane, including where there are no digits. So a random code decodes to a mixture of strokes from all digits.
#
# **Next:** worksheet 2 bends the plane: encoder and decoder become networks.
