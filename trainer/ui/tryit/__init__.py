"""Try it: the trained model beside the untrained one, checkpoints with their scores, exports."""
