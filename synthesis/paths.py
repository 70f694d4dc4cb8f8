"""Folders of the clone. Standard library only, since set-up runs before packages are installed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
ENVIRONMENTS = BUILD / "environments"
LAYERS = BUILD / "layers"
PAGE = BUILD / "web"
