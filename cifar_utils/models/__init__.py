"""The networks of the reports; `cifar_utils.models.pretrained` (which needs torchvision) is imported by its name."""

from .deep import SUITED, DeepNetwork, Setting
from .dynamic import POOLED, DynamicBlock, DynamicConv2d, DynamicNet
from .encoder import AlwaysTraining, Encoder, NetworkB
from .plain import ResidualBlock, ResNetLike, VggLike
from .rdfia import RdfiaNet
from .softmax import SoftmaxRegression
from .tanh import TanhNetwork
from .window import RandomWindow

__all__ = [
    "POOLED", "SUITED", "AlwaysTraining", "DeepNetwork", "DynamicBlock", "DynamicConv2d", "DynamicNet", "Encoder",
    "NetworkB",
    "RandomWindow", "RdfiaNet", "ResNetLike",
    "ResidualBlock", "Setting", "SoftmaxRegression", "TanhNetwork", "VggLike",
]  # fmt: skip
