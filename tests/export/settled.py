"""Networks whose activations keep their size from layer to layer, as a trained one's do."""

from torch import nn

from fakd.models import create_model
from fakd.models.network import Network

TINY = "pspnet/test_resnet.r160_in1k"


def settled(name: str, classes: int = 7, channels: int | None = None) -> Network:
    """In one fresh from its initialisation rounding grows from layer to layer, and all pixels get the same class."""
    model = create_model(name, num_classes=classes, channels=channels)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.3, 0.7)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.25)
    return model.eval()
