"""Keeps ONNX Runtime from writing telemetry files; imported before the library is loaded."""

import os

# Microsoft's builds keep files about their use in the home folder, whatever a program asks of them,
# unless this is set.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
