"""`from_pretrained`, `save_pretrained` and `push_to_hub` for networks that this package saves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.constants import CONFIG_NAME

from fakd.writing import written_at_once

HUB_FILE = "model.safetensors"
"""The name under which a shared folder, here or on the Hugging Face Hub, keeps its network."""

_CARD = """---
{{ card_data }}
---

# Segmentation network made with fakd

[fakd]({{ paper_url }}) builds it from `{{ config }}`.

Nothing is said here about its data and its scores: `fakd share RUN FOLDER` writes a card that says it.

```python
from fakd import Segmentor

model = Segmentor.from_pretrained("FOLDER OR USER/NAME")  # images (B, 3, H, W), RGB in [0, 1]
```
"""


class HubModel(
    ModelHubMixin,
    library_name="fakd",
    pipeline_tag="image-segmentation",
    tags=["semantic-segmentation"],
    paper_url="https://arxiv.org/abs/2208.14143",
    model_card_template=_CARD,
):
    """What a network needs to be shared: the file of `fakd.save_model` as model.safetensors, config.json, README.md.

    A folder on this machine is read without any network. Names of the Hub go through huggingface_hub, with its cache,
    its environment variables (HF_HUB_OFFLINE, HF_ENDPOINT) and the token of `hf auth login`.
    """

    config: Any  # with to_json
    notes: Mapping[str, str] = {}
    """What was saved beside the weights, as the names of the classes."""

    def __init_subclass__(cls, **about: Any) -> None:
        super().__init_subclass__(**about)
        # The weights' own file says how the network is built; config.json is for readers, and is not interpreted.
        cls._hub_mixin_init_parameters = {}

    def generate_model_card(self, *args: Any, **words: Any) -> ModelCard:
        return super().generate_model_card(*args, config=self.config.to_json(), **words)

    def _save_pretrained(self, save_directory: Path) -> None:
        from fakd.models.checkpoint import save_model  # which imports the networks

        save_model(self, save_directory / HUB_FILE, self.notes)  # type: ignore[arg-type]
        with written_at_once(save_directory / CONFIG_NAME) as temporary:
            temporary.write_text(self.config.to_json() + "\n")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **download: Any) -> Any:
        from fakd.models.checkpoint import load_model

        if Path(model_id).is_dir():
            return load_model(model_id)[0]
        asked = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return load_model(hf_hub_download(model_id, HUB_FILE, **{name: download[name] for name in asked}))[0]
