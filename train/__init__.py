"""Desktop stage: smear images to a trained run. The only stage that needs Keras."""
