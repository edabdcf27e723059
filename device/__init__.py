"""The runtime: a bundle, a camera, a verdict. Needs NumPy, OpenCV and one engine; imports no other stage."""
