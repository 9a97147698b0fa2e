"""Hide from TensorFlow and Keras what else CI's environment of developers has.

They import JAX, scikit-learn and others only to support them, where they are installed. With the
packages of all engines `import tensorflow` took 7.8 s of the processor, and 4.5 s without these, as
where a user has installed Keras alone. A line of a .pth file imports this module.
"""

import gc
import sys

HIDDEN = {"IPython", "chardet", "jax", "matplotlib", "pandas", "rouge_score", "scipy", "sklearn"}
IMPORTERS = (
    *("kagglehub.env", "requests", "tensorflow.lite", "tensorflow.python.keras"),
    *("keras.src.callbacks", "keras.src.saving.file_editor", "keras.src.trainers"),
    *("keras.src.visualization", "keras.src.wrappers", "keras_hub.src.metrics"),
)


class Fewer:
    """A finder before all others, which finds nothing."""

    @staticmethod
    def find_spec(name: str, path: object, target: object = None) -> None:
        """Raise ModuleNotFoundError for a hidden module that one of the importers asks for."""
        if name in HIDDEN:
            frame = sys._getframe(1)
            while "importlib" in frame.f_code.co_filename and frame.f_back:
                frame = frame.f_back
            if frame.f_globals.get("__name__", "").startswith(IMPORTERS):
                raise ModuleNotFoundError(f"{name} is hidden", name=name)


sys.meta_path.insert(0, Fewer)  # type: ignore[arg-type]
gc.set_threshold(30_000)  # to look for garbage takes a fifth of the time of imports
