"""Networks of the reports, each in the file of its kind, and a table of any network's layers."""

from .convolutional import RdfiaNet
from .linear import SoftmaxRegression
from .table import layer_table
from .tanh import TanhNetwork

__all__ = ["RdfiaNet", "SoftmaxRegression", "TanhNetwork", "layer_table"]
