"""Import lightning-fabric without torchmetrics, which takes a third of the seconds that a run takes to start.

lightning-fabric imports it wherever it is installed, and with it transformers, to look at its version. Only its
`SpikeDetection` asks for that, which nothing here uses.
"""

import sys

if "torchmetrics" not in sys.modules:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import lightning_fabric  # noqa: F401
    finally:
        del sys.modules["torchmetrics"]
