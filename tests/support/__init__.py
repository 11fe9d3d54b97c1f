"""What tests of several rooms share: runs without a model, a small web server, golden values."""
