"""What lies on disk, without PyTorch: where data comes from, how it is fetched and verified, files of tensors."""

from .sources import FILES, Status, locate, status
from .tensor_files import read, write

__all__ = ["FILES", "Status", "locate", "read", "status", "write"]
