"""Reports about a classifier: what TensorBoard shows of it, and which classes it confuses."""
