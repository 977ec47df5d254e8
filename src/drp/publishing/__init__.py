"""What a run gives to others: an adapter, a model and a data set as folders for the hub, with cards, and their upload."""
