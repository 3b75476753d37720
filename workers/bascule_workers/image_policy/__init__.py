"""The Procedure `image-policy`: looks at a candidate image without running or unpacking it."""
