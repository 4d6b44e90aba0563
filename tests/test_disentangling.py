"""Shapes drawn from known factors, scores of disentanglement, and their pictures."""

import numpy as np
import pytest

import kvae
from kvae.data import shapes


@pytest.fixture(scope="session")
def drawn():
    return kvae.load_data("shapes")


# Images from known factors.


def test_shapes_are_drawn_once_for_each_combination_of_factors(drawn):
    assert drawn.image_shape == (64, 64, 1)
    assert drawn.x_train.dtype == drawn.x_test.dtype == "float32"
    assert drawn.x_train.nbytes + drawn.x_test.nbytes == 226_492_416
    assert drawn.factor_names == ("outline", "scale", "rotation", "x", "y")
    assert drawn.factors.dtype == drawn.factors_test.dtype == "int64"
    assert (drawn.class_names, drawn.num_classes, drawn.name) == (("square", "ellipse", "heart"), 3, "shapes")
    np.testing.assert_array_equal(drawn.y_train, drawn.factors[:, 0])
    np.testing.assert_array_equal(drawn.y_test, drawn.factors_test[:, 0])
    every = np.concatenate([drawn.factors, drawn.factors_test])
    assert len(np.unique(every, axis=0)) == len(every) == 3 * 4 * 8 * 12 * 12
    np.testing.assert_array_equal(every.max(axis=0) + 1, shapes.NUM_VALUES)
    assert len({image.tobytes() for images in (drawn.x_train, drawn.x_test) for image in images}) == len(every)
    np.testing.assert_allclose(np.mean(drawn.factors, axis=0), np.mean(every, axis=0), rtol=0.02)


def test_every_change_of_a_factor_changes_several_pixels():
    """Also in the smallest scale, and between the last rotation and the first, of a square a quarter turn later."""
    patches = shapes._patches()
    flat = patches.reshape(-1, patches[0, 0, 0].size)
    squares = (flat**2).sum(axis=1)
    distance = squares[:, None] + squares - 2 * flat @ flat.T
    assert (distance + 100 * np.eye(len(flat))).min() > 4
    assert (patches[0, 0, 7] - patches[0, 0, 0]).std() > 0.05


def test_shapes_are_where_their_factors_say(drawn):
    images, factors = drawn.x_test[..., 0].astype("float64"), drawn.factors_test
    assert images.min() == 0
    assert images.max() == 1
    assert 0 < np.mean((images > 0) & (images < 1)) < 0.05  # smooth edges
    pixel, mass = np.arange(64), images.sum(axis=(1, 2))
    across, down = images.sum(axis=1) @ pixel / mass, images.sum(axis=2) @ pixel / mass
    np.testing.assert_allclose(across, np.take(shapes.POSITIONS, factors[:, 3]), atol=0.05)
    np.testing.assert_allclose(down, np.take(shapes.POSITIONS, factors[:, 4]), atol=0.05)
    radius = np.take(shapes.SCALES, factors[:, 1])
    share = np.array([2.0, np.pi / 2, (mass / radius**2)[factors[:, 0] == 2].mean()])  # of the squared radius
    np.testing.assert_allclose(mass, share[factors[:, 0]] * radius**2, rtol=0.03)
    ellipse = factors[:, 0] == 1
    u, v = pixel - across[:, None], down[:, None] - pixel
    uu, vv = (np.einsum("nhw,nw->n", images, u**2), np.einsum("nhw,nh->n", images, v**2))
    angle = np.rad2deg(0.5 * np.arctan2(2 * np.einsum("nhw,nw,nh->n", images, u, v), uu - vv))
    np.testing.assert_allclose(angle[ellipse], np.take(shapes.ROTATIONS, factors[ellipse, 2]), atol=1)


def test_shapes_are_the_same_every_time(drawn):
    rows = [0, 17, 11_058]
    np.testing.assert_array_equal(drawn.factors[[0, 1, -1]], [[2, 2, 0, 8, 11], [1, 3, 2, 8, 7], drawn.factors[-1]])
    np.testing.assert_array_equal(shapes.draw(drawn.factors[rows]), drawn.x_train[rows])
    assert kvae.load_data("digits").factors is None
