"""What lies on disk, without PyTorch: where data comes from, how it is fetched and verified, files of tensors."""

from .catalogue import DATASETS, Source
from .sources import Status, locate, status
from .tensor_files import read, write

__all__ = ["DATASETS", "Source", "Status", "locate", "read", "status", "write"]
