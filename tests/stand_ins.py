"""Small files in the formats of the real data sets, and a server that gives them away."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from cifar_utils.errors import DataError
from cifar_utils.files.catalogue import DATASETS, LABELS, WEIGHTS
from cifar_utils.files.sources import locate, source_of, sum_of


def expect_sums(monkeypatch, name, folder):
    """Make the files that lie in `folder` the ones that data set `name` expects."""
    source, unpacked = source_of(name), {}
    for file, (other, _) in source.unpacked.items():
        (folder / other).write_bytes(gzip.decompress((folder / file).read_bytes()))
        unpacked[file] = (other, sum_of(folder / other))
        (folder / other).unlink()
    change(monkeypatch, name, files={f: sum_of(folder / f) for f in source.files}, unpacked=unpacked)


def change(monkeypatch, name, **what):
    """Change what the catalogue says of a data set, of labels or of weights."""
    table = next(table for table in (DATASETS, LABELS, WEIGHTS) if name in table)
    monkeypatch.setitem(table, name, replace(table[name], **what))


def write_cifar10(folder, images=4):
    rng = np.random.default_rng(0)
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for file in DATASETS["cifar10"].files:
        pixels = rng.integers(256, size=(images, 3072), dtype=np.uint8)
        raw = {"data": pixels, "labels": [i % 10 for i in range(images)], "batch_label": file}
        (folder / file).write_bytes(pickle.dumps(raw, protocol=2))


def write_mnist(folder) -> dict[str, np.ndarray]:
    """Write five training and three test images; return their pixels."""
    at = folder / "MNIST" / "raw"
    at.mkdir(parents=True)
    rng = np.random.default_rng(0)
    pixels = {}
    for part, count in (("train", 5), ("t10k", 3)):
        pixels[part] = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        labels = struct.pack(">II", 0x801, count) + bytes(range(count))
        for kind, raw in (("images-idx3", header + pixels[part].tobytes()), ("labels-idx1", labels)):
            (at / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(raw, mtime=0))
    return pixels


def write_ocr_letters(folder, bits=None):
    bits = np.random.default_rng(0).integers(2, size=(3, 128)) if bits is None else bits
    lines = [",".join(map(str, [label, *row])) for label, row in zip((9, 0, 4), bits, strict=True)]
    (folder / "ocr_letters").mkdir(parents=True)
    (folder / "ocr_letters" / "largeTrain.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    (folder / "ocr_letters" / "largeValidation.csv").write_bytes("\r\n".join(lines[:2]).encode() + b"\r\n")


def write_circles(folder):
    """Write four training and two test points; return them and their one-hot labels."""
    from scipy.io import savemat

    (folder / "circles").mkdir(parents=True)
    x, y = np.random.default_rng(0).normal(size=(6, 2)), np.eye(2)[[0, 1, 1, 0, 1, 0]]
    raw = {"Xtrain": x[:4], "Ytrain": y[:4], "Xtest": x[4:], "Ytest": y[4:]}
    savemat(folder / "circles" / "circles.mat", raw)
    return x, y


def write_gurmukhi(folder, size=(32, 32)):
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for label in range(10):
            at = folder / "gurmukhi_digits" / part / str(label)
            at.mkdir(parents=True)
            pixels = Image.fromarray(rng.integers(256, size=size[::-1], dtype=np.uint8))
            pixels.save(at / "1.bmp")
            pixels.save(at / "2.tiff")


WRITERS = {
    "cifar10": write_cifar10,
    "mnist": write_mnist,
    "ocr_letters": write_ocr_letters,
    "circles": write_circles,
    "gurmukhi_digits": write_gurmukhi,
}


def archive_of(name, folder) -> bytes:
    """Return the archive in which the set's official place keeps what lies in `folder`."""
    buffer = io.BytesIO()
    if name == "cifar10":
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
        return buffer.getvalue()
    inside = {"circles": "2-ab", "gurmukhi_digits": "Gurmukhi-main/handwritten_data"}[name]
    top = next(iter(DATASETS[name].files)).split("/")[0]
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted((folder / top).rglob("*")):
            archive.write(path, f"{inside}/{path.relative_to(folder / top)}")
    return buffer.getvalue()


@contextmanager
def server(files: dict[str, bytes], delay: float = 0.0):
    """Serve `files` by their names on this machine; gives the address, and a list of what was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path[1:]
            asked.append(name)
            time.sleep(delay)
            self.send_response(200 if name in files else 404)
            self.send_header("Content-Length", str(len(files.get(name, b""))))
            self.end_headers()
            self.wfile.write(files.get(name, b""))

        def log_message(self, *_args):
            pass

    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    with patch.dict(os.environ, direct), ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}/", asked
        finally:
            httpd.shutdown()


def refusal(name, folder, download=False) -> str:
    with pytest.raises(DataError) as caught:
        locate(name, folder, download)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tree(folder) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


@contextmanager
def official_places(tmp_path, monkeypatch):
    """Stand-ins of the sets at addresses of this machine; gives the addresses asked for."""
    there, files = tmp_path / "official", {}
    for name, write in WRITERS.items():
        write(there)
        expect_sums(monkeypatch, name, there)
        if name in ("cifar10", "circles", "gurmukhi_digits"):
            files[f"{name}.tar.gz" if name == "cifar10" else f"{name}.zip"] = archive_of(name, there)
        else:
            files |= {Path(f).name: (there / f).read_bytes() for f in DATASETS[name].files}
    with server(files) as (url, asked):
        for name in ("cifar10", "circles", "gurmukhi_digits"):
            packed = next(f for f in files if f.startswith(name))
            change(monkeypatch, name, urls=(url + packed,), sum="")
        change(monkeypatch, "mnist", urls=(url + "gone/", url))
        yield asked
