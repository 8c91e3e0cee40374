"""The doctor: examines a data set and the machine before training, and names the fix of each problem."""
