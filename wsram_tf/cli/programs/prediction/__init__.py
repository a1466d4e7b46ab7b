"""The program predict: its flags and loop, the forms of its answers, pictures, and large files."""

from wsram_tf.cli.programs.prediction.program import predict

__all__ = ["predict"]
