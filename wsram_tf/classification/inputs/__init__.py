"""The rules of images and labels, in each form that a classifier takes."""
