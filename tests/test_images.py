"""Image files of every kind, and folders of them: what is read, and what is refused in one line."""

import io
import os
import re
import struct
import sys
import time
import tracemalloc
import warnings
import zlib
from concurrent import futures

import numpy as np
import pytest
from PIL import Image

import kvae
from kvae.data import image_folder, stream
from kvae.data.image_folder import decode

GREY = np.arange(48, dtype="uint8").reshape(6, 8) * 5
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], -1)


def encoded(image, kind="PNG", **options):
    """The content of a file with a Pillow image or an array of pixels."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def picture(mode):
    return Image.fromarray(COLOUR).convert(mode)


def palette(**options):
    image = Image.fromarray(COLOUR).quantize(48)
    return encoded(image, **options), np.asarray(image.convert("RGB"))


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(COLOUR, exif=exif.tobytes())


def animated(kind, **options):
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    return encoded(first, kind, save_all=True, append_images=[second], duration=100, **options)


BITS = np.arange(48, dtype="uint16").reshape(6, 8) * 1300
ALPHA = np.concatenate([COLOUR, GREY[..., None]], -1)
READ = {  # content, and pixels
    "grey": (encoded(GREY), GREY[..., None]),
    "colour": (encoded(COLOUR), COLOUR),
    "alpha": (encoded(ALPHA), ALPHA),
    "grey with alpha": (encoded(picture("LA")), np.asarray(picture("LA"))),
    "one bit": (encoded(picture("1")), np.asarray(picture("1").convert("L"))[..., None]),
    "16 bits": (encoded(BITS), np.rint(BITS / 257).astype("uint8")[..., None]),
    "16 bits, TIFF": (encoded(BITS, "TIFF"), np.rint(BITS / 257).astype("uint8")[..., None]),
    "palette": palette(),
    "palette with alpha": palette(transparency=bytes(range(48))),
    "CMYK": (encoded(picture("CMYK"), "TIFF"), np.asarray(picture("CMYK").convert("RGB"))),
    "upside down": (turned(3), COLOUR[::-1, ::-1]),
    "on its side": (turned(6), np.rot90(COLOUR, -1)),
    "mirrored": (turned(2), COLOUR[:, ::-1]),
    "an orientation that does not exist": (turned(77), COLOUR),
    "WebP": (encoded(COLOUR, "WEBP", lossless=True), COLOUR),
    "TIFF": (encoded(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
    "BMP": (encoded(COLOUR, "BMP"), COLOUR),
    "animated PNG": (animated("PNG"), COLOUR),
    "animated WebP": (animated("WEBP", lossless=True), COLOUR),
    "TIFF of several pages": (animated("TIFF"), COLOUR),
}


@pytest.mark.filterwarnings("error")  # also of Pillow
@pytest.mark.parametrize("name", READ)
def test_images_are_decoded_to_bytes(name):
    content, pixels = READ[name]
    np.testing.assert_array_equal(decode(content), pixels)


LOSSY = {
    "GIF": animated("GIF"),
    "JPEG": encoded(COLOUR, "JPEG", quality=95),
    "CMYK": encoded(picture("CMYK"), "JPEG", quality=95),
    "YCbCr": encoded(picture("YCbCr"), "JPEG", quality=95),
}


@pytest.mark.parametrize("content", LOSSY.values(), ids=LOSSY)
def test_lossy_images_are_decoded_to_about_their_colours(content):
    assert np.abs(decode(content).astype(float) - COLOUR).mean() < 12


def png(width, height, kind=2, data=b""):
    """A PNG file with the given header."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + struct.pack(
        "<HHB", width, height, 0
    ) + b"\x02\x02D\x01\0;"  # fmt: skip


REFUSED = {
    "empty": (b"", "not an image in one of the formats PNG, JPEG"),
    "text": (b"hello", "not an image in one of the formats"),
    "cut PNG": (encoded(COLOUR)[:-40], "."),
    "cut JPEG": (encoded(COLOUR, "JPEG")[:-200], "."),
    "cut WebP": (encoded(COLOUR, "WEBP")[:-20], "."),
    "cut TIFF": (encoded(COLOUR, "TIFF")[:60], "."),
    "cut BMP": (encoded(COLOUR, "BMP")[:-20], "."),
    "wrong checksum": (encoded(COLOUR).replace(b"IDAT", b"IDAX"), "."),
    "bomb of pixels": (png(10_000, 10_000), r"at most 67,108,864 numbers are allowed, .* declares 300,000,000"),
    "larger bomb": (png(2**31 - 1, 2**31 - 1), "could be decompression bomb|numbers are allowed"),
    "bomb in a GIF": (gif(65535, 65535), "decompression bomb|numbers are allowed"),
    "bomb of data": (png(8, 6, data=bytes(10**8)), None),  # only as much as the header declares is unpacked
    "32-bit floats": (encoded(GREY.astype("float32"), "TIFF"), "8 or 16 bits, and have Pillow's mode F"),
    "32-bit integers": (encoded(GREY.astype("int32") * 10**7, "TIFF"), "8 or 16 bits, and have Pillow's mode I"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image in one of the formats"),
    "PPM": (encoded(COLOUR, "PPM"), "not an image in one of the formats"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", REFUSED)
def test_bad_images_are_refused_in_one_line_and_within_memory(name):
    content, message = REFUSED[name]
    tracemalloc.start()
    try:
        if message is None:
            assert decode(content).shape == (6, 8, 3)
        else:
            with pytest.raises(ValueError, match=message) as caught:
                decode(content)
            assert "\n" not in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_threads_that_decode_leave_the_filters_of_warnings_as_they_were():
    before = list(warnings.filters)
    with futures.ThreadPoolExecutor(4) as pool:
        shapes = {image.shape for image in pool.map(decode, [READ["palette with alpha"][0]] * 50)}
    assert len(shapes) == 1
    assert warnings.filters == before


# Folders


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def count(found):
    return len(collect(found)[0])


def collect(found):
    batches = found.batches(min(4, found.num_examples), shuffle=False)
    parts = [batch if isinstance(batch, tuple) else (batch,) for batch in batches]
    return [np.concatenate([np.asarray(part) for part in column]) for column in zip(*parts, strict=True)]


def test_every_ending_is_known(tmp_path):
    for i, (ending, kind) in enumerate(
        {".png": "PNG", ".JPG": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WEBP", ".TIF": "TIFF",
         ".tiff": "TIFF"}.items()
    ):  # fmt: skip
        write(tmp_path / f"{i}{ending}", encoded(COLOUR, kind))
    (tmp_path / "notes.txt").write_text("no image")
    assert stream(tmp_path).num_examples == len(image_folder.SUFFIXES) == 8
    assert count(stream(tmp_path)) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="names and links of Linux")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb.png", "a\N{REPLACEMENT CHARACTER}b.png"),
        (os.fsdecode(b"\xff\xfe.png"), "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}.png"),
        ("\x1b[2J.png", "\N{REPLACEMENT CHARACTER}[2J.png"),
        ("x" * 251 + ".png", "x" * 251 + ".png"),
        ("$(touch x); é 日本.png", "$(touch x); é 日本.png"),
    ],
    ids=["newline", "surrogates", "escape", "long", "shell"],
)
def test_odd_names_are_read_and_shown_in_one_line(tmp_path, name, shown):
    path = write(tmp_path / "good" / "a" / name, encoded(COLOUR))
    write(tmp_path / "good" / name.replace(".png", "")[:200] / name, encoded(COLOUR))
    found = stream(tmp_path / "good")
    assert (found.num_classes, len(collect(found)[0])) == (2, 2)
    path.write_bytes(b"")
    with pytest.raises(kvae.io.FileError) as caught:
        stream(path.parent)
    assert f"/a/{shown} must be a readable image" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(sys.platform != "linux", reason="links, pipes and devices of Linux")
def test_links_pipes_and_devices(tmp_path):
    real = write(tmp_path / "elsewhere" / "a.png", encoded(COLOUR))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "0.png").symlink_to(real)
    assert count(stream(folder)) == 1
    for name, make in {
        "loop.png": lambda path: path.symlink_to(path),
        "nowhere.png": lambda path: path.symlink_to(tmp_path / "absent"),
        "pipe.png": os.mkfifo,
        "zeros.png": lambda path: path.symlink_to("/dev/zero"),
        "terminal.png": lambda path: path.symlink_to("/dev/stdin"),
    }.items():
        make(folder / name)
        with pytest.warns(UserWarning, match=rf"Skipped 1 unreadable .*{name}"):
            assert count(stream(folder, unreadable="skip")) == 1
        (folder / "0.png").unlink()
        with pytest.raises(kvae.io.FileError, match=rf"{name} must be a readable image.*not a file"):
            stream(folder)
        (folder / name).unlink()
        (folder / "0.png").symlink_to(real)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(kvae.io.FileError, match="must be an existing file or folder"):
        stream(tmp_path / "loop")
    classes = tmp_path / "classes"
    write(classes / "a" / "0.png", encoded(COLOUR))
    (classes / "b").symlink_to(classes / "b")  # a loop is not a class
    (classes / "c").symlink_to(tmp_path / "elsewhere")
    assert stream(classes).num_classes == 2
    (classes / "d").symlink_to(classes)  # itself: a class folder without images
    with pytest.raises(kvae.io.FileError, match=r"classes/d must contain images"):
        stream(classes)


def test_many_files_are_counted_quickly_and_in_little_memory(tmp_path):
    """2,000 files here; opening 200,000 took 1.2 s of processor time and 14 MB."""
    for i in range(2000):
        os.link(tmp_path / "0.png", tmp_path / f"{i}.png") if i else write(tmp_path / "0.png", encoded(GREY))
    tracemalloc.start()
    before = time.process_time()
    found = stream(tmp_path)
    taken, peak = time.process_time() - before, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_examples == 2000
    assert taken < 5
    assert peak < 3 * 2**20


def test_images_of_bytes_stay_bytes(tmp_path):
    np.save(tmp_path / "a.npy", np.tile(GREY, (20_000, 1, 1)))
    batch = next(iter(stream(tmp_path / "a.npy").source.fetch(0)))
    assert batch.dtype == "uint8"
    found = stream(tmp_path / "a.npy")
    tracemalloc.start()
    for x in found.batches(1000):
        assert x.dtype == "float32"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 20_000 * GREY.size  # as floats, the images alone would take this


HEADERS = {
    "more rows than there are": ((2**40, 6, 8), "is truncated: its header declares"),
    "4 GiB of rows": ((2**32, 6, 8), "is truncated: its header declares"),
    "rows that overflow": ((2**62, 6, 8), "is truncated: its header declares"),
    "fewer rows than there are": ((2, 6, 8), "is damaged: its header declares"),
    "a negative length": ((-4, 6, 8), "must have a shape of non-negative integers"),
    "two negative lengths": ((-4, -6, 8), "must have a shape of non-negative integers"),
    "a truth value": ((True, 6, 8), "must have a shape of non-negative integers"),
    "no shape": ("x", "is not a NumPy array, or is damaged"),
    "parentheses": ("(" * 4000, "is not a NumPy array, or is damaged"),
    "minus signs": ("-" * 4000 + "1", "is not a NumPy array, or is damaged"),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("kind", ["npy", "npz", "folder", "load_data"])
def test_headers_are_compared_with_the_file_before_memory_is_allocated(tmp_path, kind, name):
    shape, message = HEADERS[name]
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(4 * 48)
    path = write(tmp_path / "images.npy", content)
    if kind in ("npz", "load_data"):
        path = tmp_path / "a.npz"
        with __import__("zipfile").ZipFile(path, "w") as archive:
            archive.writestr("images.npy", content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        kvae.load_data(path) if kind == "load_data" else stream(tmp_path if kind == "folder" else path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert re.search(re.escape(str(path)), str(caught.value))
    assert "\n" not in str(caught.value)
    assert peak < 2**22
