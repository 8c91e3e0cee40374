"""The doctor: looks at a data set and at the machine before training, and says what fixes what is wrong."""
