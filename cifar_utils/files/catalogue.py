"""The catalogue: of which files each data set and each network's weights consist, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A data set, or a network's weights, as files.

    Attributes:
        files: the md5 of every file, by its path below the data folder; `sha256:` and its first digits
            where the publisher gives these.
        page: where a person gets it by hand.
        urls: addresses to try in turn: of an archive with all files, or (ending in a slash) of the
            place of the single files. None where the set has no public address.
        archive: the archive's name as people have it, a pattern; "" where the files come one by one.
        sum: the archive's md5; "" where it is made anew for each download, so that only what is in it has sums.
        inside: the set's folder in the archive, where it has another name there.
        unpacked: another form in which a file is read too: its path, and its md5.
        mistaken: what people have instead: where it lies, a pattern, and what it is.
    """

    files: dict[str, str]
    page: str
    urls: tuple[str, ...] = ()
    archive: str = ""
    sum: str = ""
    inside: str = ""
    unpacked: dict[str, tuple[str, str]] = field(default_factory=dict)
    mistaken: dict[str, str] = field(default_factory=dict)


_GURMUKHI = "https://github.com/siddharthapramanik771/Gurmukhi-Handwritten-Digit-Classification/archive/HEAD.zip"
_PYTORCH = "https://download.pytorch.org/models/"

#: Every data set, by the name that `cifar_utils.data.load` takes.
#:
#: :meta hide-value:
DATASETS: dict[str, Source] = {
    "cifar10": Source(
        files={  # the sums that torchvision.datasets.CIFAR10 verifies
            "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
            "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
            "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
            "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        },
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
        archive="cifar-10-python.tar.gz",
        sum="c58f30108f718f92721af3b95e74349a",
        mistaken={
            "data_batch_1.bin": "CIFAR-10's binary version",
            "cifar-10-batches-bin/data_batch_1.bin": "CIFAR-10's binary version",
            "cifar-10-binary.tar.gz": "CIFAR-10's binary version",
            "data_batch_1.mat": "CIFAR-10's Matlab version",
            "cifar-10-batches-mat/data_batch_1.mat": "CIFAR-10's Matlab version",
            "cifar-10-matlab.tar.gz": "CIFAR-10's Matlab version",
            "trainLabels.csv": "Kaggle's version of CIFAR-10, as PNG files",
            "*/trainLabels.csv": "Kaggle's version of CIFAR-10, as PNG files",
            "train/*.png": "a version of CIFAR-10 as PNG files",
            "train/airplane": "a version of CIFAR-10 as PNG files",
            "*/train/airplane": "a version of CIFAR-10 as PNG files",
            "cifar-100-python*": "CIFAR-100, another set",
        },
    ),
    "mnist": Source(
        files={  # the sums that torchvision.datasets.MNIST verifies
            "MNIST/raw/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "MNIST/raw/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "MNIST/raw/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "MNIST/raw/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
        page="https://ossci-datasets.s3.amazonaws.com/mnist/",
        urls=("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        unpacked={  # by hand
            f"MNIST/raw/{name}-ubyte.gz": (f"MNIST/raw/{name}-ubyte", expected)
            for name, expected in {
                "train-images-idx3": "6bbc9ace898e44ae57da46a324031adb",
                "train-labels-idx1": "a25bea736e30d166cdddb491f175f624",
                "t10k-images-idx3": "2646ac647ad5339dbf082846283269ea",
                "t10k-labels-idx1": "27ae3e4e09519cfbb04c329615203637",
            }.items()
        },
        mistaken={
            "mnist.npz": "Keras's version of MNIST",
            "mnist*train.csv": "a version of MNIST as a table",
            "MNIST/processed/training.pt": "an old torchvision's version of MNIST",
            "train-images.idx3-ubyte": "MNIST with a dot for a dash in its files' names",
            "*/train-images.idx3-ubyte": "MNIST with a dot for a dash in its files' names",
        },
    ),
    "ocr_letters": Source(
        files={
            "ocr_letters/largeTrain.csv": "6154765dfc4e355ada8a913e16225dcf",
            "ocr_letters/largeValidation.csv": "ef6f397b2bfc7e0f1aa38cd0b5ba2f8b",
        },
        # every row is one of Stanford's set (ai.stanford.edu/~btaskar/ocr), but which were taken is not published
        page="the handout of the neural-network homework of CMU's course 10-601",
        mistaken={
            "letter.data*": "Stanford's whole set, of which the ten-letter subset is not known row by row",
            "*/letter.data*": "Stanford's whole set, of which the ten-letter subset is not known row by row",
            "ocr_letters/smallTrain.csv": "the homework's smaller part",
            "ocr_letters/mediumTrain.csv": "the homework's smaller part",
        },
    ),
    "circles": Source(
        files={"circles/circles.mat": "61f517bf2431099530761ddfddf3fe6b"},
        page="https://rdfia.github.io",
        # the archive as it was when the report was written, and still is
        urls=("https://github.com/rdfia/rdfia.github.io/raw/2e5ce36ed648c1eb4b28ee9639e38b9461dbe9d9/data/2-ab.zip",),
        archive="2-ab.zip",
    ),
    "gurmukhi_digits": Source(
        # 1,178 small files: one sum over all of them, joined in sorted order of their paths
        files={"gurmukhi_digits": "bb17802348f3caf5ecba87c9784aa6e6"},
        page=_GURMUKHI,
        urls=(_GURMUKHI,),
        archive="Gurmukhi-Handwritten-Digit-Classification-*.zip",
        inside="handwritten_data",
    ),
}

#: What people say of images that a data set above holds; `cifar_utils.data.people` reads it.
#:
#: :meta hide-value:
LABELS: dict[str, Source] = {
    "cifar-10h": Source(  # Peterson and others (2019), under the licence CC BY-NC-SA 4.0
        files={"cifar-10h/cifar10h-probs.npy": "7b41f73eee90fdefc73bfc820ab29ba8"},
        page="https://github.com/jcpeterson/cifar-10h (its folder data)",
        urls=("https://raw.githubusercontent.com/jcpeterson/cifar-10h/master/data/",),
        mistaken={
            "cifar-10h/cifar10h-counts.npy": "CIFAR-10H's counts; shares are read",
            "cifar10h-raw.*": "CIFAR-10H's single judgements",
            "cifar-10h/cifar10h-raw.*": "CIFAR-10H's single judgements",
        },
    ),
}

#: The same for networks trained on ImageNet; torchvision gives the first digits of a file's sha256 in its name.
#:
#: :meta hide-value:
WEIGHTS: dict[str, Source] = {
    "alexnet": Source(
        files={"weights/alexnet-owt-7be5be79.pth": "sha256:7be5be79"},
        page=_PYTORCH + "alexnet-owt-7be5be79.pth",
        urls=(_PYTORCH,),
    ),
    "squeezenet": Source(
        files={"weights/squeezenet1_1-b8a52dc0.pth": "sha256:b8a52dc0"},
        page=_PYTORCH + "squeezenet1_1-b8a52dc0.pth",
        urls=(_PYTORCH,),
    ),
    # made from the two above; they serve where somebody has them
    "alexnet_features": Source(
        files={"weights/alexnet_features_imagenet1k.pth": "1718159261bf8d654e89a9c2ccea29d9"},
        page=_PYTORCH + "alexnet-owt-7be5be79.pth (its convolutions alone)",
    ),
    "squeezenet_16bit": Source(
        files={"weights/squeezenet1_1_imagenet1k_fp16.pth": "ff8a23535b6d1b3c515d914db8e6f465"},
        page=_PYTORCH + "squeezenet1_1-b8a52dc0.pth (rounded to 16 bits)",
    ),
}

#: What serves each function of `models.pretrained`; the first that is here does, or else the first of all is fetched.
SERVES: dict[str, tuple[str, ...]] = {
    "convolutions": ("alexnet", "alexnet_features"),
    "class_scores": ("alexnet", "squeezenet", "squeezenet_16bit"),
}
