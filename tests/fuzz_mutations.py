"""Mutations of valid files, from flipped bits to altered members, headers and structures."""

import base64
import io
import json
import marshal
import struct
import zipfile

from kvae.training.keras_internals import OPERATION_MODULES

NUMBERS = (
    0, -1, 1, 2, 255, 10**5, 2**31, 2**32 - 1, 2**63, 10**30, -(10**9), 0.5, -0.0, 1e308, float("nan"),
    float("inf"),
)  # fmt: skip
TEXTS = (
    "", "x", "None", "../../etc/passwd", "\0", "\ud800", "\x1b[2J", "é" * 300, "keras", "kvae>VAE",
    "__lambda__", "9" * 5000,
)  # fmt: skip
CLASSES = (
    "Lambda", "__lambda__", "StringLookup", "TorchModuleWrapper", "TFSMLayer", "Dense", "Functional", "VAE",
    "function", "__numpy__", "__tensor__", "__bytes__", "Embedding", "RepeatVector", "LSTM", "Reshape",
    "Mixture", "AUC", "MeanIoU", "Constant", "Tile", "Conv2D", "TimeDistributed", "SpectralNormalization",
)  # fmt: skip
MODULES = (
    "os", "builtins", "keras", "keras.layers", OPERATION_MODULES[0], "keras.utils", "kvae.models.vae",
    "subprocess", "keras.metrics", "keras.initializers", "keras.optimizers", None,
)  # fmt: skip
SIZES = (  # settings of layers, metrics and constants that decide how much memory they take
    "units", "filters", "kernel_size", "input_dim", "output_dim", "num_thresholds", "thresholds", "num_classes",
    "num_labels", "repeats", "n", "size", "target_shape", "batch_shape", "value", "dtype", "unroll", "num_heads",
    "key_dim", "power_iterations", "lora_rank", "groups", "dilation_rate",
)  # fmt: skip
SHAPES = ((10**12,), (2**31, 2**31), (-1,), (0,), (), (10**6, 10**6, 10**6), (3, 10**9), (-5, -5), (12, 4, 4), (True,))
DTYPES = ("|O", "<f8", "<i8", "|b1", "<U99999", "<c16", "<M8[ns]", "|V8", "[('a', '<i4')]", ">f4", "float16", "")
NAMES = (
    "../../evil", "/etc/passwd", "a\\b", "C:/x", "model.weights.npz", "assets/x", "x" * 300, "", "images.npy",
    "config.json",
)  # fmt: skip


def mutate(kind, content, others, rng):
    """A mutated copy of `content`, unchanged one time in fifty."""
    if rng.random() < 0.02:
        return content
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if kind in ("npz", "keras", "checkpoint") and rng.random() < 0.75:
            content = in_archive(content, rng)
        elif kind == "npy" and rng.random() < 0.75:
            content = in_npy(content, rng)
        elif kind == "tfrecord" and rng.random() < 0.75:
            content = in_records(content, rng)
        elif kind == "idx" and rng.random() < 0.6:
            content = in_idx(content, rng)
        elif kind in ("config", "notebook") and rng.random() < 0.7:
            content = in_json(content, rng)
        elif kind == "report" and rng.random() < 0.7:
            lines = content.splitlines() or [b"{}"]
            row = rng.randrange(len(lines))
            lines[row] = in_json(lines[row], rng)
            content = b"\n".join(lines)
        elif kind == "history" and rng.random() < 0.7:
            content = in_table(content, rng)
        elif kind == "compressed" and rng.random() < 0.5:
            content = in_header(content, rng)
        else:
            content = in_bytes(content, others, rng)
    return content


def in_bytes(content, others, rng):
    """Flip bits, truncate, repeat, insert or overwrite."""
    content = bytearray(content or b"\0")
    at = rng.randrange(len(content))
    length = min(len(content) - at, rng.choice((1, 2, 4, 8, 64, 1024)))
    change = rng.randrange(7)
    if change == 0:
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif change == 1:
        del content[at:]
    elif change == 2:
        del content[at : at + length]
    elif change == 3:
        content[at:at] = content[at : at + length] * rng.randint(1, 50)
    elif change == 4:
        content[at : at + length] = rng.choice((b"\xff", b"\0", b"\x7f", b"[", b"{", b'"', b"(", b"9", b"\n")) * length
    elif change == 5:
        other = rng.choice(others)
        start = rng.randrange(len(other) or 1)
        content[at : at + length] = other[start : start + rng.choice((4, 64, 4096))]
    else:
        content[at : at + 8] = struct.pack(rng.choice("<>") + "q", rng.choice((0, -1, 1, 2**31, 2**62, 2**40)))
    return bytes(content)


def in_archive(content, rng):
    """Change a member of a zip archive, or the archive itself, with correct checksums."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # an earlier mutation broke it
        return in_bytes(content, [content], rng)
    if not members:
        return content
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    row, change = rng.randrange(len(members)), rng.randrange(12)
    name, member = members[row]
    if change == 0:
        members[row] = rng.choice(NAMES), member
    elif change == 1:
        del members[row]
    elif change == 2:
        members.append((rng.choice((*NAMES, name)), rng.choice((member, b"", b"x"))))
    elif change == 3:
        members.append((rng.choice(("bomb", "metadata.json", name)), bytes(2**20)))
    elif change == 4:
        packing = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    elif name.endswith(".json"):
        members[row] = name, in_json(member, rng)
    elif name.endswith(".npy"):
        members[row] = name, in_npy(member, rng)
    else:
        members[row] = name, in_bytes(member, [member], rng)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, member in members:
            if name not in archive.namelist() or rng.random() < 0.5:
                _write(archive, name, member)
    content = file.getvalue()
    if rng.random() < 0.1:  # the central directory: sizes, flags, offsets
        content = bytearray(content)
        at = rng.randrange(max(0, len(content) - 200), len(content))
        content[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31, 2**32 - 1, 2**16)))
    return bytes(content)


def _write(archive, name, member):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # with a duplicate name
        archive.writestr(zipfile.ZipInfo(name or "x"), member, archive.compression)


def in_json(content, rng):
    """Change or move a JSON value."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return in_bytes(content, [content], rng)
    places = list(_places(value))
    if not places:
        return json.dumps(_value(rng)).encode()
    holder, key = rng.choice(places)
    change = rng.randrange(6)
    if change == 0:
        del holder[key]
    elif change == 1:
        other, place = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    elif change == 2 and isinstance(holder, dict):
        holder[str(_value(rng))] = holder[key]
    elif change == 3 and rng.random() < 0.5:
        holder[key] = _object(rng)
    elif change == 3:
        named = [each for each, name in places if name == "class_name"]
        if named:
            rng.choice(named)[rng.choice(("class_name", "class_name", "module", "registered_name"))] = rng.choice(
                CLASSES if rng.random() < 0.6 else MODULES
            )
    elif change == 4 and isinstance(holder[key], (int, float)):
        holder[key] = rng.choice(NUMBERS)
    else:
        holder[key] = _value(rng)
    return json.dumps(value).encode()


def _places(value):
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ():
            yield holder, key
            waiting.append(holder[key])


def _value(rng):
    nested: list = []
    for _ in range(rng.choice((0, 1, 50, 200))):
        nested = [nested]
    return rng.choice((None, True, {}, nested, {"class_name": rng.choice(CLASSES), "config": {}}, *NUMBERS, *TEXTS))


def _object(rng):
    """An object of a class that may be loaded, or not, with settings that may ask for much memory."""
    config = {name: rng.choice((*NUMBERS, 30_000, 10**8, [10**9], [[1.0]])) for name in rng.sample(SIZES, 2)}
    name, module = rng.choice(CLASSES), rng.choice(MODULES)
    labels = {"registered_name": rng.choice((None, name, f"kvae>{name}")), "name": "more", "inbound_nodes": []}
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "build_config": {"input_shape": [None, 4]},
        **labels,
    }


def in_records(content, rng):
    """Change a TFRecord file: its records, with correct checksums."""
    from kvae.data import tfrecord

    records, at = [], 0
    while at + 12 <= len(content):
        length = struct.unpack("<Q", content[at : at + 8])[0]
        records.append(content[at + 12 : at + 12 + length])
        at += length + 16
    if not records:
        return in_bytes(content, [content], rng)
    row, change = rng.randrange(len(records)), rng.randrange(4)
    if change == 0:
        records[row] = in_bytes(records[row], records, rng)
    elif change == 1:
        del records[row]
    elif change == 2:
        records.append(rng.choice((b"", b"\xff" * 9, b"\x0a\xff\xff\xff\xff\x0f", records[row] * 50)))
    else:
        records = [records[row]] * rng.choice((1, 9, 500))
    framed = b""
    for record in records:
        length = struct.pack("<Q", len(record))
        checks = (struct.pack("<I", tfrecord.masked_crc(part)) for part in (length, record))
        framed += length + next(checks) + record + next(checks)
    return framed


def in_idx(content, rng):
    """Change the type, the number of dimensions or a length in the header of an IDX file."""
    at = rng.choice((0, 2, 3, 4, 8, 12))
    value = (
        bytes([rng.randrange(256)]) if at < 4 else struct.pack(">I", rng.choice((0, 1, 13, 2**16, 2**31, 2**32 - 1)))
    )
    return content[:at] + value + content[at + len(value) :]


def in_npy(content, rng):
    """Replace the header of an array."""
    if content[:6] != b"\x93NUMPY" or rng.random() < 0.2:
        return in_bytes(content, [content], rng)
    length = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    change = rng.randrange(4)
    if change == 0:
        header = str({"descr": rng.choice(DTYPES), "fortran_order": False, "shape": rng.choice(SHAPES)})
    elif change == 1:
        start, end = header.find("("), header.find(")")
        header = header[:start] + str(rng.choice(SHAPES)) + header[end + 1 :]
    elif change == 2:
        header = rng.choice(("(" * 5000, "-" * 5000, "[]", "{'descr': ", "__import__('os')", "{}", "1" * 9000, "\0"))
    else:
        header = in_bytes(header.encode("latin1"), [b"x"], rng).decode("latin1")
    header = header.encode("latin1")[: 2**16 - 1]
    return b"\x93NUMPY" + bytes((rng.choice((1, 1, 1, 0, 2, 3, 9)), 0)) + struct.pack("<H", len(header)) + header + body


def in_table(content, rng):
    """Change a CSV cell."""
    rows = [line.split(b",") for line in content.splitlines()] or [[b""]]
    row = rng.choice(rows)
    cell = str(rng.choice((*NUMBERS, *TEXTS))).encode("utf-8", "surrogatepass")
    row[rng.randrange(len(row))] = rng.choice((cell, b'"', b"1\n2", b"=1+1", b"x" * 200_000))
    if rng.random() < 0.2:
        rows.remove(row)
    return b"\r\n".join(b",".join(row) for row in rows)


def in_header(content, rng):
    """Change the header of a compressed file: version, model, images, latent dimensions, columns, step, kinds."""
    at, form = rng.choice(((4, "B"), (5, "8s"), (13, "I"), (17, "I"), (21, "I"), (25, "d"), (33, "2s"), (35, "2s")))
    values = {"B": (0, 1, 2, 9), "8s": (bytes(8),), "I": (0, 1, 2, 10**7, 2**31, 2**32 - 1),
              "d": (0.0, -1.0, 1e308, float("nan")),
              "2s": (b"i1", b"i4", b"f4", b"O8", b"V4", b"U1", b"\xff\xff")}  # fmt: skip
    changed = struct.pack("<" + form, rng.choice(values[form]))
    return content[:at] + changed + content[at + len(changed) :]


def with_lambda(content, canary, **labels):
    """A `.keras` file with lambdas as activations that create the file `canary`; `labels` are added to each."""
    code = compile(f"lambda x: open({str(canary)!r}, 'w') and x", "<lambda>", "eval").co_consts[0]
    packed = base64.b64encode(marshal.dumps(code)).decode()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    for holder, key in list(_places(config)):
        if key == "activation":
            holder[key] = {"class_name": "__lambda__", "config": {"value": [packed, None, None]}, **labels}
    members["config.json"] = json.dumps(config).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()
