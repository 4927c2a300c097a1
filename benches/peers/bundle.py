"""What a bundle of `sllm-ort` says of itself, so that the peers get the same weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.errors import PeerError
from sllm_export.checkpoint.expected import expected_shapes
from sllm_export.checkpoint.random_weights import RandomStateDict
from sllm_export.config import ModelConfig, parse_config
from sllm_export.errors import ConfigError


@dataclass(frozen=True)
class RandomModel:
    """A model of random weights: its configuration and the seed they were drawn with."""

    config: ModelConfig
    seed: int

    @classmethod
    def of_bundle(cls, folder: Path) -> RandomModel:
        """Reads the manifest. Raises PeerError if there is none, or if its weights are not
        random."""
        path = folder / "sllm.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            seed = manifest["provenance"]["checkpoint"]["random_seed"]
            return cls(parse_config(manifest["model"], str(path)), seed)
        except OSError as error:
            raise PeerError(f"{path}: cannot be read: {error.strerror}") from error
        except ConfigError as error:
            raise PeerError(str(error)) from error
        except (KeyError, TypeError, ValueError) as error:
            raise PeerError(f"{path}: is not a bundle of random weights: {error!r}") from error

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> RandomModel:
        """The reverse of `to_json`."""
        return cls(parse_config(value["config"]), value["seed"])

    def to_json(self) -> dict[str, Any]:
        """For another process."""
        return {"config": self.config.raw, "seed": self.seed}

    def weights(self) -> RandomStateDict:
        """The tensors, drawn as the exporter draws them."""
        return RandomStateDict(expected_shapes(self.config), self.seed)
