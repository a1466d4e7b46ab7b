"""Reports about a classifier: what TensorBoard shows, measurements, and confused classes."""
