"""What training and scoring read: the data set as a value, records, augmentation, order and batches."""
