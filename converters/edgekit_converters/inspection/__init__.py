"""What is inside a model file or a bundle."""

from edgekit_converters.inspection.inspector import BundleInspection, inspect_artifact, inspect_bundle, inspect_path
from edgekit_converters.inspection.model import Inspection

__all__ = ["BundleInspection", "Inspection", "inspect_artifact", "inspect_bundle", "inspect_path"]
